//! Many threads at once: fills, purges and lookups of the same pages, and those who wait.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use page_cache::{Begin, Lookup, Mode, Outcome, Purge};

use crate::house::{House, get, says, site_id};

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread alone.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn of_many_requests_for_one_page_one_reaches_the_worker() {
    let house = House::new(Mode::UntilPurged);
    let asked = AtomicU64::new(0);
    let ask = || loop {
        let client = get("/", &[]);
        match house.look_up(&client) {
            Lookup::Fresh(hit) => return hit.page().body(),
            Lookup::Miss(miss) => match house.begin(miss) {
                Begin::Fill(permit) => {
                    asked.fetch_add(1, Ordering::Relaxed);
                    house
                        .finish(permit, &client, &says(200, &[], "one"))
                        .unwrap();
                }
                Begin::Wait(ticket) => assert_eq!(wait(ticket), Outcome::Stored),
                Begin::ServeStale(hit) => panic!("{hit:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), "one");
        }
    });
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// One thread commits and purges, the others ask: whoever asks after a purge returned never sees what
/// was true before its commit.
#[test]
fn no_thread_is_served_a_page_from_before_the_last_purge() {
    let house = House::new(Mode::UntilPurged);
    let (committed, purged) = (AtomicU64::new(0), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let client = get("/", &[]);
    let ask = || {
        let mut seen = 0_u64;
        while !is_over.load(Ordering::Relaxed) || seen == 0 {
            let least = purged.load(Ordering::SeqCst);
            match house.look_up(&client) {
                Lookup::Fresh(hit) => {
                    let body = hit.page().body();
                    let version: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
                    assert!(version >= least, "{version} was purged at {least}");
                    seen += 1;
                }
                Lookup::Miss(ask) => match house.begin(ask) {
                    Begin::Fill(permit) => {
                        let version = committed.load(Ordering::SeqCst).to_string();
                        thread::yield_now();
                        // Refused where a purge overtook it, which is what this is about.
                        house
                            .finish(permit, &client, &says(200, &[], &version))
                            .ok();
                    }
                    Begin::Wait(ticket) => {
                        wait(ticket);
                    }
                    Begin::ServeStale(hit) => panic!("{hit:?}"),
                },
                other => panic!("{other:?}"),
            }
        }
        seen
    };
    thread::scope(|scope| {
        let askers: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        for version in 1..=2000_u64 {
            committed.store(version, Ordering::SeqCst);
            house.cache.purge(site_id(), &[Purge::path("/")]);
            purged.store(version, Ordering::SeqCst);
        }
        is_over.store(true, Ordering::Relaxed);
        for asker in askers {
            assert!(asker.join().unwrap() > 0);
        }
    });
}
