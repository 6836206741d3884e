//! Why a process did not come to be, in words that an operator can act upon.
//!
//! Each text is complete in itself: it goes into a status row and a log line as it stands, so a
//! kernel's answer is part of it and not a source to be unfolded.

use std::io::{self, ErrorKind};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use vassal_core::ExitReason;
use vassal_core::lifecycle::Prospect;
use vassal_core::spec::RenderError;
use vassal_core::units::Humane;
use wire::exec::{ExecFailure, ExecStep, Walls};

use super::walls;
use crate::socket_path::MAX_SOCKET_PATH;

/// A call on a path that the kernel refused.
#[derive(Debug, Error)]
#[error("could not {doing} {}: {error}", path.display())]
pub(crate) struct PathFailure {
    /// What was being done, to follow "could not".
    pub(crate) doing: &'static str,
    /// To what.
    pub(crate) path: PathBuf,
    /// The kernel's answer.
    pub(crate) error: io::Error,
}

/// The daemon can't work with the folders it was given.
#[derive(Debug, Error)]
pub(crate) enum PrepareError {
    /// A folder or a file in it could not be made or read.
    #[error("{0}")]
    Path(#[from] PathFailure),
    /// A folder of the daemon's is a symbolic link, and whoever owns the link decides where its
    /// sockets lie.
    #[error("{} is a symbolic link; give the folder it leads to", .0.display())]
    SymbolicLink(PathBuf),
    /// Something else lies where a folder is due.
    #[error("{} is no folder", .0.display())]
    NotAFolder(PathBuf),
    /// Another user's folder: that user could put other sockets and files in their place.
    #[error("{} belongs to uid {owner}, and the emperor runs as uid {own}: give it to that user, or choose another folder", path.display())]
    ForeignOwner {
        /// The folder.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who should.
        own: u32,
    },
    /// Everybody may rename what lies in a folder above.
    #[error("everybody may write to {}, so {} could be replaced by anybody: choose another folder, or take that right away", above.display(), path.display())]
    WritableByAll {
        /// The daemon's folder.
        path: PathBuf,
        /// The folder above it.
        above: PathBuf,
    },
    /// The users that sites run as can't get to their own files.
    #[error("only its owner may enter {}, so the users of sites could not reach {}: choose another runtime_dir, such as /run/emperor", above.display(), path.display())]
    Closed {
        /// `runtime_dir`
        path: PathBuf,
        /// The folder above it.
        above: PathBuf,
    },
    /// `identities.json` can't be understood.
    #[error("{} can't be understood ({cause}): it says which site owns which uid, so it is not made anew; restore it, or remove it if no site keeps files", path.display())]
    Identities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// `pools.json` can't be understood.
    #[error("{} can't be understood ({cause}): it says which pool has which number, so it is not made anew; restore it, or remove it if no worker of a pool runs", path.display())]
    Pools {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The router's user can't be had.
    #[error("router.run_as: {0}")]
    Router(#[source] IdentityError),
}

/// A user that a site can't run as.
#[derive(Debug, Error)]
pub(crate) enum IdentityError {
    /// Only root may become somebody else.
    #[error(
        "{wanted:?} is not permitted: the emperor runs as {own:?} and can start processes only as that user; leave it empty, or run the emperor as root"
    )]
    NotRoot {
        /// Who was wanted.
        wanted: String,
        /// Who it is.
        own: String,
    },
    /// There is no such account.
    #[error("there is no user {0:?} on this machine; create it, or name another")]
    UnknownUser(String),
    /// The account is root's.
    #[error("{0:?} is root, which is not permitted; set policy.allow_root = true if it has to be")]
    Root(String),
    /// The account is the router's, which may open every site's socket.
    #[error("{0:?} is the user of the router, which may reach every site; choose another")]
    Router(String),
    /// Every uid of the range belongs to somebody.
    #[error("every uid of policy.uid_range \"{}-{}\" is taken; widen it", .0.start(), .0.end())]
    Exhausted(RangeInclusive<u32>),
    /// The uid it has had since its first start is outside the range now.
    #[error("its uid is {uid} since its first start, and that is not in policy.uid_range \"{}-{}\"; widen the range again", range.start(), range.end())]
    OutOfRange {
        /// The uid.
        uid: u32,
        /// The range now.
        range: RangeInclusive<u32>,
    },
    /// The system's list of accounts did not answer.
    #[error("the account {name:?} could not be looked up: {error}")]
    Lookup {
        /// Whom it was asked for.
        name: String,
        /// Its answer.
        error: io::Error,
    },
    /// A new uid could not be written down, and would be given to another site after a restart.
    #[error("no uid could be assigned: {0}")]
    NotWritten(#[source] PathFailure),
}

/// Why a worker could not be forked.
#[derive(Debug, Clone, Error)]
pub(crate) enum PreloadFailure {
    /// Nobody can bind a socket for it.
    #[error("preload.enabled takes `listen = \"fd\"`: a forked worker inherits its socket")]
    Listen,
    /// The preloader could not be started.
    #[error("its preloader could not be started: {text}")]
    NotStarted {
        /// Why.
        text: String,
        /// Whether trying again may help.
        prospect: Prospect,
    },
    /// It ended instead of being ready.
    #[error("its preloader {reason} before it was ready{}", last_words(said))]
    Ended {
        /// How.
        reason: ExitReason,
        /// The last lines of its standard error.
        said: Vec<String>,
    },
    /// It took too long.
    #[error("its preloader was not ready within {} (preload.timeout){}", Humane(*after), last_words(said))]
    TimedOut {
        /// So long.
        after: Duration,
        /// The last lines of its standard error.
        said: Vec<String>,
    },
    /// It ended or hung while it was to fork.
    #[error(
        "its preloader ended or did not answer when it was to fork; the next try begins with a new one"
    )]
    Gone,
    /// Another process than the one that was asked for.
    #[error(
        "its preloader handed over a process that is no child of its own: the program has to speak as wire::preload has it"
    )]
    Foreign,
    /// The worker did not come to be.
    #[error("the forked worker could not begin: {0}")]
    Worker(String),
}

/// Most lines of a preloader's that a status shows.
const LAST_WORDS: usize = 6;

fn last_words(said: &[String]) -> String {
    let lines = said.iter().map(|line| line.trim_end());
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    match &lines[lines.len().saturating_sub(LAST_WORDS)..] {
        [] => String::new(),
        last => format!(": {}", last.join(" / ")),
    }
}

impl PreloadFailure {
    /// Whether trying the same again may help.
    fn prospect(&self) -> Prospect {
        match self {
            Self::Listen => Prospect::Lasting,
            Self::NotStarted { prospect, .. } => *prospect,
            Self::Ended { .. }
            | Self::TimedOut { .. }
            | Self::Gone
            | Self::Foreign
            | Self::Worker(_) => Prospect::MayPass,
        }
    }
}

/// Why a spawn failed.
#[derive(Debug, Error)]
pub(crate) enum SpawnFailure {
    /// The user it should run as can't be had.
    #[error("run_as: {0}")]
    Identity(#[from] IdentityError),
    /// Its command or files can't be rendered.
    #[error("{0}")]
    Render(#[from] RenderError),
    /// A rendered file's name is not that of a file in the private folder.
    #[error("[files] {0:?}: a name there is that of a file, without a folder")]
    FileName(String),
    /// The kernel takes no socket path of that length.
    #[error("the socket's path {} has {length} bytes, and the kernel takes {MAX_SOCKET_PATH} at most: choose a shorter runtime_dir", path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// There are too few descriptors for another instance.
    #[error(
        "the emperor has no descriptors left for another instance: {running} run and it may open {nofile} descriptors; let it open more (LimitNOFILE= of its service), four for each instance"
    )]
    Descriptors {
        /// How many instances it has.
        running: u64,
        /// How many descriptors it may open.
        nofile: u64,
    },
    /// A folder, a file or a socket could not be made.
    #[error("{0}")]
    Path(#[from] PathFailure),
    /// The site wants every limit and wall or nothing.
    #[error("sandbox.required is true, and this machine can't give {}", .0.join("; "))]
    Required(Vec<String>),
    /// A wall can't be put up as it is asked for.
    #[error("{0}")]
    Wall(String),
    /// `vassal-exec` could not be started or spoken to.
    #[error("could not {doing} vassal-exec: {error}")]
    Helper {
        /// What was being done.
        doing: &'static str,
        /// The kernel's answer.
        error: io::Error,
    },
    /// `vassal-exec` could not carry out a step of its plan.
    #[error("{0}")]
    Exec(ExecFailure),
    /// It can't be forked from a preloader.
    #[error("{0}")]
    Preload(#[from] PreloadFailure),
    /// `vassal-exec` neither failed nor became the program.
    #[error("the program was not executed within {}: its folder may lie on a file system that does not answer", Humane(*.0))]
    Deadline(Duration),
}

impl SpawnFailure {
    /// Where it is about a wall: says which key asked for it.
    pub(super) fn of_walls(self, walls: &Walls) -> Self {
        match self {
            Self::Exec(failure) if failure.step.is_wall() => {
                let told = walls::missing(&failure, walls);
                if walls.required && failure.is_refusal() {
                    return Self::Required(vec![told]);
                }
                Self::Wall(told)
            }
            other => other,
        }
    }

    /// Whether trying the same again may help.
    pub(crate) fn prospect(&self) -> Prospect {
        match self {
            Self::Identity(error) => error.prospect(),
            Self::Preload(error) => error.prospect(),
            Self::Render(_)
            | Self::FileName(_)
            | Self::SocketPath { .. }
            | Self::Required(_)
            | Self::Wall(_) => Prospect::Lasting,
            Self::Exec(failure) if is_lasting(failure) => Prospect::Lasting,
            Self::Descriptors { .. }
            | Self::Path(_)
            | Self::Helper { .. }
            | Self::Exec(_)
            | Self::Deadline(_) => Prospect::MayPass,
        }
    }
}

/// A program or folder that is not there, or closed, or no program: it may be on its way (a
/// deployment, a mount), but nothing that passes by itself.
fn is_lasting(failure: &ExecFailure) -> bool {
    let about_a_path = matches!(
        failure.step,
        ExecStep::OpenProgram | ExecStep::WorkingDir | ExecStep::Exec
    );
    let kind = io::Error::from_raw_os_error(failure.errno).kind();
    let shortage = matches!(
        kind,
        ErrorKind::OutOfMemory
            | ErrorKind::WouldBlock
            | ErrorKind::ExecutableFileBusy
            | ErrorKind::Interrupted
    );
    about_a_path && !shortage
}

impl IdentityError {
    /// Whether trying the same again may help.
    pub(crate) fn prospect(&self) -> Prospect {
        match self {
            Self::NotRoot { .. }
            | Self::UnknownUser(_)
            | Self::Root(_)
            | Self::Router(_)
            | Self::Exhausted(_)
            | Self::OutOfRange { .. } => Prospect::Lasting,
            Self::Lookup { .. } | Self::NotWritten(_) => Prospect::MayPass,
        }
    }
}

/// Says what was being done to which path when the kernel refused.
pub(super) trait Doing<T> {
    /// `doing` follows "could not".
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, PathFailure>;
}

impl<T, E: Into<io::Error>> Doing<T> for Result<T, E> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, PathFailure> {
        self.map_err(|error| PathFailure {
            doing,
            path: path.to_path_buf(),
            error: error.into(),
        })
    }
}
