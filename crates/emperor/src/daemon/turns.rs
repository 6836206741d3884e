//! Whose turn it is to start an instance. A house has only so many cores and so much memory, so
//! starts take turns: whoever asked first is first. What is to be started, and when to ask, is the
//! vassals' matter.
//!
//! There are two queues, so that nobody whom visitors wait for waits behind a rollout over the whole
//! house: one for instances that are lacking, and one for those that replace others. Those that are
//! lacking come on two lanes: a visitor waits for the instance, or nobody does. Of the places, some are
//! kept from the second lane, so a site that wakes up for a visitor finds no bulk insert before it.
//! Those that are lacking since their start failed have at most half of the places of each lane.
//!
//! | module | what it is |
//! |---|---|
//! | `lane` | starts that stand in line together |
//! | `order` | who of them is the next, and when |
//! | `replacements` | the queue of those that replace others |
//! | `memory` | what they may take |

mod lane;
mod memory;
mod order;
mod replacements;

use std::sync::Arc;

use site_model::SiteId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use lane::Lane;
pub(crate) use lane::LaneStatus;
use memory::Gauge;
pub(super) use order::Attempt;
use order::Manner;
use replacements::Replacements;
pub(crate) use replacements::RolloutQueue;

use crate::config::rollout::Rollout;

/// Gives turns to the vassals of a house.
#[derive(Debug)]
pub(super) struct Turns {
    /// All that start, on either lane: of those whom a lane has let through, who came first is first.
    starts: Arc<Semaphore>,
    /// Visitors wait for these.
    awaited: Lane,
    /// Nobody waits for these.
    quiet: Lane,
    replacements: Arc<Replacements>,
}

/// Who waits for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AwaitedBy {
    /// Requests wait in the queue of its site.
    Visitors,
    /// None do.
    Nobody,
}

/// A turn. Dropped, it lets the next one start.
#[derive(Debug)]
pub(super) struct Permit(Kind);

#[derive(Debug)]
enum Kind {
    Start {
        place: lane::Place,
        since: Instant,
        _turn: OwnedSemaphorePermit,
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
        let for_retries = max_starting.div_ceil(2);
        let for_nobody = max_starting - kept_for_visitors(max_starting);
        Self {
            starts: Arc::new(Semaphore::new(max_starting)),
            awaited: Lane::new(Manner::Even, max_starting, for_retries),
            quiet: Lane::new(Manner::HoldingBack, for_nobody, for_retries),
            replacements: Arc::new(Replacements::new(max_replacing, gauge)),
        }
    }

    /// Resolves once an instance may start. Dropped before, it leaves the queue.
    pub(super) fn start(
        &self,
        awaited_by: AwaitedBy,
        attempt: Attempt,
    ) -> impl Future<Output = Permit> + Send + 'static {
        let lane = match awaited_by {
            AwaitedBy::Visitors => &self.awaited,
            AwaitedBy::Nobody => &self.quiet,
        };
        let place = lane.take(attempt);
        let starts = Arc::clone(&self.starts);
        async move {
            Permit(Kind::Start {
                place: place.await,
                _turn: acquire(starts).await,
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

    /// How those that nobody waits for are doing.
    pub(super) fn quiet(&self) -> LaneStatus {
        self.quiet.status()
    }

    /// Who is being replaced, and who waits for that.
    pub(super) fn replacing(&self) -> RolloutQueue {
        self.replacements.snapshot()
    }
}

/// How many of so many places are never had by a start that nobody waits for: a quarter of them. Whoever
/// has but one place can keep none.
fn kept_for_visitors(max_starting: usize) -> usize {
    max_starting.div_ceil(4).min(max_starting.saturating_sub(1))
}

impl Permit {
    /// The start came to nothing: its place on its lane stays empty for a while, and no other lane's. Those that
    /// replace others have fewer places, and keep them for longer, as it is.
    pub(super) fn failed(&mut self) {
        match &mut self.0 {
            Kind::Start {
                place,
                since,
                _turn,
            } => place.failed(since.elapsed()),
            Kind::Replacement(_) => {}
        }
    }

    /// The instance is ready, and has the memory that it was expected to take: who measures what is left
    /// sees it.
    pub(super) fn settled(&mut self) {
        match &mut self.0 {
            Kind::Start { place, .. } => place.succeeded(),
            Kind::Replacement(place) => place.settled(),
        }
    }
}

/// A turn, in the order of arrival.
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

    use futures_util::future::BoxFuture;
    use futures_util::stream::FuturesUnordered;
    use futures_util::{FutureExt, StreamExt};
    use tokio::time::advance;

    use super::*;

    const SPAN: Duration = Duration::from_secs(2);

    const BOTH: [AwaitedBy; 2] = [AwaitedBy::Visitors, AwaitedBy::Nobody];

    /// A start that fails after [`SPAN`].
    async fn fail(turns: &Turns, awaited_by: AwaitedBy, attempt: Attempt) {
        let mut permit = turns.start(awaited_by, attempt).await;
        advance(SPAN).await;
        permit.failed();
    }

    fn start_now(turns: &Turns, awaited_by: AwaitedBy) -> Option<Permit> {
        turns.start(awaited_by, Attempt::First).now_or_never()
    }

    /// Those of so many that ask, one after the other, who may start, and the others in line.
    fn ask(
        turns: &Turns,
        count: usize,
        awaited_by: AwaitedBy,
        attempt: Attempt,
    ) -> (Vec<Permit>, Vec<BoxFuture<'static, Permit>>) {
        let (mut permits, mut line) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mut asking = turns.start(awaited_by, attempt).boxed();
            match (&mut asking).now_or_never() {
                Some(permit) => permits.push(permit),
                None => line.push(asking),
            }
        }
        (permits, line)
    }

    #[tokio::test(start_paused = true)]
    async fn starts_that_fail_take_a_quarter_of_the_time() {
        for awaited_by in BOTH {
            for attempt in [Attempt::First, Attempt::Retry] {
                let turns = Turns::roomy(1, 1);
                let began = Instant::now();
                for _ in 0..10 {
                    fail(&turns, awaited_by, attempt).await;
                }
                drop(turns.start(awaited_by, attempt).await);
                assert_eq!(began.elapsed(), 10 * 4 * SPAN, "{awaited_by:?} {attempt:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_of_a_start_that_succeeded_is_free_at_once() {
        for awaited_by in BOTH {
            let turns = Turns::roomy(1, 1);
            let permit = turns.start(awaited_by, Attempt::First).await;
            advance(SPAN).await;
            drop(permit);
            assert!(start_now(&turns, awaited_by).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_may_be_used_is_found_before_one_that_may_not() {
        let turns = Turns::roomy(2, 1);
        let good = turns.start(AwaitedBy::Visitors, Attempt::First).await;
        fail(&turns, AwaitedBy::Visitors, Attempt::First).await;
        assert!(start_now(&turns, AwaitedBy::Visitors).is_none());
        drop(good);
        assert!(start_now(&turns, AwaitedBy::Visitors).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_the_queue_leaves_the_place_as_it_was() {
        let turns = Turns::roomy(1, 1);
        fail(&turns, AwaitedBy::Nobody, Attempt::First).await;
        let began = Instant::now();
        assert!(start_now(&turns, AwaitedBy::Nobody).is_none());
        drop(turns.start(AwaitedBy::Nobody, Attempt::First).await);
        assert_eq!(began.elapsed(), 3 * SPAN);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_starts_for_the_first_time_finds_places_that_retries_leave() {
        for awaited_by in BOTH {
            let turns = Turns::roomy(4, 1);
            let (permits, _line) = ask(&turns, 100, awaited_by, Attempt::Retry);
            assert_eq!(permits.len(), 2);
            assert!(start_now(&turns, awaited_by).is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_that_fail_are_held_back_until_one_gets_ready() {
        let turns = Turns::roomy(8, 1);
        let (permits, line) = ask(&turns, 10_000, AwaitedBy::Nobody, Attempt::First);
        drop(permits);
        let mut line: FuturesUnordered<_> = line.into_iter().collect();
        for _ in 0..100 {
            let mut permit = line.next().await.unwrap();
            advance(SPAN).await;
            permit.failed();
        }
        let told = turns.quiet();
        assert_eq!(told.failures, 100);
        assert_eq!(told.interval, Some(Duration::from_secs(10)));
        let began = Instant::now();
        let mut permit = line.next().await.unwrap();
        assert!(began.elapsed() > SPAN, "the places are free before that");
        permit.settled();
        drop(permit);
        assert_eq!(turns.quiet().interval, None);
        let (began, waiting) = (Instant::now(), turns.quiet().waiting);
        for _ in 0..1000 {
            drop(line.next().await.unwrap());
        }
        assert_eq!(turns.quiet().waiting, waiting - 1000);
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_left_while_it_was_handed_a_place_gives_it_back() {
        let turns = Turns::roomy(1, 1);
        let holds = start_now(&turns, AwaitedBy::Visitors).unwrap();
        let mut leaves = turns.start(AwaitedBy::Visitors, Attempt::First).boxed();
        assert!((&mut leaves).now_or_never().is_none());
        drop(holds);
        drop(leaves);
        assert!(start_now(&turns, AwaitedBy::Visitors).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_visitor_passes_a_bulk_insert_and_its_places_that_stay_empty() {
        for (max_starting, for_nobody) in [(2, 1), (3, 2), (4, 3), (8, 6), (9, 6)] {
            let turns = Turns::roomy(max_starting, 1);
            let (mut permits, _line) = ask(&turns, 100, AwaitedBy::Nobody, Attempt::First);
            assert_eq!(permits.len(), for_nobody, "of {max_starting}");
            assert!(start_now(&turns, AwaitedBy::Visitors).is_some());
            advance(SPAN).await;
            permits.iter_mut().for_each(Permit::failed);
            drop(permits);
            assert!(start_now(&turns, AwaitedBy::Visitors).is_some());
            assert!(start_now(&turns, AwaitedBy::Nobody).is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retry_that_a_visitor_waits_for_passes_those_that_nobody_waits_for() {
        let turns = Turns::roomy(4, 1);
        let (_permits, _line) = ask(&turns, 100, AwaitedBy::Nobody, Attempt::First);
        let (retries, _retries) = ask(&turns, 100, AwaitedBy::Nobody, Attempt::Retry);
        assert_eq!(retries.len(), 0);
        let awaited = turns.start(AwaitedBy::Visitors, Attempt::Retry);
        assert!(awaited.now_or_never().is_some());
    }

    /// Of two places one is for either lane, so of those who have passed their lane the first comes first.
    #[tokio::test(start_paused = true)]
    async fn visitors_without_end_starve_nobody() {
        let turns = Turns::roomy(2, 1);
        let (visitors, mut line) = ask(&turns, 100, AwaitedBy::Visitors, Attempt::First);
        assert_eq!(visitors.len(), 2);
        let mut quiet = turns.start(AwaitedBy::Nobody, Attempt::First).boxed();
        assert!((&mut quiet).now_or_never().is_none());
        drop(visitors);
        let permit = (&mut quiet).now_or_never();
        assert!(
            permit.is_some(),
            "it came before those who wait for their lane"
        );
        let next = line.iter_mut().find_map(FutureExt::now_or_never);
        assert!(next.is_some(), "the other place is a visitor's");
    }

    #[tokio::test(start_paused = true)]
    async fn both_lanes_together_have_no_more_places_than_the_house() {
        let turns = Turns::roomy(4, 1);
        let (quiet, _line) = ask(&turns, 100, AwaitedBy::Nobody, Attempt::First);
        let (awaited, _line) = ask(&turns, 100, AwaitedBy::Visitors, Attempt::First);
        assert_eq!((quiet.len(), awaited.len()), (3, 1));
    }
}
