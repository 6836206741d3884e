//! How many instances a site is to have, by its load. Pure: what is seen and `now` are arguments.
//!
//! Up fast, down slow. Requests that have waited for too long are answered at once by as many
//! instances as would take them all; instances that have been nearly full for a moment, by one more.
//! One goes when the others would still have had room to spare for a whole minute. Between "nearly
//! full" and "room to spare" nothing changes, and that gap is what keeps the number from flapping.
//!
//! Load is measured against `instances.concurrency`. Without that nobody can tell whether an instance
//! has enough to do, and there are `instances.min`.

use std::time::{Duration, Instant};

use crate::settings::Instances;

/// A request that waits longer than that wants another instance.
pub(crate) const OVERDUE: Duration = Duration::from_millis(200);
/// Instances that are nearly full for that long want another one beside them.
pub(crate) const FULL_FOR: Duration = Duration::from_secs(2);
/// One goes after the others would have had room to spare for that long.
pub(crate) const SPARE_FOR: Duration = Duration::from_mins(1);
/// Nearly full: so much of what all take at once, in percent.
const NEARLY_FULL_PERCENT: u64 = 90;
/// Room to spare: not more than so much of what those that stay take at once, in percent.
const SPARE_PERCENT: u64 = 60;

/// What is seen of a site's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Instances that take requests.
    pub ready: u32,
    /// Requests they have.
    pub in_flight: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// How long the first of them has.
    pub oldest: Duration,
}

/// How many instances there are to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scale {
    target: u32,
    /// Since when all have been nearly full.
    full_since: Option<Instant>,
    /// Since when one could have gone.
    spare_since: Option<Instant>,
}

impl Scale {
    /// How many there are to be of a specification with these bounds.
    pub(crate) fn target(&self, bounds: &Instances) -> u32 {
        // Never none: stopping for want of requests is no matter of the number.
        let least = bounds.min.max(1);
        self.target.clamp(least, bounds.max.max(least))
    }

    /// Takes in what is seen; `None`: nobody tells.
    pub(crate) fn measure(&mut self, bounds: &Instances, seen: Option<Seen>, now: Instant) {
        self.target = self.target(bounds);
        let (Some(seen), Some(load)) = (seen, seen.and_then(|seen| Measured::new(bounds, seen)))
        else {
            self.forget();
            return;
        };
        if seen.ready == 0 {
            // Whoever waits, waits for the first one.
            self.forget();
        } else if seen.waiting > 0 && seen.oldest >= OVERDUE {
            self.full_since = None;
            self.spare_since = None;
            self.target = self.target.max(load.needed());
        } else if load.fills(self.target) {
            self.spare_since = None;
            if seen.ready < self.target {
                // Those on their way may be enough.
                self.full_since = None;
            } else if has_lasted(self.full_since.get_or_insert(now), FULL_FOR, now) {
                self.full_since = None;
                self.target = self.target.saturating_add(1);
            }
        } else if self.target > 1 && load.leaves_room_in(self.target - 1) {
            self.full_since = None;
            if has_lasted(self.spare_since.get_or_insert(now), SPARE_FOR, now) {
                self.spare_since = None;
                self.target -= 1;
            }
        } else {
            self.forget();
        }
        self.target = self.target(bounds);
    }

    /// When it is to be measured again, if nothing else is seen before.
    pub(crate) fn deadline(&self, bounds: &Instances) -> Option<Instant> {
        let full = self.full_since.filter(|_| self.target < bounds.max);
        let spare = self.spare_since.filter(|_| self.target > bounds.min);
        let full = full.and_then(|since| since.checked_add(FULL_FOR));
        full.or_else(|| spare.and_then(|since| since.checked_add(SPARE_FOR)))
    }

    fn forget(&mut self) {
        self.full_since = None;
        self.spare_since = None;
    }
}

fn has_lasted(since: &Instant, time: Duration, now: Instant) -> bool {
    now.saturating_duration_since(*since) >= time
}

/// Load against what one instance takes at once.
struct Measured {
    requests: u64,
    each: u64,
}

impl Measured {
    /// `None`: there is nothing to measure against.
    fn new(bounds: &Instances, seen: Seen) -> Option<Self> {
        let each = u64::from(bounds.concurrency);
        (each > 0 && bounds.max > bounds.min).then(|| Self {
            requests: seen.in_flight.saturating_add(seen.waiting),
            each,
        })
    }

    /// How many would take all at once.
    fn needed(&self) -> u32 {
        u32::try_from(self.requests.div_ceil(self.each)).unwrap_or(u32::MAX)
    }

    fn fills(&self, instances: u32) -> bool {
        self.share(instances) >= NEARLY_FULL_PERCENT
    }

    fn leaves_room_in(&self, instances: u32) -> bool {
        self.share(instances) <= SPARE_PERCENT
    }

    /// In percent of what so many instances take at once.
    fn share(&self, instances: u32) -> u64 {
        let room = self.each.saturating_mul(u64::from(instances)).max(1);
        self.requests.saturating_mul(100) / room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Instances = Instances {
        min: 1,
        max: 8,
        concurrency: 10,
        max_surge: 1,
    };

    /// A site whose instances become ready as soon as they are wanted.
    struct Site {
        scale: Scale,
        bounds: Instances,
        now: Instant,
    }

    impl Site {
        fn new(bounds: Instances) -> Self {
            let (scale, now) = (Scale::default(), Instant::now());
            Self { scale, bounds, now }
        }

        /// So many requests are there; what has no room waits, and has waited for long.
        fn see(&mut self, requests: u64) -> u32 {
            let ready = self.scale.target(&self.bounds);
            let room = u64::from(ready) * u64::from(self.bounds.concurrency);
            let seen = Seen {
                ready,
                in_flight: requests.min(room),
                waiting: requests.saturating_sub(room),
                oldest: Duration::from_secs(1),
            };
            self.scale.measure(&self.bounds, Some(seen), self.now);
            self.scale.target(&self.bounds)
        }

        /// The same, a look every half second.
        fn see_for(&mut self, requests: u64, seconds: u64) -> u32 {
            for _ in 0..seconds * 2 {
                self.now += Duration::from_millis(500);
                self.see(requests);
            }
            self.scale.target(&self.bounds)
        }
    }

    #[test]
    fn waiting_requests_get_as_many_as_take_them_all_and_at_once() {
        let mut site = Site::new(BOUNDS);
        assert_eq!(site.see(0), 1);
        assert_eq!(site.see(35), 4);
        assert_eq!(site.see(1_000), 8, "and never more than the bound");
    }

    #[test]
    fn one_that_has_waited_for_a_moment_only_is_no_reason() {
        let mut scale = Scale::default();
        let seen = Seen {
            ready: 1,
            in_flight: 2,
            waiting: 30,
            oldest: Duration::from_millis(50),
        };
        let now = Instant::now();
        scale.measure(&BOUNDS, Some(seen), now);
        assert_eq!(scale.target(&BOUNDS), 1);
    }

    #[test]
    fn what_is_due_lies_ahead() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let (mut scale, mut now) = (Scale::default(), Instant::now());
            for _ in 0..200 {
                let seen = Seen {
                    ready: rng.u32(0..9),
                    in_flight: rng.u64(0..100),
                    waiting: rng.u64(0..3),
                    oldest: Duration::from_millis(rng.u64(0..400)),
                };
                let seen = (rng.u32(0..9) > 0).then_some(seen);
                scale.measure(&BOUNDS, seen, now);
                let due = scale.deadline(&BOUNDS);
                assert!(due.is_none_or(|at| at > now), "seed {seed}: {scale:?}");
                now += Duration::from_millis(rng.u64(0..40_000));
            }
        }
    }

    #[test]
    fn full_instances_get_one_beside_them_and_not_a_second_before_it_is_ready() {
        let mut site = Site::new(BOUNDS);
        assert_eq!(site.see_for(9, 1), 1);
        assert_eq!(site.see_for(9, 10), 2);
        assert_eq!(site.see_for(9, 600), 2);
        let mut scale = Scale::default();
        let began = Instant::now();
        let seen = Seen {
            ready: 1,
            in_flight: 10,
            waiting: 12,
            oldest: Duration::ZERO,
        };
        for seconds in 0..60 {
            let now = began + Duration::from_secs(seconds);
            scale.measure(&BOUNDS, Some(seen), now);
        }
        assert_eq!(scale.target(&BOUNDS), 2, "it is still on its way");
    }

    #[test]
    fn they_go_one_by_one_and_slowly() {
        let mut site = Site::new(BOUNDS);
        site.see(75);
        assert_eq!(site.see_for(0, 50), 8);
        assert_eq!(site.see_for(0, 15), 7);
        assert_eq!(site.see_for(0, 62), 6);
        assert_eq!(site.see_for(0, 600), 1);
        assert_eq!(site.scale.deadline(&BOUNDS), None, "nothing is due");
    }

    #[test]
    fn without_a_measure_or_a_choice_there_are_as_few_as_may_be() {
        for bounds in [
            Instances {
                concurrency: 0,
                ..BOUNDS
            },
            Instances {
                min: 3,
                max: 3,
                ..BOUNDS
            },
        ] {
            let mut site = Site::new(bounds.clone());
            assert_eq!(site.see_for(500, 60), bounds.min);
        }
    }

    #[test]
    fn nothing_is_decided_while_nobody_tells() {
        let mut site = Site::new(BOUNDS);
        site.see(35);
        site.see_for(0, 59);
        site.scale.measure(&BOUNDS, None, site.now);
        assert_eq!(site.see_for(0, 59), 4, "the minute begins anew");
    }

    #[test]
    fn a_steady_load_is_answered_by_a_steady_number() {
        for requests in 0..100 {
            for before in [0, 30, 90] {
                let mut site = Site::new(BOUNDS);
                site.see_for(before, 5);
                let settled = site.see_for(requests, 600);
                for _ in 0..600 {
                    assert_eq!(
                        site.see_for(requests, 1),
                        settled,
                        "{requests} after {before}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_load_that_swings_a_little_moves_it_once_at_most() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let middle = rng.u64(5..70);
            let mut site = Site::new(BOUNDS);
            site.see_for(middle, 600);
            let (mut before, mut moves) = (site.see(middle), 0);
            for _ in 0..1_200 {
                let requests = rng.u64(middle - middle / 8..=middle + middle / 8);
                let target = site.see_for(requests, 1);
                moves += u32::from(target != before);
                before = target;
            }
            assert!(moves <= 2, "seed {seed}: {moves} moves around {middle}");
        }
    }
}
