//! How many requests each instance has, counted without locks and without contention.
//!
//! Every thread has a cell of its own in each gauge and is the only one that writes to it, so that
//! counting a request is two plain stores on a cache line that nobody else holds. Whoever wants
//! the sum reads all cells.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError};

use site_model::Incarnation;

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::weak::WeakMap;

/// What a request is for, as far as it decides whether its site may sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A page: somebody wants the site.
    Visit,
    /// To see whether the site lives: a health checker's.
    Check,
}

/// Figures of one instance on one thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InstanceFigures {
    /// Requests it was given.
    pub(crate) requests: u64,
    /// Requests it has now.
    pub(crate) in_flight: u64,
}

/// Counters with one writer. On a cache line of their own, or two with the prefetched neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell {
    /// In flight. Counted apart, so that nobody who reads meanwhile takes a check for a visit.
    visits: AtomicU64,
    /// In flight.
    checks: AtomicU64,
    requests: AtomicU64,
    tunnels: AtomicU64,
}

/// The requests of one instance.
#[derive(Debug)]
pub(crate) struct Gauge {
    cells: Box<[Cell]>,
    /// Places taken of a bounded instance. All threads write to it: a bound that is to hold needs
    /// one number. An instance without a bound never touches it.
    taken: AtomicU32,
}

impl Gauge {
    fn new(threads: usize) -> Self {
        Self {
            cells: std::iter::repeat_with(Cell::default)
                .take(threads)
                .collect(),
            taken: AtomicU32::new(0),
        }
    }

    /// Whether the instance has room for another request, if it takes so many at a time.
    pub(crate) fn has_room(&self, most: NonZeroU32) -> bool {
        self.taken.load(Ordering::Relaxed) < most.get()
    }

    /// Takes a place at the instance, unless all are taken.
    pub(crate) fn take_place(&self, most: NonZeroU32) -> bool {
        let more = |taken| (taken < most.get()).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok()
    }

    /// Gives a place back. Whoever enters the queue afterwards finds it free; whoever has entered
    /// before is to be called.
    pub(crate) fn leave_place(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
        // Either this thread sees who has entered, or that one sees the place: the other half is in
        // the queue.
        fence(Ordering::SeqCst);
    }

    /// A request begins on this thread.
    pub(crate) fn begin(&self, thread: usize, purpose: Purpose) {
        let cell = &self.cells[thread];
        add(cell.in_flight_of(purpose), 1);
        add(&cell.requests, 1);
    }

    /// A request ended on this thread.
    pub(crate) fn end(&self, thread: usize, purpose: Purpose) {
        add(self.cells[thread].in_flight_of(purpose), -1);
    }

    /// A request in flight becomes a tunnel on this thread.
    pub(crate) fn open_tunnel(&self, thread: usize) {
        add(&self.cells[thread].tunnels, 1);
    }

    /// A tunnel ends on this thread, and its request soon afterwards.
    pub(crate) fn close_tunnel(&self, thread: usize) {
        add(&self.cells[thread].tunnels, -1);
    }

    /// Tunnels among its requests, over all threads.
    pub(crate) fn tunnels(&self) -> u64 {
        let cells = self.cells.iter();
        cells.map(|cell| cell.tunnels.load(Ordering::Relaxed)).sum()
    }

    /// Requests it has now, over all threads.
    pub(crate) fn in_flight(&self) -> u64 {
        self.cells.iter().map(Cell::in_flight).sum()
    }

    /// Visits among them.
    pub(crate) fn visits(&self) -> u64 {
        let cells = self.cells.iter();
        cells.map(|cell| cell.visits.load(Ordering::Relaxed)).sum()
    }

    /// Requests it was given, by all threads.
    pub(crate) fn requests(&self) -> u64 {
        let cells = self.cells.iter();
        cells
            .map(|cell| cell.requests.load(Ordering::Relaxed))
            .sum()
    }

    /// What this thread has counted.
    pub(crate) fn figures(&self, thread: usize) -> InstanceFigures {
        let cell = &self.cells[thread];
        InstanceFigures {
            requests: cell.requests.load(Ordering::Relaxed),
            in_flight: cell.in_flight(),
        }
    }
}

impl Cell {
    fn in_flight(&self) -> u64 {
        self.visits.load(Ordering::Relaxed) + self.checks.load(Ordering::Relaxed)
    }

    fn in_flight_of(&self, purpose: Purpose) -> &AtomicU64 {
        match purpose {
            Purpose::Visit => &self.visits,
            Purpose::Check => &self.checks,
        }
    }
}

/// Changes a counter that this thread alone writes to.
fn add(counter: &AtomicU64, change: i64) {
    let value = counter.load(Ordering::Relaxed);
    counter.store(value.wrapping_add_signed(change), Ordering::Relaxed);
}

/// Where the threads find each other's gauges. A gauge lives as long as one of them holds it.
#[derive(Debug)]
pub(crate) struct Gauges {
    threads: usize,
    known: Mutex<WeakMap<Incarnation, Gauge>>,
}

impl Gauges {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads,
            known: Mutex::default(),
        }
    }

    /// The gauge of an instance, made where there is none yet. Threads ask once and keep it.
    pub(crate) fn of(&self, incarnation: Incarnation) -> Arc<Gauge> {
        // Nothing that holds the lock can leave the map half changed.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get_or_insert_with(incarnation, || Gauge::new(self.threads))
    }
}

#[cfg(test)]
#[cfg(not(feature = "model"))]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_sums_what_all_threads_counted_and_tells_them_apart() {
        let gauges = Gauges::new(2);
        let incarnation = Incarnation::new(7);
        let (one, other) = (gauges.of(incarnation), gauges.of(incarnation));
        one.begin(0, Purpose::Visit);
        other.begin(1, Purpose::Visit);
        other.begin(1, Purpose::Visit);
        one.end(0, Purpose::Visit);
        assert_eq!(one.in_flight(), 2);
        let (requests, in_flight) = (1, 0);
        assert_eq!(
            other.figures(0),
            InstanceFigures {
                requests,
                in_flight
            }
        );
    }

    #[test]
    fn a_tunnel_is_a_request_in_flight_that_is_told_apart() {
        let gauge = Gauge::new(2);
        gauge.begin(0, Purpose::Visit);
        gauge.begin(1, Purpose::Visit);
        gauge.open_tunnel(1);
        assert_eq!((gauge.in_flight(), gauge.tunnels()), (2, 1));
        gauge.close_tunnel(1);
        gauge.end(1, Purpose::Visit);
        assert_eq!((gauge.in_flight(), gauge.tunnels()), (1, 0));
    }

    #[test]
    fn a_check_is_in_flight_and_no_visit() {
        let gauge = Gauge::new(2);
        gauge.begin(0, Purpose::Visit);
        gauge.begin(1, Purpose::Check);
        assert_eq!((gauge.in_flight(), gauge.visits()), (2, 1));
        assert_eq!(gauge.figures(1).in_flight, 1, "it is waited for");
        gauge.end(0, Purpose::Visit);
        assert_eq!((gauge.in_flight(), gauge.visits()), (1, 0));
        gauge.end(1, Purpose::Check);
        assert_eq!((gauge.in_flight(), gauge.requests()), (0, 2));
    }

    #[test]
    fn a_bounded_instance_has_so_many_places() {
        let gauge = Gauge::new(1);
        let most = NonZeroU32::new(2).unwrap();
        assert!(gauge.take_place(most) && gauge.take_place(most));
        assert!(!gauge.has_room(most) && !gauge.take_place(most));
        gauge.leave_place();
        assert!(gauge.has_room(most) && gauge.take_place(most));
    }
}
