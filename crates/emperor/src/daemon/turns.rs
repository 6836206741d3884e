//! Whose turn it is to start an instance. A house has only so many cores and so much memory, so
//! starts take turns: whoever asked first is first. What is to be started, and when to ask, is the
//! vassals' matter.
//!
//! There are two queues, so that nobody whom visitors wait for waits behind a rollout over the whole
//! house: one for instances that are lacking, and one for those that replace others. Whoever is
//! lacking since its start failed has its turn among its like first, of whom at most half of the places
//! are: a site that wakes up for a visitor finds no queue of those that crash again and again before
//! it.
//!
//! | module | what it is |
//! |---|---|
//! | `places` | the places of those that are lacking |
//! | `replacements` | the queue of those that replace others |
//! | `memory` | what they may take |

mod memory;
mod places;
mod replacements;

use std::sync::Arc;

use site_model::SiteId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use memory::Gauge;
use places::Places;
use replacements::Replacements;
pub(crate) use replacements::RolloutQueue;

use crate::config::rollout::Rollout;

/// So many times as long as a failed start took, its place stays empty: starts that fail take a quarter of
/// the time of their places.
const REST: u32 = 3;

/// Gives turns to the vassals of a house.
#[derive(Debug)]
pub(super) struct Turns {
    starts: Arc<Places>,
    /// Those among them that may be starts after one that failed.
    retries: Arc<Places>,
    replacements: Arc<Replacements>,
}

/// How the start before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It got ready, or there was none.
    First,
    /// It failed.
    Retry,
}

/// A turn. Dropped, it lets the next one start.
#[derive(Debug)]
pub(super) struct Permit(Kind);

#[derive(Debug)]
enum Kind {
    Start {
        place: places::Place,
        retry: Option<places::Place>,
        since: Instant,
    },
    Replacement(replacements::Place),
}

impl Turns {
    /// With so many instances that may be on their way at once, and so much that may be taken by
    /// those that replace others.
    pub(super) fn new(max_starting: usize, rollout: &Rollout) -> Self {
        let max_replacing = match rollout.max_replacing {
            // A start takes about one core's time. More of them at once would each take longer, with
            // as much memory for longer, and leave visitors less.
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let gauge = Gauge::of_this_machine(rollout.memory_reserve);
        Self::with_gauge(max_starting, max_replacing, gauge)
    }

    fn with_gauge(max_starting: usize, max_replacing: usize, gauge: Gauge) -> Self {
        Self {
            starts: Arc::new(Places::new(max_starting)),
            retries: Arc::new(Places::new(max_starting.div_ceil(2))),
            replacements: Arc::new(Replacements::new(max_replacing, gauge)),
        }
    }

    /// Resolves once an instance may start. Dropped before, it leaves the queue.
    pub(super) fn start(&self, attempt: Attempt) -> impl Future<Output = Permit> + Send + 'static {
        let (starts, retries) = (Arc::clone(&self.starts), Arc::clone(&self.retries));
        async move {
            let retry = match attempt {
                Attempt::First => None,
                Attempt::Retry => Some(retries.take().await),
            };
            Permit(Kind::Start {
                place: starts.take().await,
                retry,
                since: Instant::now(),
            })
        }
    }

    /// Resolves once an instance of this site may be started beside the one that it replaces, which
    /// tells how much memory is expected to be taken. Dropped before, it leaves the queue.
    pub(super) fn replace(
        &self,
        site: SiteId,
        expected_bytes: impl Future<Output = Option<u64>> + Send + 'static,
    ) -> impl Future<Output = Permit> + Send + 'static {
        let place = Arc::clone(&self.replacements).place(site, expected_bytes);
        async move { Permit(Kind::Replacement(place.await)) }
    }

    /// Who is being replaced, and who waits for that.
    pub(super) fn replacing(&self) -> RolloutQueue {
        self.replacements.snapshot()
    }
}

impl Permit {
    /// The start came to nothing: its place stays empty for a while. Of a retry that is the one among the
    /// retries alone. Those that replace others have fewer places, and keep them for
    /// longer, as it is.
    pub(super) fn failed(&mut self) {
        match &mut self.0 {
            Kind::Start {
                place,
                retry,
                since,
            } => {
                let place = retry.as_mut().unwrap_or(place);
                place.leave_empty_until(Instant::now() + since.elapsed() * REST);
            }
            Kind::Replacement(_) => {}
        }
    }

    /// The instance has the memory that it was expected to take: who measures what is left sees it.
    pub(super) fn settled(&mut self) {
        match &mut self.0 {
            Kind::Start { .. } => {}
            Kind::Replacement(place) => place.settled(),
        }
    }
}

async fn acquire(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    match semaphore.acquire_owned().await {
        Ok(permit) => permit,
        // It is never closed.
        Err(_) => std::future::pending().await,
    }
}

/// What tests start with: bounds on places, and none on memory.
#[cfg(test)]
impl Turns {
    pub(super) fn roomy(max_starting: usize, max_replacing: usize) -> Self {
        let rollout = Rollout {
            max_replacing,
            memory_reserve: crate::config::rollout::Reserve::Bytes(0),
        };
        Self::new(max_starting, &rollout)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SPAN: Duration = Duration::from_secs(2);

    /// A start that fails after [`SPAN`].
    async fn fail(turns: &Turns, attempt: Attempt) {
        let mut permit = turns.start(attempt).await;
        advance(SPAN).await;
        permit.failed();
    }

    fn may_start_now(turns: &Turns, attempt: Attempt) -> bool {
        turns.start(attempt).now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn starts_that_fail_take_a_quarter_of_the_time() {
        for attempt in [Attempt::First, Attempt::Retry] {
            let turns = Turns::roomy(1, 1);
            let began = Instant::now();
            for _ in 0..10 {
                fail(&turns, attempt).await;
            }
            drop(turns.start(attempt).await);
            assert_eq!(began.elapsed(), 10 * 4 * SPAN, "{attempt:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_of_a_start_that_succeeded_is_free_at_once() {
        let turns = Turns::roomy(1, 1);
        let permit = turns.start(Attempt::First).await;
        advance(SPAN).await;
        drop(permit);
        assert!(may_start_now(&turns, Attempt::First));
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_may_be_used_is_found_before_one_that_may_not() {
        let turns = Turns::roomy(2, 1);
        let good = turns.start(Attempt::First).await;
        fail(&turns, Attempt::First).await;
        assert!(!may_start_now(&turns, Attempt::First));
        drop(good);
        assert!(may_start_now(&turns, Attempt::First));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_the_queue_leaves_the_place_as_it_was() {
        let turns = Turns::roomy(1, 1);
        fail(&turns, Attempt::First).await;
        let began = Instant::now();
        assert!(!may_start_now(&turns, Attempt::First));
        drop(turns.start(Attempt::First).await);
        assert_eq!(began.elapsed(), REST * SPAN);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_starts_for_the_first_time_passes_those_that_failed() {
        let turns = Turns::roomy(4, 1);
        let mut retries: Vec<_> = (0..100)
            .map(|_| Box::pin(turns.start(Attempt::Retry)))
            .collect();
        let permits: Vec<_> = retries
            .iter_mut()
            .filter_map(FutureExt::now_or_never)
            .collect();
        assert_eq!(permits.len(), 2);
        assert!(may_start_now(&turns, Attempt::First));
    }
}
