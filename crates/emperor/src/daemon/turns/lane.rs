//! Starts that stand in line together, and the places that they get.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};

use super::order::{Attempt, LONGEST_INTERVAL, Manner, Next, Number, Order, Seat};

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    line: Arc<Line>,
    _timekeeper: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Line {
    order: Mutex<Order<oneshot::Sender<Place>>>,
    /// The next is to start at another moment than was thought.
    moved: Notify,
}

/// How those who wait are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LaneStatus {
    /// How many are in line.
    pub(crate) waiting: usize,
    /// How many starts failed since the last that succeeded.
    pub(crate) failures: u32,
    /// The time between two starts, where so many failed that they are held back.
    pub(crate) interval: Option<Duration>,
}

/// A place that somebody has. Dropped, it lets the next one have it.
#[derive(Debug)]
pub(super) struct Place {
    line: Arc<Line>,
    seat: Seat,
}

/// Somebody in line, who leaves it when dropped.
struct Waiting {
    line: Arc<Line>,
    number: Number,
}

impl Lane {
    /// With so many places, so many of them for retries.
    pub(super) fn new(manner: Manner, places: usize, for_retries: usize) -> Self {
        let line = Arc::new(Line {
            order: Mutex::new(Order::new(manner, places, for_retries, Instant::now())),
            moved: Notify::new(),
        });
        let timekeeper = tokio::spawn(keep_time(Arc::clone(&line)));
        Self {
            line,
            _timekeeper: AbortOnDropHandle::new(timekeeper),
        }
    }

    /// Resolves once there is a place that may be used. Dropped before, it leaves the line.
    pub(super) fn take(&self, attempt: Attempt) -> impl Future<Output = Place> + Send + 'static {
        let line = Arc::clone(&self.line);
        async move {
            let (place, had) = oneshot::channel();
            let number = line.order().join(attempt, place, Instant::now());
            line.hand_out_and_tell();
            let _waiting = Waiting { line, number };
            match had.await {
                Ok(place) => place,
                // Nobody but it takes it out of the line without a place.
                Err(_) => std::future::pending().await,
            }
        }
    }

    pub(super) fn status(&self) -> LaneStatus {
        let order = self.line.order();
        LaneStatus {
            waiting: order.waiting(),
            failures: order.failures(),
            interval: order.interval(),
        }
    }
}

impl Line {
    /// Gives places to whoever may start now. Returns when it is to be called again, if nothing else
    /// happens.
    fn hand_out(self: &Arc<Self>) -> Option<Instant> {
        loop {
            let next = self.order().next(Instant::now());
            match next {
                Next::Start(who, seat) => {
                    let line = Arc::clone(self);
                    // Whoever left at this moment gives the place back by dropping it, which takes the lock.
                    drop(who.send(Place { line, seat }));
                }
                Next::NotBefore(moment) => return Some(moment),
                Next::Nobody => return None,
            }
        }
    }

    fn hand_out_and_tell(self: &Arc<Self>) {
        if self.hand_out().is_some() {
            self.moved.notify_one();
        }
    }

    /// Every holder of the lock leaves it in order, also where it panics.
    fn order(&self) -> MutexGuard<'_, Order<oneshot::Sender<Place>>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out places that were to stay empty for some time.
async fn keep_time(line: Arc<Line>) {
    loop {
        let next = line.hand_out();
        let moved = line.moved.notified();
        match next {
            Some(moment) => tokio::select! {
                () = sleep_until(moment) => {}
                () = moved => {}
            },
            None => moved.await,
        }
    }
}

impl Place {
    /// The start failed after so long: the place stays empty for a while.
    pub(super) fn failed(&mut self, took: Duration) {
        let mut order = self.line.order();
        let was = order.interval();
        order.failed(&mut self.seat, took, Instant::now());
        let (is, failures, waiting) = (order.interval(), order.failures(), order.waiting());
        drop(order);
        if was.is_none() && is.is_some() {
            warn!(
                failures,
                waiting,
                "starts fail one after the other and none succeeds: sites that nobody asks for are held back, up to \
                 one in {} s and the newest first, until one gets ready; `emperor status SITE` tells why one fails",
                LONGEST_INTERVAL.as_secs()
            );
        }
    }

    pub(super) fn succeeded(&self) {
        let mut order = self.line.order();
        let was = order.interval();
        order.succeeded();
        let waiting = order.waiting();
        drop(order);
        if was.is_some() {
            info!(waiting, "a start succeeded: sites are held back no more");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.order().give_back(&self.seat);
        self.line.hand_out_and_tell();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.line.order().leave(self.number);
    }
}
