//! What is counted for each site.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::reason::BypassReason;

/// Counters of one site, shared by the router's threads.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) fills: AtomicU64,
    pub(crate) revalidations: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) purges: AtomicU64,
    pub(crate) pages: AtomicU64,
    pub(crate) bytes: AtomicU64,
    bypasses: [AtomicU64; BypassReason::ALL.len()],
    refusals: [AtomicU64; BypassReason::ALL.len()],
}

/// The counters as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests answered by a fresh page.
    pub hits: u64,
    /// Requests answered by an expired page.
    pub stale: u64,
    /// Requests for which nothing usable was stored.
    pub misses: u64,
    /// Pages stored.
    pub fills: u64,
    /// Pages found unchanged by asking.
    pub revalidations: u64,
    /// Requests that waited for another's fill.
    pub waits: u64,
    /// Pages that made room for others.
    pub evictions: u64,
    /// Purges heard.
    pub purges: u64,
    /// Whole pages in memory now.
    pub pages: u64,
    /// Their bytes, with what keeping them costs.
    pub bytes: u64,
    /// Requests that the cache had no part in, by reason.
    pub bypasses: Vec<(BypassReason, u64)>,
    /// Answers that were not kept, by reason.
    pub refusals: Vec<(BypassReason, u64)>,
}

pub(crate) fn count(counter: &AtomicU64) {
    // Counters order nothing; each is read on its own.
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Notes a request that the cache had no part in.
    pub fn bypassed(&self, reason: BypassReason) {
        count(&self.bypasses[reason.index()]);
    }

    pub(crate) fn refused(&self, reason: BypassReason) {
        count(&self.refusals[reason.index()]);
    }

    /// The counters now.
    pub fn read(&self) -> Counted {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let by_reason = |counters: &[AtomicU64; BypassReason::ALL.len()]| {
            let pairs = BypassReason::ALL
                .into_iter()
                .zip(counters.iter().map(value));
            pairs.filter(|(_, count)| *count > 0).collect()
        };
        Counted {
            hits: value(&self.hits),
            stale: value(&self.stale),
            misses: value(&self.misses),
            fills: value(&self.fills),
            revalidations: value(&self.revalidations),
            waits: value(&self.waits),
            evictions: value(&self.evictions),
            purges: value(&self.purges),
            pages: value(&self.pages),
            bytes: value(&self.bytes),
            bypasses: by_reason(&self.bypasses),
            refusals: by_reason(&self.refusals),
        }
    }
}
