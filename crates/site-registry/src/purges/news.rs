//! What the feed is started with, and what it tells.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::event::{Mark, PurgeEvent};
use crate::cluster::ClusterState;
use crate::link::{DatabaseTarget, LinkError};

/// What the feed is started with.
#[derive(Debug, Clone)]
pub struct PurgeOptions {
    /// The database.
    pub target: DatabaseTarget,
    /// How the private cluster is, where the database is in one.
    pub cluster: Option<watch::Receiver<ClusterState>>,
    /// This machine's name.
    pub node: String,
    /// Names of the targets that read along, each with a cursor of its own.
    pub targets: Vec<String>,
    /// Nobody knows what this node's targets hold: those that were known before get everything purged.
    pub start_over: bool,
    /// How often to look whether or not there are notifications; at most [`LONGEST_LOOK`].
    pub look_interval: Duration,
}

/// With the time its answer may take, a look has to come well within `emperor.purge_lease()`.
pub const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Who reads purges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// The caches of this node, for which `emperor.purge_wait()` waits.
    Cache,
    /// A target in front of them, by its name.
    Target(String),
}

impl Reader {
    /// The reader as the table has it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Cache => "cache".into(),
            Self::Target(name) => format!("target {name}"),
        }
    }
}

/// What the feed tells, in the order in which it is to be obeyed.
#[derive(Debug, Clone)]
pub enum News {
    /// The link is down: from now on purges may be missed, so nothing may be answered from a cache
    /// before the batches up to the next [`Self::Current`] have been carried out.
    Lost(LinkError),
    /// Purges. After this batch, everything that was committed before it was read is known.
    Batch(Batch),
    /// All that was committed before this moment has been told, and from then on the database knows that
    /// this node's caches are there. Told of every look, so every [`LONGEST_LOOK`] at most; where it stays
    /// away, `emperor.purge_wait()` soon stops waiting for them.
    Current(Instant),
}

/// What one reading found.
#[derive(Debug, Clone)]
pub struct Batch {
    /// For whom; `None`: for every reader.
    pub reader: Option<Reader>,
    /// Purges may have been missed for good: everything of every site has to go.
    pub missed: bool,
    /// The purges, in their order.
    pub events: Vec<PurgeEvent>,
    /// To acknowledge when all of it is done.
    pub mark: Mark,
}

/// Whether purges arrive, for `emperor status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedState {
    /// They do.
    Following,
    /// They don't.
    Lost(LinkError),
}
