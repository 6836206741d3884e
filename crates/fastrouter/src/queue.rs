//! The queues of the sites: who waits, in which order, and how many may.
//!
//! A queue is one for all threads, so that requests get their turn in the order of arrival wherever
//! they were accepted. Only a request that waits takes its lock; one that needn't wait reads a
//! counter, and that only where the instances have a bound.
//!
//! The first in line alone may take a place at a bounded instance. It is called when one may be
//! free: by a request that ends, or by the one before it as it leaves the line. What it finds then
//! is for the table of its own thread to say.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use site_model::SiteId;

use crate::sync::atomic::{AtomicUsize, Ordering, fence};
use crate::sync::{Mutex, MutexGuard};
use crate::weak::WeakMap;

/// The queues of all sites that have one. A queue lives as long as a request waits in it or a
/// thread knows an instance of its site.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<WeakMap<SiteId, Queue>>);

/// The queue of one site.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// How many are in line. Read without the lock by requests that would like to pass.
    in_line: AtomicUsize,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    next: u64,
    by_ticket: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    stance: Stance,
    since: Instant,
    /// It is to look whether its turn has come. Who is in line is so from the beginning, since a
    /// place may have become free while it entered.
    called: bool,
    waker: Option<Waker>,
}

/// What a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stance {
    /// Its turn.
    InLine,
    /// News of the site alone: nobody has to wait behind it.
    Aside,
}

/// A site has as many waiting requests as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// A place in a site's queue; dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Place {
    queue: Arc<Queue>,
    ticket: u64,
}

/// Figures of one queue that isn't empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFigures {
    /// How many wait.
    pub(crate) waiting: u64,
    /// How long the first of them has.
    pub(crate) oldest: Duration,
}

impl Queues {
    /// The queue of a site, made where there is none yet.
    pub(crate) fn of(&self, site: SiteId) -> Arc<Queue> {
        self.lock().get_or_insert_with(site, Queue::default)
    }

    /// All queues that aren't empty.
    pub(crate) fn figures(&self) -> BTreeMap<SiteId, QueueFigures> {
        let queues = self.lock();
        let figures = queues.iter().map(|(site, queue)| (*site, queue.figures()));
        figures
            .filter_map(|(site, figures)| Some((site, figures?)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, WeakMap<SiteId, Queue>> {
        // Nothing that holds the lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Takes a place in the queue, which may have so many.
    pub(crate) fn enter(self: &Arc<Self>, depth: u32, stance: Stance) -> Result<Place, QueueFull> {
        let mut waiters = self.lock();
        if waiters.by_ticket.len() >= depth as usize {
            return Err(QueueFull);
        }
        let ticket = waiters.next;
        waiters.next += 1;
        let waiter = Waiter {
            stance,
            since: Instant::now(),
            called: stance == Stance::InLine,
            waker: None,
        };
        waiters.by_ticket.insert(ticket, waiter);
        if stance == Stance::InLine {
            self.in_line.fetch_add(1, Ordering::Relaxed);
            // Either whoever gives a place back sees that somebody is to be called, or the next look
            // here sees the place: the other half is in the gauge.
            fence(Ordering::SeqCst);
        }
        Ok(Place {
            queue: Arc::clone(self),
            ticket,
        })
    }

    /// Whether a request that comes now is the first.
    pub(crate) fn is_empty(&self) -> bool {
        self.in_line.load(Ordering::Relaxed) == 0
    }

    /// Has the first in line look whether there is a place for it. Costs nothing where nobody is.
    pub(crate) fn call(&self) {
        if self.is_empty() {
            return;
        }
        let waker = self.lock().call_first();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn figures(&self) -> Option<QueueFigures> {
        let waiters = self.lock();
        let (_, first) = waiters.by_ticket.first_key_value()?;
        Some(QueueFigures {
            waiting: waiters.by_ticket.len() as u64,
            oldest: first.since.elapsed(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // Nothing that holds the lock can leave the line half changed.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    fn first(&self) -> Option<u64> {
        let mut in_line = self.by_ticket.iter();
        in_line
            .find(|(_, waiter)| waiter.stance == Stance::InLine)
            .map(|(ticket, _)| *ticket)
    }

    /// Says whom to wake once the lock is free.
    fn call_first(&mut self) -> Option<Waker> {
        let first = self.first()?;
        let waiter = self.by_ticket.get_mut(&first)?;
        waiter.called = true;
        waiter.waker.take()
    }
}

impl Place {
    /// Whether nobody in line came before.
    pub(crate) fn is_first(&self) -> bool {
        self.queue.lock().first() == Some(self.ticket)
    }

    /// Ready once it is worth looking whether there is a place now. The task of the last poll is
    /// woken.
    pub(crate) fn poll_call(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiters = self.queue.lock();
        let waiter = waiters.by_ticket.get_mut(&self.ticket);
        let waiter = waiter.expect("a place is in its queue until it is dropped");
        if std::mem::take(&mut waiter.called) {
            return Poll::Ready(());
        }
        waiter.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiters = self.queue.lock();
        let was_first = waiters.first() == Some(self.ticket);
        let left = waiters.by_ticket.remove(&self.ticket);
        if left.is_some_and(|waiter| waiter.stance == Stance::InLine) {
            self.queue.in_line.fetch_sub(1, Ordering::Relaxed);
        }
        let next = was_first.then(|| waiters.call_first()).flatten();
        drop(waiters);
        if let Some(next) = next {
            next.wake();
        }
    }
}

#[cfg(test)]
#[cfg(not(feature = "model"))]
mod tests {
    use super::*;

    const DEPTH: u32 = 3;

    fn is_called(place: &Place) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        place.poll_call(&mut cx).is_ready()
    }

    fn enter(queue: &Arc<Queue>) -> Place {
        let place = queue.enter(DEPTH, Stance::InLine).unwrap();
        assert!(is_called(&place), "it looks once after it has entered");
        place
    }

    #[test]
    fn a_queue_takes_its_depth_and_a_place_that_is_left_is_free_again() {
        let queues = Queues::default();
        let [one, other] = [1, 2].map(|id| queues.of(SiteId::new(id).unwrap()));
        let first = enter(&one);
        let aside = one.enter(DEPTH, Stance::Aside).unwrap();
        let last = enter(&one);
        assert_eq!(one.enter(DEPTH, Stance::InLine).unwrap_err(), QueueFull);
        assert!(
            other.enter(DEPTH, Stance::InLine).is_ok(),
            "each site has a queue of its own"
        );
        let figures = queues.figures();
        assert_eq!(figures.len(), 1);
        assert_eq!(figures[&SiteId::new(1).unwrap()].waiting, 3);
        drop(first);
        drop(enter(&one));
        drop((aside, last));
        assert!(one.is_empty());
        assert!(queues.figures().is_empty());
    }

    #[test]
    fn the_first_in_line_is_called_and_calls_the_next_as_it_leaves() {
        let queue = Arc::new(Queue::default());
        let [first, second, third] = std::array::from_fn(|_| enter(&queue));
        queue.call();
        assert!(!is_called(&second));
        assert!(first.is_first() && is_called(&first));
        drop(second);
        assert!(!is_called(&third), "it isn't its turn yet");
        drop(first);
        assert!(third.is_first() && is_called(&third));
    }

    #[test]
    fn who_waits_for_news_alone_keeps_nobody_from_passing() {
        let queue = Arc::new(Queue::default());
        let aside = queue.enter(DEPTH, Stance::Aside).unwrap();
        assert!(queue.is_empty());
        let second = enter(&queue);
        assert!(second.is_first() && !aside.is_first());
        queue.call();
        assert!(is_called(&second));
    }
}
