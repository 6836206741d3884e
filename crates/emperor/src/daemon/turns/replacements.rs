//! The queue of those that replace others. Each takes a place, and while it starts a promise of
//! memory besides.
//!
//! A place is held by the vassal until no more processes are there than it wants, so a house has at
//! most so many instances above the wanted number, those that drain among them. The first of the
//! queue looks whether there is memory for it; the others wait behind it, lest the small ones keep a
//! large one waiting for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use site_model::SiteId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use super::acquire;
use super::memory::{Gauge, Shortage};

/// How soon memory is looked at again where there was too little. Only while somebody waits for it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The queue.
#[derive(Debug)]
pub(super) struct Replacements {
    places: Arc<Semaphore>,
    max: usize,
    gauge: Gauge,
    /// Whoever has a place and this looks at the memory.
    looking: tokio::sync::Mutex<()>,
    /// Somebody let go of a place or of a promise.
    freed: Notify,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    arrivals: u64,
    /// Who waits, in the order of arrival.
    waiting: BTreeMap<u64, SiteId>,
    /// How many have a place and may start.
    replacing: usize,
    /// Memory that those who start are expected to take and don't have yet.
    promised_bytes: u64,
    /// Why the first of the queue waits although it has a place.
    shortage: Option<Shortage>,
}

/// Who is being replaced, and who waits for that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RolloutQueue {
    /// How many instances have a place.
    pub(crate) replacing: usize,
    /// How many may have.
    pub(crate) max: usize,
    /// The sites of those that wait, in their order.
    pub(crate) waiting: Vec<SiteId>,
    /// Why the first of them waits although there is a place.
    pub(crate) shortage: Option<Shortage>,
}

/// A place among those that are being replaced.
#[derive(Debug)]
pub(super) struct Place {
    queue: Arc<Replacements>,
    promised_bytes: u64,
    /// The last to go: the next one then finds the book in order.
    _permit: OwnedSemaphorePermit,
}

/// A place in the queue.
struct Waiting {
    queue: Arc<Replacements>,
    arrival: u64,
}

impl Replacements {
    pub(super) fn new(max: usize, gauge: Gauge) -> Self {
        Self {
            places: Arc::new(Semaphore::new(max)),
            max,
            gauge,
            looking: tokio::sync::Mutex::new(()),
            freed: Notify::new(),
            book: Mutex::default(),
        }
    }

    pub(super) fn place(
        self: Arc<Self>,
        site: SiteId,
        expected_bytes: impl Future<Output = Option<u64>> + Send + 'static,
    ) -> impl Future<Output = Place> + Send + 'static {
        let waiting = Waiting::new(&self, site);
        async move {
            let place = acquire(Arc::clone(&self.places)).await;
            let promised_bytes = self.memory(expected_bytes).await;
            drop(waiting);
            Place {
                queue: self,
                promised_bytes,
                _permit: place,
            }
        }
    }

    pub(super) fn snapshot(&self) -> RolloutQueue {
        let book = self.book();
        RolloutQueue {
            replacing: book.replacing,
            max: self.max,
            waiting: book.waiting.values().copied().collect(),
            shortage: book.shortage,
        }
    }

    /// Waits until there is memory, and promises it.
    async fn memory(&self, expected_bytes: impl Future<Output = Option<u64>>) -> u64 {
        let _looking = self.looking.lock().await;
        let promised = self.book().promised_bytes;
        let is_plenty = |memory: super::memory::Memory| memory.is_plenty(promised);
        let expected = if self.gauge.read().is_none_or(is_plenty) {
            0
        } else {
            expected_bytes.await.unwrap_or(0)
        };
        let told = Told(self);
        loop {
            let freed = self.freed.notified();
            if told.look(expected) {
                return expected;
            }
            // Memory comes back without anybody saying so, too.
            drop(tokio::time::timeout(LOOK_AGAIN, freed).await);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever tells why it waits. It takes that back when it doesn't wait any more.
struct Told<'queue>(&'queue Replacements);

impl Told<'_> {
    /// Whether so much more may be taken; it is promised then.
    fn look(&self, expected: u64) -> bool {
        let memory = self.0.gauge.read();
        let mut book = self.0.book();
        let promised = book.promised_bytes.saturating_add(expected);
        book.shortage = memory.and_then(|memory| memory.shortage(promised));
        if book.shortage.is_some() {
            return false;
        }
        book.promised_bytes = promised;
        book.replacing += 1;
        true
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.book().shortage = None;
    }
}

impl Place {
    pub(super) fn settled(&mut self) {
        let promised = std::mem::take(&mut self.promised_bytes);
        if promised > 0 {
            self.queue.book().promised_bytes -= promised;
            self.queue.freed.notify_waiters();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settled();
        self.queue.book().replacing -= 1;
        self.queue.freed.notify_waiters();
    }
}

impl Waiting {
    fn new(queue: &Arc<Replacements>, site: SiteId) -> Self {
        let mut book = queue.book();
        let arrival = book.arrivals;
        book.arrivals += 1;
        book.waiting.insert(arrival, site);
        Self {
            queue: Arc::clone(queue),
            arrival,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.book().waiting.remove(&self.arrival);
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::config::rollout::Reserve;

    const MIB: u64 = 1 << 20;

    fn site(id: i64) -> SiteId {
        SiteId::new(id).unwrap()
    }

    /// A machine with 1000 MiB, of which 100 MiB stay free.
    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let machine = Self(tempfile::tempdir().unwrap());
            machine.leave(1000);
            machine
        }

        fn leave(&self, mib: u64) {
            let (total, available) = (1000 * 1024, mib * 1024);
            let text = format!("MemTotal: {total} kB\nMemAvailable: {available} kB\n");
            std::fs::write(self.0.path().join("meminfo"), text).unwrap();
        }

        fn replacements(&self, max: usize) -> Arc<Replacements> {
            let file = self.0.path().join("meminfo");
            let gauge = Gauge::new(file, Reserve::Bytes(100 * MIB));
            Arc::new(Replacements::new(max, gauge))
        }
    }

    type Asking = Pin<Box<dyn Future<Output = Place> + Send>>;

    fn ask(queue: &Arc<Replacements>, id: i64, mib: u64) -> Asking {
        Box::pin(Arc::clone(queue).place(site(id), ready(Some(mib * MIB))))
    }

    fn poll(asking: &mut Asking) -> Option<Place> {
        let mut context = Context::from_waker(Waker::noop());
        match asking.as_mut().poll(&mut context) {
            Poll::Ready(place) => Some(place),
            Poll::Pending => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_of_arrival_and_come_back() {
        let machine = Machine::new();
        let queue = machine.replacements(1);
        let mut asking: Vec<_> = (1..=3).map(|id| ask(&queue, id, 10)).collect();
        let first = poll(&mut asking[0]).unwrap();
        assert!(poll(&mut asking[1]).is_none() && poll(&mut asking[2]).is_none());
        let told = queue.snapshot();
        assert_eq!((told.replacing, told.max), (1, 1));
        assert_eq!(told.waiting, [site(2), site(3)]);
        drop(first);
        assert!(poll(&mut asking[2]).is_none(), "it came later");
        let second = poll(&mut asking[1]).unwrap();
        asking.truncate(2);
        drop(second);
        assert_eq!(queue.snapshot().waiting, [], "who goes leaves the queue");
        assert_eq!(queue.snapshot().replacing, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_begins_while_too_little_memory_would_be_left() {
        let machine = Machine::new();
        let queue = machine.replacements(10);
        machine.leave(300);
        let mut first = poll(&mut ask(&queue, 1, 150)).unwrap();
        let mut second = ask(&queue, 2, 150);
        assert!(poll(&mut second).is_none());
        let shortage = queue.snapshot().shortage.unwrap();
        assert_eq!((shortage.left, shortage.reserve), (0, 100 * MIB));
        let mut small = ask(&queue, 3, 1);
        assert!(poll(&mut small).is_none(), "it waits behind the large one");
        // The first has what was promised to it, and the kernel's figures say so.
        machine.leave(400);
        first.settled();
        let second = poll(&mut second).unwrap();
        assert_eq!(queue.snapshot().shortage, None);
        let third = poll(&mut small).unwrap();
        assert_eq!(queue.snapshot().replacing, 3);
        drop((first, second, third));
        assert_eq!(queue.book().promised_bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_that_comes_back_by_itself_is_noticed() {
        let machine = Machine::new();
        let queue = machine.replacements(1);
        machine.leave(50);
        let waiting = tokio::spawn(ask(&queue, 1, 10));
        tokio::task::yield_now().await;
        assert!(queue.snapshot().shortage.is_some());
        machine.leave(500);
        drop(waiting.await.unwrap());
    }
}
