//! Whose turn it is to start an instance. A house has only so many cores and so much memory, so
//! starts take turns: whoever asked first is first. What is to be started, and when to ask, is the
//! vassals' matter.
//!
//! There are two queues, so that nobody whom visitors wait for waits behind a rollout over the whole
//! house: one for instances that are lacking, and one for those that replace others.
//!
//! | module | what it is |
//! |---|---|
//! | `replacements` | the queue of those that replace others |
//! | `memory` | what they may take |

mod memory;
mod replacements;

use std::sync::Arc;

use site_model::SiteId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use memory::Gauge;
pub(crate) use replacements::RolloutQueue;
use replacements::{Place, Replacements};

use crate::config::rollout::Rollout;

/// Gives turns to the vassals of a house.
#[derive(Debug)]
pub(super) struct Turns {
    starts: Arc<Semaphore>,
    replacements: Arc<Replacements>,
}

/// A turn. Dropped, it lets the next one start.
#[derive(Debug)]
pub(super) struct Permit(Kind);

#[derive(Debug)]
enum Kind {
    Start(
        #[expect(dead_code, reason = "dropped, it lets the next one start")] OwnedSemaphorePermit,
    ),
    Replacement(Place),
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
            starts: Arc::new(Semaphore::new(max_starting)),
            replacements: Arc::new(Replacements::new(max_replacing, gauge)),
        }
    }

    /// Resolves once an instance may start. Dropped before, it leaves the queue.
    pub(super) fn start(&self) -> impl Future<Output = Permit> + Send + 'static {
        let starts = Arc::clone(&self.starts);
        async move { Permit(Kind::Start(acquire(starts).await)) }
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
    /// The instance has the memory that it was expected to take: who measures what is left sees it.
    pub(super) fn settled(&mut self) {
        match &mut self.0 {
            Kind::Start(_) => {}
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
