//! Purges that come over the link.

use tokio::task::spawn_blocking;
use tokio::time::Instant;
use wire::route::FromRouter;

use super::Follower;

/// How many pages a sweep looks at before others have their turn.
const PAGES_PER_STEP: usize = 1024;
/// After so many purges it is looked whether a sweep is worth it.
const PURGES_PER_SWEEP: usize = 256;

impl Follower {
    pub(super) fn has_purged(&mut self, sequence: u64) -> FromRouter {
        self.purged = self.purged.max(sequence);
        FromRouter::Purged { sequence }
    }

    pub(super) fn suspend(&self) -> Option<FromRouter> {
        self.pages.hearing().is_lost();
        None
    }

    pub(super) fn resume(&self) -> Option<FromRouter> {
        self.pages.hearing().is_renewed(Instant::now());
        None
    }

    /// Has the purged pages' memory given back, beside everything else, once that is worth it.
    pub(super) fn sweep_after(&mut self, purges: usize) {
        self.unswept += purges;
        if self.unswept < PURGES_PER_SWEEP {
            return;
        }
        let is_sweeping = self.sweeping.as_ref().is_some_and(|it| !it.is_finished());
        let Some(cache) = self.pages.cache().filter(|_| !is_sweeping).cloned() else {
            return;
        };
        self.unswept = 0;
        self.sweeping = Some(spawn_blocking(move || {
            if let Some(mut sweep) = cache.sweep() {
                while sweep.step(PAGES_PER_STEP) {
                    std::thread::yield_now();
                }
            }
        }));
    }
}
