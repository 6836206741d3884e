//! What threads share, in every order in which they can take their steps: the places of a bounded
//! instance and the queue before it, the counts of a gauge, and wishes to wake a site. A call that got
//! lost would leave a request waiting for ever: the checker sees that nobody can go on, and names the
//! order.

use std::future::poll_fn;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use loom::future::block_on;
use loom::model::Builder;
use loom::thread;
use site_model::{Incarnation, QueueBounds, RouteSettings, Service, SiteId, SiteRoute};

use crate::gauge::{Gauge, Gauges, Purpose};
use crate::queue::{Place, Queue, Stance};
use crate::wakes::Wakes;

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

    /// As a request does it: it looks when it is called, and not before.
    fn wait(&self, place: &Place) {
        loop {
            block_on(poll_fn(|cx| place.poll_call(cx)));
            if self.gauge.has_room(ONE) && place.is_first() && self.gauge.take_place(ONE) {
                return;
            }
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
        // Taken before anybody comes: in which order two get the first place says nothing of calls.
        site.begin();
        let comers = [(); 2].map(|()| {
            let site = site.clone();
            thread::spawn(move || {
                site.begin();
                site.end();
            })
        });
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

#[test]
fn whoever_reads_a_gauge_meanwhile_counts_no_request_twice_and_misses_none_of_its_own() {
    check(|| {
        let gauges = Arc::new(Gauges::new(2));
        let others = Arc::clone(&gauges);
        let counting = thread::spawn(move || {
            let gauge = others.of(Incarnation::new(1));
            gauge.begin(1, Purpose::Visit);
            gauge.end(1, Purpose::Visit);
            gauge
        });
        let gauge = gauges.of(Incarnation::new(1));
        gauge.begin(0, Purpose::Visit);
        assert!((1..=2).contains(&gauge.in_flight()));
        assert!((1..=2).contains(&gauge.requests()));
        let other = counting.join().unwrap();
        assert!(Arc::ptr_eq(&gauge, &other), "an instance has one gauge");
        assert_eq!((gauge.in_flight(), gauge.requests()), (1, 2));
    });
}

fn asleep(id: i64) -> Arc<SiteRoute> {
    Arc::new(SiteRoute {
        id: SiteId::new(id).unwrap(),
        slug: "site".parse().unwrap(),
        canonical: "site.example".parse().unwrap(),
        hosts: Box::default(),
        service: Service::Waiting,
        settings: Arc::new(RouteSettings {
            queue: QueueBounds {
                depth: DEPTH,
                timeout: Duration::from_secs(1),
            },
            check_paths: Arc::default(),
            cache: None,
        }),
    })
}

#[test]
fn no_wish_to_wake_a_site_is_overslept_and_none_is_told_twice() {
    check(|| {
        let wakes = Arc::new(Wakes::default());
        let routes = [1, 2].map(asleep);
        let (others, same) = (Arc::clone(&wakes), routes.clone());
        let wishing = thread::spawn(move || same.iter().for_each(|route| others.wish(route)));
        wakes.wish(&routes[0]);
        let mut heard = [(); 2].map(|()| block_on(wakes.next()).get());
        heard.sort_unstable();
        assert_eq!(heard, [1, 2]);
        wishing.join().unwrap();
    });
}
