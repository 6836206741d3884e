//! One fill for each page: who asks the worker, and who waits for the answer.
//!
//! The table holds no page and reads no clock. A claim is let go exactly once, by its end or by its
//! drop, and everybody who waits then learns how it went; none of them is given a page here, all look
//! it up again, so that what they find was compared with every purge.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// How a fill went, for those who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A page was stored: look it up.
    Stored,
    /// The answer is not for sharing: each goes to the worker on its own, and at once.
    NotShared,
    /// Nobody knows: the filler failed, left, or was overtaken by a purge. Begin again.
    Abandoned,
}

/// Locks enough for the threads of one machine.
const SHARDS: usize = 16;

type Shard = Mutex<HashMap<Box<[u8]>, Arc<Fill>>>;

/// The fills that are under way.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    shards: [Shard; SHARDS],
    hasher: RandomState,
}

#[derive(Debug)]
struct Fill {
    /// The number of the site's last purge when it began.
    began: u64,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
enum Progress {
    /// Those who wait. Their number is bounded by the requests that the router has taken.
    Filling(Vec<Option<Waker>>),
    Done(Outcome),
}

/// Who may fill.
#[derive(Debug)]
pub(crate) enum Turn {
    Mine(Claim),
    Another(Ticket),
}

impl Fills {
    /// Claims the fill of a key, or takes a ticket for it. A fill that began before a purge that names
    /// the key will not be stored (`is_doomed`), so nobody waits for it.
    pub(crate) fn begin(
        self: &Arc<Self>,
        key: &[u8],
        began: u64,
        is_doomed: impl FnOnce(u64) -> bool,
    ) -> Turn {
        let mut shard = self.shard(key).lock();
        if let Some(fill) = shard.get(key)
            && !is_doomed(fill.began)
        {
            return Turn::Another(Ticket {
                fill: Arc::clone(fill),
                place: None,
            });
        }
        let fill = Arc::new(Fill {
            began,
            progress: Mutex::new(Progress::Filling(Vec::new())),
        });
        shard.insert(key.into(), Arc::clone(&fill));
        Turn::Mine(Claim {
            fills: Arc::clone(self),
            key: key.into(),
            fill,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard(&self, key: &[u8]) -> &Shard {
        let hash = self.hasher.hash_one(key).to_le_bytes();
        &self.shards[usize::from(hash[0]) % SHARDS]
    }
}

/// The right to fill one key. Dropped, it is let go as abandoned.
#[derive(Debug)]
pub(crate) struct Claim {
    fills: Arc<Fills>,
    key: Box<[u8]>,
    fill: Arc<Fill>,
}

impl Claim {
    /// Lets it go and tells those who wait.
    pub(crate) fn end(self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&self, outcome: Outcome) {
        {
            let mut shard = self.fills.shard(&self.key).lock();
            // Another fill took the place of one that was doomed.
            let is_own = |fill: &Arc<Fill>| Arc::ptr_eq(fill, &self.fill);
            if shard.get(&self.key).is_some_and(is_own) {
                shard.remove(&self.key);
            }
        }
        let waiting = {
            let mut progress = self.fill.progress.lock();
            match std::mem::replace(&mut *progress, Progress::Done(outcome)) {
                Progress::Filling(waiting) => waiting,
                Progress::Done(first) => {
                    *progress = Progress::Done(first);
                    return;
                }
            }
        };
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.settle(Outcome::Abandoned);
    }
}

/// A place among those who wait for a fill. It is a future without a deadline: whoever waits sets one.
#[derive(Debug)]
pub struct Ticket {
    fill: Arc<Fill>,
    place: Option<usize>,
}

impl Future for Ticket {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let fill = Arc::clone(&self.fill);
        let mut progress = fill.progress.lock();
        let waiting = match &mut *progress {
            Progress::Done(outcome) => return Poll::Ready(*outcome),
            Progress::Filling(waiting) => waiting,
        };
        let waker = context.waker().clone();
        if let Some(place) = self.place {
            waiting[place] = Some(waker);
        } else {
            self.place = Some(waiting.len());
            waiting.push(Some(waker));
        }
        Poll::Pending
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(place) = self.place else {
            return;
        };
        if let Progress::Filling(waiting) = &mut *self.fill.progress.lock() {
            waiting[place] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll(ticket: &mut Ticket, woken: &Arc<Woken>) -> Poll<Outcome> {
        let waker = Waker::from(Arc::clone(woken));
        Pin::new(ticket).poll(&mut Context::from_waker(&waker))
    }

    fn claim(fills: &Arc<Fills>, key: &[u8]) -> Claim {
        match fills.begin(key, 0, |_| false) {
            Turn::Mine(claim) => claim,
            Turn::Another(_) => panic!("another fills {key:?}"),
        }
    }

    fn ticket(fills: &Arc<Fills>, key: &[u8]) -> Ticket {
        match fills.begin(key, 0, |_| false) {
            Turn::Another(ticket) => ticket,
            Turn::Mine(_) => panic!("nobody fills {key:?}"),
        }
    }

    #[test]
    fn one_fills_and_the_others_wait_and_are_woken() {
        let fills = Arc::new(Fills::default());
        let woken = Arc::new(Woken::default());
        let mine = claim(&fills, b"a");
        let (mut one, mut other) = (ticket(&fills, b"a"), ticket(&fills, b"a"));
        drop(claim(&fills, b"b"));
        assert!(poll(&mut one, &woken).is_pending() && poll(&mut one, &woken).is_pending());
        mine.end(Outcome::Stored);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1, "only one was polled");
        assert_eq!(poll(&mut one, &woken), Poll::Ready(Outcome::Stored));
        assert_eq!(poll(&mut other, &woken), Poll::Ready(Outcome::Stored));
        assert_eq!(fills.len(), 0);
    }

    #[test]
    fn a_filler_that_leaves_hands_its_place_on() {
        let fills = Arc::new(Fills::default());
        let woken = Arc::new(Woken::default());
        let mine = claim(&fills, b"a");
        let mut waiting = ticket(&fills, b"a");
        let mut given_up = ticket(&fills, b"a");
        assert!(
            poll(&mut waiting, &woken).is_pending() && poll(&mut given_up, &woken).is_pending()
        );
        drop(given_up);
        drop(mine);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(&mut waiting, &woken), Poll::Ready(Outcome::Abandoned));
        drop(claim(&fills, b"a"));
    }

    #[test]
    fn nobody_waits_for_a_fill_that_a_purge_has_overtaken() {
        let fills = Arc::new(Fills::default());
        let overtaken = claim(&fills, b"a");
        let Turn::Mine(newer) = fills.begin(b"a", 1, |began| began < 1) else {
            panic!("it waits for a page that will not be stored");
        };
        overtaken.end(Outcome::Abandoned);
        assert_eq!(fills.len(), 1, "the newer one's place was taken away");
        newer.end(Outcome::Stored);
        assert_eq!(fills.len(), 0);
    }

    #[test]
    fn of_many_threads_one_fills() {
        let fills = Arc::new(Fills::default());
        let claims = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (fills, claims) = (&fills, &claims);
            // All turns are kept until every thread had its own.
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(move || fills.begin(b"a", 0, |_| false)))
                .collect();
            let turns: Vec<Turn> = threads.into_iter().map(|it| it.join().unwrap()).collect();
            let mine = turns
                .iter()
                .filter(|turn| matches!(turn, Turn::Mine(_)))
                .count();
            claims.fetch_add(mine, Ordering::Relaxed);
        });
        assert_eq!(claims.load(Ordering::Relaxed), 1);
    }
}
