//! One site within the cache: its purges and its counters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use site_model::SiteId;

use crate::counters::{Counted, Counters, count};
use crate::purge::log::{PurgeLog, Standing};
use crate::purge::{Purge, PurgeSequence};

/// How many purges of a long list are written down before lookups get their turn.
const PURGES_AT_ONCE: usize = 256;

/// What the cache knows of a site. The router finds it once for each route table.
#[derive(Debug)]
pub struct SiteCache {
    id: SiteId,
    /// The number of the last purge: what each hit compares first, without the lock.
    last: AtomicU64,
    log: RwLock<PurgeLog>,
    /// Made at the first request: most of very many sites sleep, and never have one.
    counters: OnceLock<Box<Counters>>,
}

impl SiteCache {
    pub(crate) fn new(id: SiteId, number: u64) -> Self {
        Self {
            id,
            last: AtomicU64::new(number),
            log: RwLock::new(PurgeLog::beginning_at(number)),
            counters: OnceLock::new(),
        }
    }

    /// Whose it is.
    pub fn id(&self) -> SiteId {
        self.id
    }

    /// Where it is counted.
    pub fn counters(&self) -> &Counters {
        self.counters.get_or_init(Box::default)
    }

    /// What was counted; `None`: there was nothing to count so far.
    pub fn counted(&self) -> Option<Counted> {
        self.counters.get().map(|counters| counters.read())
    }

    /// The number of the last purge.
    pub fn purged_up_to(&self) -> PurgeSequence {
        PurgeSequence::new(self.last.load(Ordering::Acquire))
    }

    /// How many purges pages still have to be compared with.
    pub fn open_purges(&self) -> usize {
        self.log.read().len()
    }

    /// Writes purges down. Once it returns, no page that one of them names is served, whoever fills it.
    pub(crate) fn purge(&self, purges: &[Purge], numbers: &AtomicU64) -> PurgeSequence {
        for some in purges.chunks(PURGES_AT_ONCE) {
            let mut log = self.log.write();
            for purge in some {
                // Taken under the lock, so that a site's numbers come in order.
                let number = numbers.fetch_add(1, Ordering::Relaxed) + 1;
                log.record(purge, number);
                count(&self.counters().purges);
            }
            self.last.store(log.last().get(), Ordering::Release);
        }
        self.purged_up_to()
    }

    /// Whether a page that was good up to `verified` still is; `verified` follows.
    pub(crate) fn is_current<'a>(
        &self,
        verified: &AtomicU64,
        path: impl FnOnce() -> &'a [u8],
        tags: impl IntoIterator<Item = &'a [u8]>,
    ) -> bool {
        let known = verified.load(Ordering::Relaxed);
        if known == self.last.load(Ordering::Acquire) {
            return true;
        }
        match self.log.read().compare(known, path(), tags) {
            Standing::Current(last) => {
                verified.fetch_max(last, Ordering::Relaxed);
                true
            }
            Standing::Purged => false,
        }
    }

    /// Whether a purge since then names this path, or all of the site.
    pub(crate) fn is_named_since(&self, number: PurgeSequence, path: &[u8]) -> bool {
        number < self.purged_up_to()
            && self.log.read().compare(number.get(), path, []) == Standing::Purged
    }

    pub(crate) fn wants_sweep(&self) -> bool {
        self.log.read().wants_sweep()
    }

    pub(crate) fn raise_floor(&self, number: PurgeSequence) {
        self.log.write().raise_floor(number.get());
    }
}
