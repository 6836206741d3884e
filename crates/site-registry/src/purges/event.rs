//! The values of this module: what is to be purged, and how far somebody has read. No I/O.

use std::fmt;
use std::sync::Arc;

use site_model::SiteId;

/// The id of a purge, as `emperor.purge()` returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(i64);

impl EventId {
    /// The id of a row.
    pub const fn new(id: i64) -> Self {
        Self(id)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What pages of a site are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Purge {
    /// Those with one of these paths, whatever their query, as they were written: a caller may have
    /// percent-encoded them or not.
    Paths(Vec<String>),
    /// Those whose path begins with one of these.
    Prefixes(Vec<String>),
    /// Those that carry one of these tags.
    Tags(Vec<String>),
    /// All that stands under one of these hosts, which the site has lost.
    Hosts(Vec<String>),
    /// All of them.
    Everything,
}

impl Purge {
    /// The kind, as the table has it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Paths(_) => "path",
            Self::Prefixes(_) => "prefix",
            Self::Tags(_) => "tag",
            Self::Hosts(_) => "host",
            Self::Everything => "site",
        }
    }

    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Paths(names) | Self::Prefixes(names) | Self::Tags(names) | Self::Hosts(names) => {
                names
            }
            Self::Everything => &[],
        }
    }

    /// A kind that isn't known is of a newer schema: then more goes than would have to.
    pub(crate) fn from_row(kind: &str, names: Vec<String>) -> Self {
        match kind {
            "path" => Self::Paths(names),
            "prefix" => Self::Prefixes(names),
            "tag" => Self::Tags(names),
            "host" => Self::Hosts(names),
            _ => Self::Everything,
        }
    }
}

/// One purge that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PurgeEvent {
    /// Which one.
    pub id: EventId,
    /// Whose pages; `None`: every site's.
    pub site: Option<SiteId>,
    /// Which pages.
    pub what: Purge,
}

/// How far somebody has read: behind everything that one reading saw.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Counts the readings of this process.
    pub(crate) number: u64,
    pub(crate) position: Arc<Position>,
}

impl Mark {
    /// Grows with each reading, so that marks can be compared.
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// What is behind a reader, as PostgreSQL tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// A `pg_snapshot` in its text form.
    pub(crate) snapshot: String,
    /// Whose transactions it names.
    pub(crate) server: String,
}

/// A purge that a target did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The target's name.
    pub target: String,
    /// Whose pages; `None`: every site's.
    pub site: Option<SiteId>,
    /// Which pages.
    pub what: Purge,
    /// Why, in words for an operator.
    pub reason: String,
}
