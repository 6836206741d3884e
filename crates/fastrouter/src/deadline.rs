//! Deadlines of one thread, cheap enough to move on every request.
//!
//! A request moves several deadlines forward and hardly ever meets one. So an [`Alarm`] only notes
//! the new time; its place in the thread's order of alarms stays where it was, and when that time
//! comes the alarm is put to its real place. One task per thread, sleeping until the first place,
//! serves them all: no timer per request, and none that fires while nothing is open.
//!
//! Times are milliseconds since the thread began, read when a request begins or an alarm goes off;
//! a deadline may be late by [`GRAIN`], never early by more than the time one poll takes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// Alarms that are due within one grain go off together.
const GRAIN: Duration = Duration::from_millis(20);

/// Milliseconds since the thread began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    const NEVER: Self = Self(u64::MAX);

    /// This much later.
    pub(crate) fn after(self, wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(wait))
    }
}

/// All alarms of a thread.
#[derive(Debug)]
pub(crate) struct Deadlines {
    start: Instant,
    now: Cell<Moment>,
    next_id: Cell<u64>,
    order: RefCell<BTreeMap<(Moment, u64), Rc<Slot>>>,
    /// An alarm took a place before all others.
    earlier: Notify,
}

/// A deadline that can be moved.
#[derive(Debug)]
pub(crate) struct Alarm {
    deadlines: Rc<Deadlines>,
    slot: Rc<Slot>,
}

#[derive(Debug)]
struct Slot {
    id: u64,
    due: Cell<Moment>,
    /// Its place in the order, which is at or before `due`.
    placed: Cell<Moment>,
    waker: RefCell<Option<Waker>>,
}

impl Deadlines {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            now: Cell::new(Moment(0)),
            next_id: Cell::new(0),
            order: RefCell::default(),
            earlier: Notify::new(),
        })
    }

    /// Reads the clock.
    pub(crate) fn refresh(&self) -> Instant {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.start).as_millis();
        self.now
            .set(Moment(u64::try_from(since).unwrap_or(u64::MAX)));
        now
    }

    /// The time when the clock was last read.
    pub(crate) fn now(&self) -> Moment {
        self.now.get()
    }

    /// An alarm that isn't set.
    pub(crate) fn alarm(self: &Rc<Self>) -> Alarm {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        Alarm {
            deadlines: Rc::clone(self),
            slot: Rc::new(Slot {
                id,
                due: Cell::new(Moment::NEVER),
                placed: Cell::new(Moment::NEVER),
                waker: RefCell::default(),
            }),
        }
    }

    /// Lets alarms go off, for as long as it is polled.
    pub(crate) async fn run(&self) {
        loop {
            let earlier = self.earlier.notified();
            let first = self.order.borrow().keys().next().copied();
            match first {
                None => earlier.await,
                Some((moment, _)) => tokio::select! {
                    () = earlier => {}
                    () = sleep_until(self.instant(moment) + GRAIN) => self.ring(),
                },
            }
        }
    }

    fn instant(&self, moment: Moment) -> Instant {
        self.start + Duration::from_millis(moment.0)
    }

    fn ring(&self) {
        self.refresh();
        while let Some(slot) = self.take_first() {
            if slot.due.get() <= self.now() {
                slot.placed.set(Moment::NEVER);
                if let Some(waker) = slot.waker.take() {
                    waker.wake();
                }
            } else if slot.due.get() == Moment::NEVER {
                slot.placed.set(Moment::NEVER);
            } else {
                self.place(&slot);
            }
        }
    }

    /// Takes the first slot out whose place has come.
    fn take_first(&self) -> Option<Rc<Slot>> {
        let mut order = self.order.borrow_mut();
        let first = order.first_entry()?;
        (first.key().0 <= self.now()).then(|| first.remove())
    }

    fn place(&self, slot: &Rc<Slot>) {
        let moment = slot.due.get();
        slot.placed.set(moment);
        let mut order = self.order.borrow_mut();
        let before_all = order.keys().next().is_none_or(|(first, _)| moment < *first);
        order.insert((moment, slot.id), Rc::clone(slot));
        if before_all {
            self.earlier.notify_one();
        }
    }
}

impl Alarm {
    /// Sets it to go off after that long, whatever it was set to before.
    pub(crate) fn set(&self, wait: Duration) {
        let due = self.deadlines.now().after(wait);
        self.slot.due.set(due);
        if due < self.slot.placed.get() {
            self.displace();
            self.deadlines.place(&self.slot);
        }
    }

    /// It doesn't go off any more.
    pub(crate) fn clear(&self) {
        self.slot.due.set(Moment::NEVER);
    }

    /// Whether it is set.
    pub(crate) fn is_set(&self) -> bool {
        self.slot.due.get() != Moment::NEVER
    }

    /// Ready once its time has come. The task of the last poll is woken.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set() && self.slot.due.get() <= self.deadlines.now() {
            return Poll::Ready(());
        }
        let mut waker = self.slot.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            Some(_) | None => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn displace(&self) {
        let place = (self.slot.placed.get(), self.slot.id);
        self.deadlines.order.borrow_mut().remove(&place);
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.displace();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    /// Runs with the clock stopped and alarms served.
    async fn with_alarms<T>(test: impl AsyncFnOnce(Rc<Deadlines>) -> T) -> T {
        let deadlines = Deadlines::new();
        let serving = Rc::clone(&deadlines);
        tokio::select! {
            () = serving.run() => unreachable!("it runs for ever"),
            result = test(deadlines) => result,
        }
    }

    async fn ring(alarm: &Alarm) -> Duration {
        let before = Instant::now();
        poll_fn(|cx| alarm.poll(cx)).await;
        before.elapsed()
    }

    fn assert_about(waited: Duration, expected_ms: u64) {
        let expected = Duration::from_millis(expected_ms);
        let range = expected..=expected + 2 * GRAIN;
        assert!(
            range.contains(&waited),
            "{waited:?} instead of {expected:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_goes_off_at_its_time() {
        with_alarms(async |deadlines| {
            let (late, early) = (deadlines.alarm(), deadlines.alarm());
            late.set(Duration::from_mins(1));
            early.set(Duration::from_millis(100));
            assert_about(ring(&early).await, 100);
            assert_about(ring(&late).await, 59_900);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_moved_alarm_goes_off_at_its_new_time() {
        with_alarms(async |deadlines| {
            let alarm = deadlines.alarm();
            alarm.set(Duration::from_millis(100));
            alarm.set(Duration::from_millis(500));
            assert_about(ring(&alarm).await, 500);
            deadlines.refresh();
            alarm.set(Duration::from_mins(1));
            alarm.set(Duration::from_millis(50));
            assert_about(ring(&alarm).await, 50);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_cleared_or_dropped_alarm_stays_silent_and_leaves_nothing_behind() {
        with_alarms(async |deadlines| {
            let (cleared, dropped) = (deadlines.alarm(), deadlines.alarm());
            cleared.set(Duration::from_millis(100));
            dropped.set(Duration::from_millis(100));
            cleared.clear();
            drop(dropped);
            let silent = timeout(Duration::from_secs(10), ring(&cleared)).await;
            assert!(silent.is_err());
            assert!(deadlines.order.borrow().is_empty());
        })
        .await;
    }
}
