//! Desired state as the rest of the house sees it: a persistent map of rows, and where it is from.
//!
//! Knows nothing of SQL, sessions or files. Written by the registry's task, read through a `watch`
//! channel: a level, not an edge, so a reader that was busy misses nothing by seeing the latest.

use std::sync::Arc;
use std::time::SystemTime;

use imbl::{OrdMap, OrdSet};
use site_model::{RejectedSite, Site, SiteId};

/// Every row, at one moment.
///
/// Two values share what did not change between them, so cloning one costs nothing and
/// [`OrdMap::diff`] finds what changed without looking at the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The rows by id, those of [`held_removals`](Self::held_removals) among them.
    pub rows: OrdMap<SiteId, Row>,
    /// Sites that are gone from the database and kept, because too many went at once.
    pub held_removals: Option<HeldRemovals>,
    /// Where the rows are from.
    pub source: Source,
}

/// One row of `emperor.sites` with what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// It can be run, as far as the row alone tells.
    Site(Arc<Site>),
    /// It can't, and says why.
    Rejected(Arc<RejectedSite>),
}

impl Row {
    /// Holds what is equal in a neighbour together with it.
    pub(crate) fn share(&mut self, neighbour: &Self) {
        if let (Self::Site(site), Self::Site(neighbour)) = (self, neighbour)
            && let Some(site) = Arc::get_mut(site)
        {
            site.share(neighbour);
        }
    }
}

/// Where the rows of a [`Desired`] are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nothing is known yet: the rows are empty, and that means nothing at all.
    Nothing,
    /// The last good snapshot on disk, because PostgreSQL can't be reached.
    Snapshot {
        /// When PostgreSQL held these rows.
        read_at: SystemTime,
    },
    /// PostgreSQL. It stays this when the link is lost: the rows are still the last ones known.
    Database {
        /// When the last of the rows was read.
        read_at: SystemTime,
    },
}

/// Sites whose rows are gone, kept until somebody says that this was meant.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldRemovals {
    /// The sites.
    pub ids: OrdSet<SiteId>,
    /// How many rows there were before.
    pub of: usize,
    /// When the reading that lacked them was made.
    pub since: SystemTime,
}

impl Desired {
    /// What there is to say before the first reading.
    pub fn nothing() -> Self {
        Self {
            rows: OrdMap::new(),
            held_removals: None,
            source: Source::Nothing,
        }
    }

    /// Whether the rows mean anything: false only before the first reading of a house without a
    /// snapshot.
    pub const fn is_known(&self) -> bool {
        match self.source {
            Source::Nothing => false,
            Source::Snapshot { .. } | Source::Database { .. } => true,
        }
    }

    /// The id of the row with this slug, valid or rejected.
    pub fn find_slug(&self, slug: &str) -> Option<SiteId> {
        let found = self.rows.iter().find(|(_, row)| row.slug() == slug);
        found.map(|(id, _)| *id)
    }
}

impl Row {
    /// The row's key.
    pub fn id(&self) -> SiteId {
        match self {
            Self::Site(site) => site.id,
            Self::Rejected(rejected) => rejected.id,
        }
    }

    /// The slug as it stands in the row.
    pub fn slug(&self) -> &str {
        match self {
            Self::Site(site) => site.slug.as_str(),
            Self::Rejected(rejected) => &rejected.slug,
        }
    }
}

/// A row, and its domain as it stands there.
#[derive(Debug, Clone)]
pub(crate) struct NamedRow {
    pub(crate) row: Row,
    /// As it stands in the column; empty: there is none.
    pub(crate) domain: String,
    /// Its slug is made from that.
    pub(crate) makes_slug: bool,
}
