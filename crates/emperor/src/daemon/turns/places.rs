//! Places of those who start, on one lane: so many, taken in the order in which they were asked for. A place in
//! which a start failed stays empty for some time, by how long that start took.
//!
//! A machine that starts what can't run, again and again or ten thousand at once, would otherwise do
//! nothing else. Emptiness that is measured by what the start took bounds the share of the machine
//! that goes there, whatever a start costs: a shell that ends at once, or seconds of imports.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

/// The places.
#[derive(Debug)]
pub(super) struct Places {
    turns: Arc<Semaphore>,
    /// When each place that nobody has may be used; at most one for each place.
    free_from: Mutex<Vec<Instant>>,
}

/// A place that somebody has.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    free_from: Instant,
    /// Lets the next one have it, after it was given back.
    _turn: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(count: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(count)),
            free_from: Mutex::new(vec![Instant::now(); count]),
        }
    }

    /// Resolves once there is a place that may be used. Dropped before, it leaves the queue.
    pub(super) async fn take(self: Arc<Self>) -> Place {
        let turn = acquire(Arc::clone(&self.turns)).await;
        let place = Place {
            free_from: self.longest_empty(),
            places: self,
            _turn: turn,
        };
        sleep_until(place.free_from).await;
        place
    }

    fn longest_empty(&self) -> Instant {
        let mut free_from = self.lock();
        let soonest = (0..free_from.len()).min_by_key(|place| free_from[*place]);
        // There are as many as turns, so whoever has a turn finds one.
        soonest.map_or_else(Instant::now, |place| free_from.swap_remove(place))
    }

    /// Every holder of the lock leaves whole entries behind, also where it panics.
    fn lock(&self) -> MutexGuard<'_, Vec<Instant>> {
        self.free_from
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Nobody is to have it before this.
    pub(super) fn leave_empty_until(&mut self, moment: Instant) {
        self.free_from = moment;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The turn goes only after this, so nobody looks for a place that isn't there yet.
        self.places.lock().push(self.free_from);
    }
}

/// A turn, in the order of arrival.
pub(super) async fn acquire(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    match semaphore.acquire_owned().await {
        Ok(permit) => permit,
        // It is never closed.
        Err(_) => std::future::pending().await,
    }
}
