//! How many requests each instance has, counted without locks and without contention.
//!
//! Every thread has a cell of its own in each gauge and is the only one that writes to it, so that
//! counting a request is two plain stores on a cache line that nobody else holds. Whoever wants
//! the sum reads all cells.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use site_model::Incarnation;

use crate::order::InstanceFigures;

/// A counter with one writer. On a cache line of its own, or two with the prefetched neighbour.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell {
    in_flight: AtomicU64,
    requests: AtomicU64,
}

/// The requests of one instance.
#[derive(Debug)]
pub(crate) struct Gauge {
    cells: Box<[Cell]>,
}

impl Gauge {
    fn new(threads: usize) -> Self {
        Self {
            cells: std::iter::repeat_with(Cell::default)
                .take(threads)
                .collect(),
        }
    }

    /// A request begins on this thread.
    pub(crate) fn begin(&self, thread: usize) {
        add(&self.cells[thread].in_flight, 1);
        add(&self.cells[thread].requests, 1);
    }

    /// A request ended on this thread.
    pub(crate) fn end(&self, thread: usize) {
        add(&self.cells[thread].in_flight, -1);
    }

    /// Requests it has now, over all threads.
    pub(crate) fn in_flight(&self) -> u64 {
        let cells = self.cells.iter();
        cells
            .map(|cell| cell.in_flight.load(Ordering::Relaxed))
            .sum()
    }

    /// What this thread has counted.
    pub(crate) fn figures(&self, thread: usize) -> InstanceFigures {
        let cell = &self.cells[thread];
        InstanceFigures {
            requests: cell.requests.load(Ordering::Relaxed),
            in_flight: cell.in_flight.load(Ordering::Relaxed),
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
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_incarnation: HashMap<Incarnation, Weak<Gauge>>,
    /// When there are so many, those that nobody holds any more are forgotten.
    sweep_at: usize,
}

/// Below this, forgetting isn't worth a look.
const MIN_SWEEP: usize = 64;

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
        let found = known.by_incarnation.get(&incarnation);
        if let Some(gauge) = found.and_then(Weak::upgrade) {
            return gauge;
        }
        known.forget_unused();
        let gauge = Arc::new(Gauge::new(self.threads));
        known
            .by_incarnation
            .insert(incarnation, Arc::downgrade(&gauge));
        gauge
    }
}

impl Known {
    fn forget_unused(&mut self) {
        if self.by_incarnation.len() < self.sweep_at.max(MIN_SWEEP) {
            return;
        }
        self.by_incarnation
            .retain(|_, gauge| gauge.strong_count() > 0);
        self.sweep_at = 2 * self.by_incarnation.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_sums_what_all_threads_counted_and_tells_them_apart() {
        let gauges = Gauges::new(2);
        let incarnation = Incarnation::new(7);
        let (one, other) = (gauges.of(incarnation), gauges.of(incarnation));
        one.begin(0);
        other.begin(1);
        other.begin(1);
        one.end(0);
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
    fn gauges_that_nobody_holds_are_forgotten() {
        let gauges = Gauges::new(1);
        let kept = gauges.of(Incarnation::new(0));
        for number in 1..1000 {
            drop(gauges.of(Incarnation::new(number)));
        }
        kept.begin(0);
        assert_eq!(gauges.of(Incarnation::new(0)).in_flight(), 1);
        let known = gauges.known.lock().unwrap();
        assert!(known.by_incarnation.len() <= 2 * MIN_SWEEP);
    }
}
