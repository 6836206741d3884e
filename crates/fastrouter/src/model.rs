//! The places of a bounded instance and the queue before it, in every order in which threads can take
//! their steps. A call that got lost would leave a request waiting for ever: the checker sees that
//! nobody can go on, and names the order.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;

use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use site_model::Incarnation;

use crate::gauge::{Gauge, Gauges};
use crate::queue::{Place, Queue, Stance};

const DEPTH: u32 = 10;
/// How many requests the instance takes at a time.
const ONE: NonZeroU32 = NonZeroU32::MIN;

/// An instance that takes one request at a time, and its site's queue.
#[derive(Clone)]
struct Site {
    gauge: Arc<Gauge>,
    queue: Arc<Queue>,
}

impl Site {
    fn new() -> Self {
        Self {
            gauge: Gauges::new(1).of(Incarnation::new(1)),
            queue: Arc::default(),
        }
    }

    /// A request comes, waits for its turn and is given the instance.
    fn begin(&self) {
        if self.gauge.has_room(ONE) && self.queue.is_empty() && self.gauge.take_place(ONE) {
            return;
        }
        let place = self.queue.enter(DEPTH, Stance::InLine).unwrap();
        self.wait(&place);
    }

    fn wait(&self, place: &Place) {
        let is_given =
            || self.gauge.has_room(ONE) && place.is_first() && self.gauge.take_place(ONE);
        while !is_given() {
            block_on(poll_fn(|cx| place.poll_call(cx)));
        }
    }

    fn end(&self) {
        self.gauge.leave_place();
        self.queue.call();
    }
}

/// Threads may be interrupted so often at any step: more finds nothing new, and takes hours.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn a_request_that_comes_as_another_ends_gets_its_place() {
    check(|| {
        let site = Site::new();
        site.begin();
        let other = site.clone();
        let ending = thread::spawn(move || other.end());
        site.begin();
        ending.join().unwrap();
        site.end();
    });
}

#[test]
fn all_who_wait_get_their_turn_whoever_ends_first() {
    check(|| {
        let site = Site::new();
        let comers = [(); 2].map(|()| {
            let site = site.clone();
            thread::spawn(move || {
                site.begin();
                site.end();
            })
        });
        site.begin();
        site.end();
        for comer in comers {
            comer.join().unwrap();
        }
    });
}

#[test]
fn one_that_gives_up_doesn_t_take_the_call_with_it() {
    check(|| {
        let site = Site::new();
        site.begin();
        let gives_up = site.queue.enter(DEPTH, Stance::InLine).unwrap();
        let second = site.queue.enter(DEPTH, Stance::InLine).unwrap();
        let (other, ended) = (site.clone(), thread::spawn(move || drop(gives_up)));
        let ending = thread::spawn(move || other.end());
        site.wait(&second);
        ended.join().unwrap();
        ending.join().unwrap();
    });
}
