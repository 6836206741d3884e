//! The plan that `vassal-exec` carries out before it becomes the worker, and its report.
//!
//! `vassal-exec` is started with one end of a `SOCK_STREAM` socketpair as its standard input. The
//! emperor sends one [`ExecPlan`] frame, with the descriptors to pass as `SCM_RIGHTS` beside its
//! first byte. Where a step fails, one [`ExecFailure`] frame comes back; where all went well, the
//! socket closes without a byte at the moment of `exec`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Everything `vassal-exec` does, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecPlan {
    /// Names of the descriptors that come with the plan, in their order: they become 3, 4, …, and
    /// the environment tells of them as `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID`
    /// (`sd_listen_fds(3)`). Empty: none of the three is set.
    pub descriptors: Vec<String>,
    /// Limits to set, as `setrlimit(2)` knows them.
    pub rlimits: Vec<Rlimit>,
    /// The umask.
    pub umask: u32,
    /// Open the program before the identity changes: for a program of Emperor's own in a folder
    /// that only its owner may enter. A worker is looked up with the rights of its own user.
    pub open_before_identity: bool,
    /// Who to become; `None`: stay as it is.
    pub identity: Option<Identity>,
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
    /// What was being done, to follow "could not".
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Plan => "read its plan",
            Self::Session => "start a session",
            Self::Descriptors => "place its descriptors",
            Self::Rlimit => "set a resource limit",
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

/// Why the program did not run.
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
