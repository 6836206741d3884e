//! Why a command failed, and the exit status that says so.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use site_registry::{LinkError, RewriteError, TargetError};
use thiserror::Error;
use wire::control::ErrorCode;

use super::client::ClientError;
use super::text::counted;
use crate::config::ConfigError;
use crate::daemon::{FoundationError, RunError};
use crate::quickstart::QuickstartError;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// There is no valid configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon can't be reached, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Standard output can't be written, or a signal can't be waited for.
    #[error("{0}")]
    Output(#[from] io::Error),
    /// A file that was named can't be read.
    #[error("could not read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// `check` found an invalid configuration, and showed it.
    #[error("the configuration is invalid")]
    InvalidConfiguration,
    /// `check` found something wrong, and showed it.
    #[error("{}", counted(*count, "problem"))]
    Problems {
        /// How many.
        count: usize,
    },
    /// `import` could not carry over all, and told what.
    #[error("not all was carried over")]
    NotAllImported,
    /// The daemon ended, or did not start.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The quickstart ended, or did not start.
    #[error(transparent)]
    Quickstart(#[from] QuickstartError),
    /// `psql` can't be executed.
    #[error(
        "could not run {}: {source}; it comes with PostgreSQL's client: apt install \
         postgresql-client", program.display()
    )]
    NoPsql {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The private cluster doesn't run.
    #[error(
        "the private PostgreSQL does not run (there is no {}); it runs while the daemon does: \
         emperor run", socket.display()
    )]
    NoCluster {
        /// Its socket.
        socket: PathBuf,
    },
    /// The private cluster is being started.
    #[error("the private PostgreSQL is being started; try again in a few seconds")]
    ClusterStarts,
    /// The daemon runs, and the private cluster doesn't.
    #[error("{cause}")]
    ClusterFails {
        /// What the daemon says of it.
        cause: String,
    },
    /// The database's URL can't be used.
    #[error("database.url: {0}")]
    Target(#[from] TargetError),
    /// The database can't be used.
    #[error("{source}{}", hint(source))]
    Link {
        /// Why.
        #[from]
        source: LinkError,
    },
    /// No domain was rewritten.
    #[error("{source}{}", rewriting_hint(source))]
    Rewriting {
        /// Why.
        #[from]
        source: RewriteError,
    },
    /// `site set` without a column.
    #[error("nothing to change: name a column, see `emperor site set --help`")]
    NothingToChange,
}

fn hint(error: &LinkError) -> String {
    match error.hint() {
        "" => String::new(),
        hint => format!("; {hint}"),
    }
}

fn rewriting_hint(error: &RewriteError) -> String {
    match error {
        RewriteError::Link(error) => hint(error),
        RewriteError::KeptElsewhere | RewriteError::Impossible(_) | RewriteError::Locked => {
            String::new()
        }
    }
}

/// The exit statuses of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// 0
    Done,
    /// 1
    Failed,
    /// 2
    Usage,
    /// 3
    Unreachable,
    /// 4
    NoSuchSite,
}

impl Failure {
    /// Whether all of it was said already.
    pub(crate) fn is_shown(&self) -> bool {
        matches!(
            self,
            Self::InvalidConfiguration | Self::Problems { .. } | Self::NotAllImported
        )
    }

    /// Its exit status. A reader of standard output that left had enough: that is no failure.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Config(_)
            | Self::InvalidConfiguration
            | Self::Target(_)
            | Self::NothingToChange
            | Self::Run(RunError::Foundation(FoundationError::Catalog(_)))
            | Self::Quickstart(QuickstartError::Config(_)) => Status::Usage,
            Self::NoCluster { .. } => Status::Unreachable,
            Self::Client(ClientError::Unreachable { .. } | ClientError::Silent { .. }) => {
                Status::Unreachable
            }
            Self::Client(error) if error.code() == Some(ErrorCode::NoSuchSite) => {
                Status::NoSuchSite
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Status::Done,
            Self::Client(_)
            | Self::Output(_)
            | Self::Unreadable { .. }
            | Self::NoPsql { .. }
            | Self::ClusterStarts
            | Self::ClusterFails { .. }
            | Self::Problems { .. }
            | Self::NotAllImported
            | Self::Run(_)
            | Self::Quickstart(_)
            | Self::Rewriting { .. }
            | Self::Link { .. } => Status::Failed,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(match status {
            Status::Done => 0,
            Status::Failed => 1,
            Status::Usage => 2,
            Status::Unreachable => 3,
            Status::NoSuchSite => 4,
        })
    }
}
