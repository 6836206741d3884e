//! Purges: what a site says is no longer true, and how pages learn of it.
//!
//! A purge touches no page. It is written down with its number, and whoever looks a page up compares
//! what was written since the page was last known to be good. So a purge of a hundred thousand pages
//! costs what a purge of one does; `log.rs` has the book that is kept.

pub(crate) mod log;

use crate::key;

/// The number of a purge. Counted over all sites and never given twice, so that a page of a site
/// that was removed can't be taken for one of its successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PurgeSequence(u64);

impl PurgeSequence {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What is to be forgotten of one site.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Purge {
    /// One path, with all its queries, variants, hosts and schemes.
    Path(String),
    /// All paths that begin so.
    Prefix(String),
    /// All pages with this tag.
    Tag(String),
    /// Everything.
    Site,
}

impl Purge {
    /// A path, brought to the spelling that keys have. A query doesn't count.
    pub fn path(path: &str) -> Self {
        Self::Path(key::normal_path(path).into_owned())
    }

    /// A prefix, brought to the spelling that keys have.
    pub fn prefix(prefix: &str) -> Self {
        Self::Prefix(key::normal_path(prefix).into_owned())
    }

    /// A tag as `Surrogate-Key`, `Cache-Tag` or `xkey` give it.
    pub fn tag(tag: &str) -> Self {
        Self::Tag(tag.trim().to_owned())
    }
}
