//! What the running daemon can be told to do by whoever holds a handle, and what comes of it.

use std::time::Duration;

use site_model::SiteId;
use site_registry::EditError;
use thiserror::Error;
use tokio::sync::oneshot;
use vassal_core::Want;
use vassal_core::units::Humane;

use super::catalog::AssemblyError;
use crate::config;

/// How long rows may take to be read again before whoever asked for it is told so; the reading itself
/// goes on.
pub(super) const RESYNC_PATIENCE: Duration = Duration::from_secs(10);

/// Commands that wait for the supervisor, or for the main loop. Each is an operator at a command line who waits for the
/// answer anyway.
pub(super) const COMMANDS: usize = 32;

/// What the supervisor is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    /// Replace the instances of these sites although nothing changed.
    Reload(Selection, oneshot::Sender<Vec<SiteId>>),
    /// Tell what is wanted of a vassal; `None`: there is none.
    Tell(SiteId, oneshot::Sender<Option<Want>>),
}

/// The main loop is asked to read everything again, and to say here how that went.
pub(super) type RereadCommand = oneshot::Sender<Result<Reread, RereadError>>;

/// Which sites an operator means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Every one.
    All,
    /// These.
    Sites(Vec<SiteId>),
}

/// The daemon has begun to stop and takes no more orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the daemon is stopping")]
pub(crate) struct Stopping;

/// Everything was read again, and is in force but for this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reread {
    /// Keys that were changed and take effect at the next start only.
    pub(crate) needs_restart: Vec<&'static str>,
}

/// Why not everything was read again.
#[derive(Debug, Error)]
pub(crate) enum RereadError {
    /// The configuration is wrong; the one before stays.
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    /// Templates or overlays are wrong; all stays as before.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// Configuration and templates are in force.
    #[error(
        "configuration and templates are in force, but the rows can't be read now: {0}; they are \
         read as soon as that is over"
    )]
    Rows(#[from] EditError),
    /// Configuration and templates are in force.
    #[error(
        "configuration and templates are in force; the rows are still being read after {}",
        Humane(RESYNC_PATIENCE)
    )]
    Slow,
}
