//! The plan that `vassal-exec` carries out before it becomes the worker, and its report.
//!
//! `vassal-exec` is started with one end of a `SOCK_STREAM` socketpair as its standard input. The
//! emperor sends one [`ExecPlan`] frame, with the descriptors to pass as `SCM_RIGHTS` beside its
//! first byte. Back come [`ExecReport`] frames: one for each wall that the kernel can't give, and a
//! last one where a step failed. The socket closes at the moment of `exec`; where all went well,
//! without a byte.
//!
//! A plan with a field that `vassal-exec` doesn't know is refused, unlike a frame of the link: it could
//! be a wall, and a program that runs without one that it was to have is worse than one that doesn't
//! run. A helper lives for a moment, so emperor and helper differ only while both are being replaced.

use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everything `vassal-exec` does, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecPlan {
    /// Names of the descriptors that come with the plan, in their order: they become 3, 4, …, and
    /// the environment tells of them as `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID`
    /// (`sd_listen_fds(3)`). Empty: none of the three is set. `LISTEN_PID` is not set where an
    /// argument tells of one of them by its number, as `fd://3`.
    pub descriptors: Vec<String>,
    /// Limits to set, as `setrlimit(2)` knows them.
    pub rlimits: Vec<Rlimit>,
    /// The umask.
    pub umask: u32,
    /// The nice value of its session, where the kernel groups processes by session (`sched(7)`,
    /// autogrouping); `None`: stays as it is.
    pub session_nice: Option<i32>,
    /// Open the program before the identity changes: for a program of Emperor's own in a folder
    /// that only its owner may enter. A worker is looked up with the rights of its own user.
    pub open_before_identity: bool,
    /// Who to become; `None`: stay as it is.
    pub identity: Option<Identity>,
    /// Walls to put up around the program.
    pub walls: Walls,
    /// Set `no_new_privs` (`prctl(2)`) and drop the ambient capabilities: nothing below gains a
    /// right by a setuid program, nor keeps one that the emperor was given.
    pub no_new_privs: bool,
    /// Where to run; `None`: `/`.
    pub working_dir: Option<PathBuf>,
    /// The whole environment, but for `LISTEN_PID`.
    pub env: Vec<(String, String)>,
    /// The program and its arguments; a program without a slash is sought on the `PATH` of `env`.
    pub argv: Vec<String>,
}

/// What a program is kept from, besides what its user may not do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Walls {
    /// Refuse to go on without one of these that the kernel can't give; else report it and go on.
    pub required: bool,
    /// What it sees of the file system; `None`: what the emperor sees.
    pub mounts: Option<Mounts>,
    /// The capabilities that it has and may ever have, one bit for each by number; `None`: the
    /// bounding set stays as it is.
    pub capabilities: Option<u64>,
    /// The only paths that it can reach; `None`: as file modes say.
    pub paths: Option<PathRules>,
    /// Refuse system calls that no service has use for.
    pub filter_syscalls: bool,
}

/// A mount namespace. All paths are absolute and exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mounts {
    /// An empty `/tmp`, also found at `/var/tmp`, that takes so many bytes; 0: half of the memory.
    pub private_tmp: Option<u64>,
    /// What is still to be found below the private `/tmp`.
    pub kept: Vec<PathBuf>,
    /// What is hidden.
    pub inaccessible: Vec<PathBuf>,
    /// Everything is read-only but these.
    pub read_only_but: Option<Vec<PathBuf>>,
}

/// Which paths a program can reach, with all that lies below them. All are absolute and exist.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PathRules {
    /// What it can read and execute; `None`: as file modes say.
    pub readable: Option<Vec<PathBuf>>,
    /// What it can write to; `None`: as file modes say.
    pub writable: Option<Vec<PathBuf>>,
}

/// A user, by number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `setresuid(2)`.
    pub uid: u32,
    /// `setresgid(2)`.
    pub gid: u32,
    /// Supplementary groups, all others dropped.
    pub groups: Vec<u32>,
}

/// One resource limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// Which.
    pub resource: Resource,
    /// The value in force.
    pub soft: u64,
    /// How far the program may raise it by itself.
    pub hard: u64,
}

/// Resources that can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// Open descriptors.
    Nofile,
    /// Processes of the user.
    Nproc,
    /// Size of a core file, in bytes.
    Core,
    /// Address space, in bytes.
    AddressSpace,
}

/// The step that failed, by what it was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecStep {
    /// Reading the plan.
    Plan,
    /// Leaving the emperor's session and process group.
    Session,
    /// Moving the descriptors to their places.
    Descriptors,
    /// Setting a resource limit.
    Rlimit,
    /// Making a mount namespace.
    MountNamespace,
    /// Mounting a `/tmp`.
    PrivateTmp,
    /// Hiding a path.
    Inaccessible,
    /// Making the file system read-only.
    ReadOnly,
    /// Bounding the capabilities.
    Capabilities,
    /// Restricting paths.
    Paths,
    /// Filtering system calls.
    Syscalls,
    /// Opening the program ahead of the change of identity.
    OpenProgram,
    /// Setting the supplementary groups.
    Groups,
    /// Setting the gid.
    Gid,
    /// Setting the uid.
    Uid,
    /// Setting `no_new_privs`.
    NoNewPrivs,
    /// Entering the working folder.
    WorkingDir,
    /// Becoming the program.
    Exec,
}

impl ExecStep {
    /// Whether it puts up one of the [`Walls`].
    pub const fn is_wall(self) -> bool {
        match self {
            Self::MountNamespace
            | Self::PrivateTmp
            | Self::Inaccessible
            | Self::ReadOnly
            | Self::Capabilities
            | Self::Paths
            | Self::Syscalls => true,
            Self::Plan
            | Self::Session
            | Self::Descriptors
            | Self::Rlimit
            | Self::OpenProgram
            | Self::Groups
            | Self::Gid
            | Self::Uid
            | Self::NoNewPrivs
            | Self::WorkingDir
            | Self::Exec => false,
        }
    }

    /// What was being done, to follow "could not".
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Plan => "read its plan",
            Self::Session => "start a session",
            Self::Descriptors => "place its descriptors",
            Self::Rlimit => "set a resource limit",
            Self::MountNamespace => "make a mount namespace",
            Self::PrivateTmp => "mount a private /tmp:",
            Self::Inaccessible => "hide",
            Self::ReadOnly => "make read-only",
            Self::Capabilities => "bound the capabilities",
            Self::Paths => "restrict paths",
            Self::Syscalls => "filter system calls",
            Self::OpenProgram => "open the program",
            Self::Groups => "set the supplementary groups",
            Self::Gid => "change the group",
            Self::Uid => "change the user",
            Self::NoNewPrivs => "set no_new_privs",
            Self::WorkingDir => "enter the working folder",
            Self::Exec => "execute the program",
        }
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecReport {
    /// The kernel can't give a wall, and the program runs without it.
    Missing(ExecFailure),
    /// The program does not run. Nothing follows.
    Failed(ExecFailure),
}

/// Why the program did not run, or runs without a wall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("could not {} {subject}: {}", step.doing(), std::io::Error::from_raw_os_error(*errno))]
pub struct ExecFailure {
    /// The step.
    pub step: ExecStep,
    /// What it was done to: a path, a number.
    pub subject: String,
    /// The error the kernel gave.
    pub errno: i32,
}

impl ExecFailure {
    /// Whether the kernel can't do it, here or for this user, whatever the plan says: no such call,
    /// not permitted, not supported.
    pub fn is_refusal(&self) -> bool {
        let kind = std::io::Error::from_raw_os_error(self.errno).kind();
        self.step == ExecStep::MountNamespace
            || kind == ErrorKind::Unsupported
            || self.errno == EPERM
    }
}

/// Its number is the same on every Linux. As a kind of error it can't be told from EACCES.
const EPERM: i32 = 1;
