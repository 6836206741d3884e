//! Whether purges are heard, and so whether the cache may be used: a lease that the emperor renews.
//!
//! An emperor that is stopped or hangs keeps its link open and says nothing. It is waited for by
//! `emperor.purge_wait()` for a while only; before that while is over, its routers have to ask the workers.
//! What it has not delivered by then may never come in order, so a lease that runs out takes all pages
//! with it, and the next renewal begins with none.

use std::convert::Infallible;
use std::sync::Arc;

use page_cache::PageCache;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::warn;
use wire::cache::CACHE_LEASE;

/// Whether purges are heard, and by which cache.
#[derive(Debug, Default)]
pub(crate) struct Hearing(watch::Sender<State>);

#[derive(Debug, Clone, Default)]
struct State {
    cache: Option<Arc<PageCache>>,
    /// Until when purges are heard without another word. `None`: they aren't.
    until: Option<Instant>,
}

impl Hearing {
    /// Another cache, or none. It may be used as the one before was.
    pub(crate) fn is_of(&self, cache: Option<Arc<PageCache>>) {
        self.change(|state| state.cache = cache);
    }

    /// Purges can't be heard.
    pub(crate) fn is_lost(&self) {
        self.change(|state| state.until = None);
    }

    /// Purges are heard, and were up to now.
    pub(crate) fn is_renewed(&self, now: Instant) {
        self.change(|state| state.until = Some(now + CACHE_LEASE));
    }

    /// Ends the use of the cache whenever the lease has run out.
    pub(crate) async fn watch(&self) -> Infallible {
        let mut changes = self.0.subscribe();
        loop {
            let until = changes.borrow_and_update().until;
            // The sender lives in `self`: it can't be gone.
            let Some(until) = until else {
                changes.changed().await.ok();
                continue;
            };
            tokio::select! {
                biased;
                _ = changes.changed() => {}
                () = sleep_until(until) => self.runs_out(),
            }
        }
    }

    fn runs_out(&self) {
        warn!(
            "the emperor has not said for {} s that it hears purges: all kept pages are dropped, and workers \
             are asked; where this lasts, look whether the emperor is stopped or hangs (`emperor status`)",
            CACHE_LEASE.as_secs()
        );
        self.is_lost();
        if let Some(cache) = &self.0.borrow().cache {
            cache.purge_all();
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_modify(|state| {
            change(state);
            match &state.cache {
                Some(cache) if state.until.is_some() => cache.resume(),
                Some(cache) => cache.suspend(),
                None => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const ALMOST: Duration = Duration::from_millis(1);

    fn cache(hearing: &Hearing) -> Arc<PageCache> {
        let cache = Arc::new(PageCache::new(1 << 20));
        hearing.is_of(Some(Arc::clone(&cache)));
        cache
    }

    async fn wait(hearing: &Hearing, span: Duration) {
        tokio::select! {
            never = hearing.watch() => match never {},
            () = sleep(span) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cache_is_used_for_as_long_as_it_is_renewed() {
        let hearing = Hearing::default();
        let cache = cache(&hearing);
        wait(&hearing, ALMOST).await;
        assert!(cache.is_away(), "nobody has said that purges are heard");
        for _ in 0..3 {
            hearing.is_renewed(Instant::now());
            wait(&hearing, CACHE_LEASE.mul_f64(0.9)).await;
            assert!(!cache.is_away());
        }
        wait(&hearing, CACHE_LEASE.mul_f64(0.2)).await;
        assert!(cache.is_away(), "the lease has run out");
        hearing.is_renewed(Instant::now());
        assert!(!cache.is_away());
    }

    #[tokio::test(start_paused = true)]
    async fn another_cache_is_used_as_the_one_before() {
        let hearing = Hearing::default();
        hearing.is_renewed(Instant::now());
        assert!(!cache(&hearing).is_away());
        wait(&hearing, CACHE_LEASE + ALMOST).await;
        assert!(cache(&hearing).is_away());
    }
}
