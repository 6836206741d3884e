//! Who of those in line on a lane is the next to start, and when. It has no clock: whoever asks says what
//! time it is.
//!
//! A machine that starts what can't run, again and again or ten thousand at once, would otherwise do nothing
//! else. Two things are bounded. A place in which a start failed stays empty by how long that start took,
//! which bounds the share of the machine that goes there, whatever a start costs: a shell that ends at once,
//! or seconds of imports. And where failures come in a row while a crowd waits, the lane holds back, up to
//! one start in some seconds, and takes the newest first: the row that was just corrected is the likeliest
//! to end that. It needn't even wait, if it's the only one in such a time.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// So many times as long as the start took: starts that fail take a quarter of the time of their places.
const REST: u32 = 3;

/// With so many failures since the last success it's hardly the fault of each site.
const IN_A_ROW: u32 = 32;

/// So many in line are a crowd. Fewer are soon through, however they end, and nobody holds them back: a
/// laptop with a broken site starts the corrected row at once.
const CROWD: usize = 32;

/// Between two starts after the first failure too many; twice as long after each further one.
const FIRST_INTERVAL: Duration = Duration::from_millis(40);

/// How late it may be noticed that starts succeed again. A start is felt by others for some 40 ms, which is less than
/// a hundredth of this.
pub(super) const LONGEST_INTERVAL: Duration = Duration::from_secs(10);

/// How the start before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It got ready, or there was none.
    First,
    /// It failed.
    Retry,
}

/// Whether a lane holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Visitors wait.
    Even,
    /// Where failures come in a row.
    HoldingBack,
}

/// A line.
#[derive(Debug)]
pub(super) struct Order<T> {
    manner: Manner,
    places: Places,
    /// Those that retries may have, lest they have all.
    retry_places: Places,
    arrivals: u64,
    firsts: BTreeMap<u64, T>,
    retries: BTreeMap<u64, T>,
    /// Since the last success, over all sites.
    failures: u32,
    last: Option<(Attempt, Instant)>,
    /// When the last came that had not failed.
    last_arrival: Option<Instant>,
    /// One of these came alone and has not started: it's no part of a crowd.
    is_alone: bool,
}

/// When each place that nobody has may be used.
#[derive(Debug)]
struct Places(Vec<Instant>);

/// Where somebody is in line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(Attempt, u64);

/// What somebody has who starts.
#[derive(Debug)]
pub(super) struct Seat {
    free_from: Instant,
    retry_free_from: Option<Instant>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// This one starts now.
    Start(T, Seat),
    /// Nobody does before this moment.
    NotBefore(Instant),
    /// Nobody does before somebody comes, or gives a place back.
    Nobody,
}

impl<T> Order<T> {
    /// With so many places, so many of them for retries.
    pub(super) fn new(manner: Manner, places: usize, for_retries: usize, now: Instant) -> Self {
        Self {
            manner,
            places: Places(vec![now; places]),
            retry_places: Places(vec![now; for_retries]),
            arrivals: 0,
            firsts: BTreeMap::new(),
            retries: BTreeMap::new(),
            failures: 0,
            last: None,
            last_arrival: None,
            is_alone: false,
        }
    }

    pub(super) fn join(&mut self, attempt: Attempt, who: T, now: Instant) -> Number {
        if attempt == Attempt::First {
            let before = self.last_arrival.replace(now);
            self.is_alone |= before.is_some_and(|before| before + LONGEST_INTERVAL <= now);
        }
        self.arrivals += 1;
        let number = Number(attempt, self.arrivals);
        self.line(attempt).insert(number.1, who);
        number
    }

    /// Nothing, if it left before or has started.
    pub(super) fn leave(&mut self, Number(attempt, arrival): Number) {
        self.line(attempt).remove(&arrival);
    }

    pub(super) fn next(&mut self, now: Instant) -> Next<T> {
        let first = self.soonest(Attempt::First);
        let retry = self.soonest(Attempt::Retry);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let attempt = match (is_due(first), is_due(retry)) {
            (true, true) => self.whose_turn(),
            (true, false) => Attempt::First,
            (false, true) => Attempt::Retry,
            (false, false) => {
                return match first.into_iter().chain(retry).min() {
                    Some(at) => Next::NotBefore(at),
                    None => Next::Nobody,
                };
            }
        };
        self.start(attempt, now)
    }

    /// The start came to nothing. Of a retry it's a place for retries alone that stays empty.
    pub(super) fn failed(&mut self, seat: &mut Seat, took: Duration, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let empty = seat.retry_free_from.as_mut().unwrap_or(&mut seat.free_from);
        *empty = now + took * REST;
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    pub(super) fn give_back(&mut self, seat: &Seat) {
        self.places.0.push(seat.free_from);
        self.retry_places.0.extend(seat.retry_free_from);
    }

    /// How many are in line.
    pub(super) fn waiting(&self) -> usize {
        self.firsts.len() + self.retries.len()
    }

    /// How many starts failed since the last that succeeded.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// The time between two starts; `None`: the lane doesn't hold back.
    pub(super) fn interval(&self) -> Option<Duration> {
        if self.manner == Manner::Even || self.waiting() < CROWD {
            return None;
        }
        let too_many = self.failures.checked_sub(IN_A_ROW)?;
        let doubled = 1_u32.checked_shl(too_many).unwrap_or(u32::MAX);
        Some(FIRST_INTERVAL.saturating_mul(doubled).min(LONGEST_INTERVAL))
    }

    fn line(&mut self, attempt: Attempt) -> &mut BTreeMap<u64, T> {
        match attempt {
            Attempt::First => &mut self.firsts,
            Attempt::Retry => &mut self.retries,
        }
    }

    /// When one of these may start; `None`: there is none, or no place is left.
    fn soonest(&self, attempt: Attempt) -> Option<Instant> {
        let place = self.places.soonest()?;
        let place = match attempt {
            Attempt::First if self.firsts.is_empty() => return None,
            Attempt::Retry if self.retries.is_empty() => return None,
            Attempt::First => place,
            Attempt::Retry => place.max(self.retry_places.soonest()?),
        };
        let is_alone = attempt == Attempt::First && self.is_alone;
        let interval = self.interval().filter(|_| !is_alone);
        let held_back = self.last.zip(interval);
        let held_back = held_back.map(|((_, last), interval)| last + interval);
        Some(held_back.map_or(place, |moment| place.max(moment)))
    }

    /// Of two that may both start: who came first, or one of each kind after the other.
    fn whose_turn(&self) -> Attempt {
        if self.interval().is_some() {
            return match self.last {
                Some((Attempt::First, _)) => Attempt::Retry,
                Some((Attempt::Retry, _)) | None => Attempt::First,
            };
        }
        let arrival = |line: &BTreeMap<u64, T>| line.first_key_value().map(|(arrival, _)| *arrival);
        if arrival(&self.firsts) < arrival(&self.retries) {
            Attempt::First
        } else {
            Attempt::Retry
        }
    }

    fn start(&mut self, attempt: Attempt, now: Instant) -> Next<T> {
        let newest_first = attempt == Attempt::First && self.interval().is_some();
        let line = self.line(attempt);
        let who = if newest_first {
            line.pop_last()
        } else {
            line.pop_first()
        };
        let Some((_, who)) = who else {
            return Next::Nobody;
        };
        self.last = Some((attempt, now));
        self.is_alone &= attempt == Attempt::Retry;
        let seat = Seat {
            free_from: self.places.take(now),
            retry_free_from: (attempt == Attempt::Retry).then(|| self.retry_places.take(now)),
        };
        Next::Start(who, seat)
    }
}

impl Places {
    fn soonest(&self) -> Option<Instant> {
        self.0.iter().min().copied()
    }

    /// The one that was empty for longest. Whoever takes one has seen that there is one.
    fn take(&mut self, now: Instant) -> Instant {
        let soonest = (0..self.0.len()).min_by_key(|place| self.0[*place]);
        soonest.map_or(now, |place| self.0.swap_remove(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(10);

    /// A line with a clock.
    struct Scene {
        order: Order<usize>,
        now: Instant,
    }

    impl Scene {
        fn new(manner: Manner, places: usize, for_retries: usize) -> Self {
            let now = Instant::now();
            let order = Order::new(manner, places, for_retries, now);
            Self { order, now }
        }

        fn join(&mut self, attempt: Attempt, who: impl IntoIterator<Item = usize>) {
            for who in who {
                self.order.join(attempt, who, self.now);
            }
        }

        /// The next, once it may, and how long that took.
        fn next(&mut self) -> (usize, Seat, Duration) {
            let asked = self.now;
            loop {
                match self.order.next(self.now) {
                    Next::Start(who, seat) => return (who, seat, self.now - asked),
                    Next::NotBefore(moment) => {
                        assert!(moment > self.now, "it is asked again and again");
                        self.now = moment;
                    }
                    Next::Nobody => panic!("nobody is in line, or no place is left"),
                }
            }
        }

        /// So many start and fail, one after the other; returns who did, and after which pauses.
        fn fail(&mut self, times: usize) -> (Vec<usize>, Vec<Duration>) {
            let failed = (0..times).map(|_| {
                let (who, mut seat, pause) = self.next();
                self.now += SPAN;
                self.order.failed(&mut seat, SPAN, self.now);
                self.order.give_back(&seat);
                (who, pause)
            });
            failed.unzip()
        }
    }

    #[test]
    fn a_place_stays_empty_three_times_as_long_as_its_start_took() {
        for manner in [Manner::Even, Manner::HoldingBack] {
            let mut scene = Scene::new(manner, 1, 1);
            scene.join(Attempt::First, 0..10);
            let (who, pauses) = scene.fail(10);
            assert!(who.into_iter().eq(0..10));
            assert_eq!(pauses[1..], [SPAN * REST; 9]);
        }
    }

    #[test]
    fn a_crowd_whose_starts_fail_is_held_back_more_and_more_up_to_a_bound() {
        let mut scene = Scene::new(Manner::HoldingBack, 1, 1);
        scene.join(Attempt::First, 0..1000);
        let (_, pauses) = scene.fail(100);
        assert_eq!(pauses[IN_A_ROW as usize - 1], SPAN * REST);
        assert!(pauses.is_sorted());
        assert_eq!(pauses[99] + SPAN, LONGEST_INTERVAL);
    }

    #[test]
    fn the_newest_is_first_while_a_crowd_is_held_back_and_the_oldest_after_a_success() {
        let mut scene = Scene::new(Manner::HoldingBack, 1, 1);
        scene.join(Attempt::First, 0..1000);
        scene.fail(IN_A_ROW as usize);
        scene.join(Attempt::First, [1000]);
        let (who, seat, _) = scene.next();
        assert_eq!(who, 1000);
        scene.order.succeeded();
        scene.order.give_back(&seat);
        let (who, ..) = scene.next();
        assert_eq!(who, IN_A_ROW as usize);
    }

    #[test]
    fn who_comes_alone_is_not_held_back_with_the_crowd() {
        let mut scene = Scene::new(Manner::HoldingBack, 1, 1);
        scene.join(Attempt::First, 0..1000);
        scene.fail(100);
        scene.now += SPAN * REST;
        scene.join(Attempt::First, 1000..1100);
        let (who, _, waited) = scene.next();
        assert_eq!(who, 1099);
        assert_eq!(
            waited,
            Duration::ZERO,
            "the first of them, at least, was alone"
        );
    }

    #[test]
    fn few_are_not_held_back_however_often_they_failed() {
        let mut scene = Scene::new(Manner::HoldingBack, 1, 1);
        scene.join(Attempt::First, 0..1000);
        scene.fail(1000 - CROWD + 1);
        let (_, pauses) = scene.fail(CROWD - 1);
        assert_eq!(pauses[1..], [SPAN * REST; CROWD - 2]);
    }

    #[test]
    fn visitors_are_not_held_back_and_come_in_their_order() {
        let mut scene = Scene::new(Manner::Even, 1, 1);
        scene.join(Attempt::First, 0..1000);
        let (who, pauses) = scene.fail(1000);
        assert!(who.into_iter().eq(0..1000));
        assert_eq!(pauses[1..], [SPAN * REST; 999]);
    }

    #[test]
    fn first_starts_and_retries_take_turns_while_they_are_held_back() {
        let mut scene = Scene::new(Manner::HoldingBack, 2, 1);
        scene.join(Attempt::First, 0..500);
        scene.join(Attempt::Retry, 500..1000);
        scene.fail(IN_A_ROW as usize + 10);
        let (who, _) = scene.fail(6);
        let retries: Vec<_> = who.iter().map(|who| *who >= 500).collect();
        assert_eq!(retries, [true, false, true, false, true, false]);
        assert!(who[0] < who[2] && who[2] < who[4], "the oldest retry first");
        assert!(who[1] > who[3] && who[3] > who[5], "the newest row first");
    }

    #[test]
    fn retries_never_have_all_places() {
        let mut scene = Scene::new(Manner::Even, 4, 2);
        scene.join(Attempt::Retry, 0..10);
        let (_first, _second) = (scene.next(), scene.next());
        assert!(matches!(scene.order.next(scene.now), Next::Nobody));
        scene.join(Attempt::First, [10]);
        assert_eq!(scene.next().0, 10);
    }

    #[test]
    fn a_retry_that_fails_leaves_no_place_of_others_empty() {
        let mut scene = Scene::new(Manner::Even, 1, 1);
        scene.join(Attempt::Retry, 0..2);
        scene.fail(1);
        scene.join(Attempt::First, [2]);
        let (who, _, waited) = scene.next();
        assert_eq!((who, waited), (2, Duration::ZERO));
    }

    #[test]
    fn whoever_leaves_the_line_is_not_called() {
        let mut scene = Scene::new(Manner::Even, 1, 1);
        let number = scene.order.join(Attempt::First, 1, scene.now);
        scene.join(Attempt::First, [2]);
        scene.order.leave(number);
        assert_eq!(scene.next().0, 2);
        assert_eq!(scene.order.waiting(), 0);
    }

    /// Whatever comes, no place is made up or lost, and whoever is due is called.
    #[test]
    fn over_any_history_there_are_as_many_places_as_before() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut scene = Scene::new(Manner::HoldingBack, 3, 2);
            let mut seats: Vec<Seat> = Vec::new();
            for _ in 0..300 {
                match rng.u32(0..6) {
                    0..3 => {
                        let attempts = [Attempt::First, Attempt::Retry];
                        scene.join(attempts[rng.usize(0..2)], 0..rng.usize(0..9));
                    }
                    3 => scene.now += SPAN * rng.u32(0..100),
                    _ => {
                        if let Some(mut seat) = seats.pop() {
                            if rng.u32(0..10) > 0 {
                                scene.order.failed(&mut seat, SPAN, scene.now);
                            } else {
                                scene.order.succeeded();
                            }
                            scene.order.give_back(&seat);
                        }
                    }
                }
                while let Next::Start(_, seat) = scene.order.next(scene.now) {
                    seats.push(seat);
                }
                let retries = seats.iter().filter_map(|seat| seat.retry_free_from).count();
                assert_eq!(seats.len() + scene.order.places.0.len(), 3, "seed {seed}");
                assert_eq!(retries + scene.order.retry_places.0.len(), 2, "seed {seed}");
            }
        }
    }
}
