//! What is next for one target, what is done, and when to try again. No I/O; `now` is an argument.
//!
//! Each site has a lane, whose jobs are carried out one after the other. A job that is refused holds up
//! its lane alone; a target that is away holds up all of them, since the next would fail as well. What
//! is queued twice is done once, and a lane that grows becomes one purge of its whole site: a target
//! that was away for a day costs memory for its sites, not for its purges.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use site_model::{HostPattern, SiteId};

use crate::order::{Order, What};

/// How patient a delivery is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Before the second attempt; doubled for each further one.
    pub first_pause: Duration,
    /// No pause is longer.
    pub longest_pause: Duration,
    /// Attempts at what is refused. It is refused again, unless somebody mends the target meanwhile.
    pub attempts: u32,
    /// How long a target may be away before its oldest orders are given up.
    pub give_up_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_mins(1),
            attempts: 5,
            give_up_after: Duration::from_hours(24),
        }
    }
}

/// Beyond, a lane's jobs become one: its whole site.
const MAX_LANE: usize = 100;
/// Beyond, all lanes become one job: everything.
const MAX_JOBS: usize = 10_000;

/// An order on its way.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) order: Order,
    /// The batches that are done when this is.
    batches: Vec<u64>,
    since: Instant,
    refusals: u32,
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The pages are gone.
    Done,
    /// The target doesn't answer, or not now.
    Away,
    /// It answers, and doesn't do it.
    Refused,
}

/// What there is to do.
#[derive(Debug)]
pub(crate) enum Next {
    /// This.
    Job(Job),
    /// Nothing before then.
    At(Instant),
    /// Nothing.
    Idle,
}

#[derive(Debug, Default)]
struct Lane {
    jobs: VecDeque<Job>,
    failures: u32,
    not_before: Option<Instant>,
}

/// The orders for one target.
#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    lanes: BTreeMap<Option<SiteId>, Lane>,
    /// Lanes with jobs, in the order of their turns.
    turns: VecDeque<Option<SiteId>>,
    failures: u32,
    not_before: Option<Instant>,
    /// How many jobs of each batch are left, from the first that isn't done.
    open: BTreeMap<u64, usize>,
    done: Option<u64>,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: BTreeMap::new(),
            turns: VecDeque::new(),
            failures: 0,
            not_before: None,
            open: BTreeMap::new(),
            done: None,
        }
    }

    /// How many orders wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.jobs.len()).sum()
    }

    /// The last batch before which, with itself, everything is done.
    pub(crate) const fn done(&self) -> Option<u64> {
        self.done
    }

    /// Takes a batch. Numbers grow.
    pub(crate) fn push(&mut self, batch: u64, orders: Vec<Order>, now: Instant) {
        self.open.entry(batch).or_default();
        for order in orders {
            let job = Job {
                order,
                batches: vec![batch],
                since: now,
                refusals: 0,
            };
            *self.open.entry(batch).or_default() += 1;
            self.enqueue(job);
        }
        if self.len() > MAX_JOBS {
            let everything = Job {
                order: Order::everything(),
                batches: vec![],
                since: now,
                refusals: 0,
            };
            self.enqueue(everything);
        }
        self.advance();
    }

    /// What to do now.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if let Some(at) = self.not_before.filter(|at| *at > now) {
            return if self.turns.is_empty() {
                Next::Idle
            } else {
                Next::At(at)
            };
        }
        let mut earliest: Option<Instant> = None;
        for _ in 0..self.turns.len() {
            let Some(site) = self.turns.pop_front() else {
                break;
            };
            let Some(lane) = self.lanes.get_mut(&site) else {
                continue;
            };
            if let Some(at) = lane.not_before.filter(|at| *at > now) {
                earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
                self.turns.push_back(site);
                continue;
            }
            // Its turn comes again when this job is finished.
            if let Some(job) = lane.jobs.pop_front() {
                return Next::Job(job);
            }
        }
        earliest.map_or(Next::Idle, Next::At)
    }

    /// Takes back a job that [`next`](Self::next) gave, with what became of it; returns it where it is
    /// given up.
    pub(crate) fn finish(&mut self, mut job: Job, outcome: Outcome, now: Instant) -> Option<Job> {
        let site = job.order.site;
        let lane = self.lanes.entry(site).or_default();
        let given_up = match outcome {
            Outcome::Done => {
                (lane.failures, lane.not_before) = (0, None);
                (self.failures, self.not_before) = (0, None);
                false
            }
            Outcome::Away => {
                self.failures += 1;
                self.not_before = Some(now + pause(&self.limits, self.failures));
                now.saturating_duration_since(job.since) >= self.limits.give_up_after
            }
            Outcome::Refused => {
                job.refusals += 1;
                lane.failures += 1;
                lane.not_before = Some(now + pause(&self.limits, lane.failures));
                // It answers.
                (self.failures, self.not_before) = (0, None);
                job.refusals >= self.limits.attempts
            }
        };
        if given_up {
            // The next of this site begins with nothing against it.
            (lane.failures, lane.not_before) = (0, None);
        }
        let left = if outcome == Outcome::Done || given_up {
            self.close(&job.batches);
            given_up.then_some(job)
        } else {
            lane.jobs.push_front(job);
            None
        };
        if self
            .lanes
            .get(&site)
            .is_some_and(|lane| lane.jobs.is_empty())
        {
            self.lanes.remove(&site);
        } else {
            self.turns.push_back(site);
        }
        left
    }

    fn enqueue(&mut self, mut job: Job) {
        if job.order == Order::everything() {
            for (_, lane) in std::mem::take(&mut self.lanes) {
                lane.jobs
                    .into_iter()
                    .for_each(|waiting| job.absorb(waiting));
            }
            self.turns.clear();
        }
        for site in [None, job.order.site] {
            let waiting = self.lanes.get_mut(&site);
            let mut waiting = waiting.into_iter().flat_map(|lane| &mut lane.jobs);
            if let Some(covering) = waiting.find(|waiting| covers(&waiting.order, &job.order)) {
                // It hasn't begun, so what it purges, it purges after this was asked for.
                covering.absorb(job);
                return;
            }
        }
        let site = job.order.site;
        let lane = self.lanes.entry(site).or_default();
        if lane.jobs.is_empty() && !self.turns.contains(&site) {
            self.turns.push_back(site);
        }
        let whole = job.order.widened();
        lane.jobs.push_back(job);
        if whole.what == What::Everything && lane.jobs.len() > MAX_LANE {
            lane.collapse(whole);
        }
    }

    fn close(&mut self, batches: &[u64]) {
        for batch in batches {
            if let Some(left) = self.open.get_mut(batch) {
                *left -= 1;
            }
        }
        self.advance();
    }

    fn advance(&mut self) {
        while let Some(first) = self.open.first_entry().filter(|first| *first.get() == 0) {
            self.done = Some(*first.key());
            first.remove();
        }
    }
}

impl Lane {
    /// One job instead of many.
    fn collapse(&mut self, whole: Order) {
        let jobs = std::mem::take(&mut self.jobs);
        let has_lost = jobs.iter().any(|job| job.order.what == What::Hosts);
        let mut jobs = jobs.into_iter();
        let Some(mut all) = jobs.next() else {
            return;
        };
        jobs.for_each(|job| all.absorb(job));
        let hosts = std::mem::take(&mut all.order.hosts);
        all.order = Order { hosts, ..whole };
        if has_lost {
            all.order.what = What::Hosts;
        }
        self.jobs.push_back(all);
    }
}

impl Job {
    /// Is done where the other is done, and names its hosts too.
    fn absorb(&mut self, other: Self) {
        self.batches.extend(other.batches);
        self.since = self.since.min(other.since);
        if self.order.site.is_some() {
            let missing = |host: &HostPattern| !self.order.hosts.contains(host);
            let missing: Vec<_> = other.order.hosts.into_iter().filter(missing).collect();
            self.order.hosts.extend(missing);
        }
    }
}

/// Whether one order purges what the other names.
fn covers(one: &Order, other: &Order) -> bool {
    if one == other || *one == Order::everything() {
        return true;
    }
    let is_whole = match (&one.what, &other.what) {
        // Of all hosts of a site, those that can't be named are left out.
        (What::Everything, What::Hosts)
        | (What::Paths(_) | What::Prefixes(_) | What::Tags(_), _) => false,
        (What::Everything | What::Hosts, _) => true,
    };
    is_whole && one.site == other.site && other.hosts.iter().all(|host| one.hosts.contains(host))
}

fn pause(limits: &Limits, failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    limits
        .first_pause
        .saturating_mul(doubled)
        .min(limits.longest_pause)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits {
        first_pause: Duration::from_secs(1),
        longest_pause: Duration::from_secs(4),
        attempts: 3,
        give_up_after: Duration::from_mins(1),
    };

    fn path(site: i64, path: &str) -> Order {
        Order {
            site: Some(SiteId::new(site).unwrap()),
            hosts: vec![HostPattern::parse("a.example").unwrap()],
            what: What::Paths(vec![path.to_owned()]),
        }
    }

    fn whole(site: i64) -> Order {
        path(site, "").widened()
    }

    fn job(queue: &mut Queue, now: Instant) -> Job {
        match queue.next(now) {
            Next::Job(job) => job,
            other => panic!("{other:?}"),
        }
    }

    fn pause_of(queue: &mut Queue, now: Instant) -> Duration {
        match queue.next(now) {
            Next::At(at) => at - now,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sites_take_turns_and_keep_their_own_order() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        queue.push(1, vec![path(1, "/a"), path(1, "/b"), path(2, "/c")], now);
        let mut seen = vec![];
        while let Next::Job(job) = queue.next(now) {
            seen.push(job.order.clone());
            assert_eq!(queue.done(), None);
            assert!(queue.finish(job, Outcome::Done, now).is_none());
        }
        assert_eq!(seen, [path(1, "/a"), path(2, "/c"), path(1, "/b")]);
        assert_eq!(queue.done(), Some(1));
    }

    #[test]
    fn what_waits_already_is_done_once() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        queue.push(
            1,
            vec![path(1, "/a"), path(1, "/a"), whole(2), path(2, "/x")],
            now,
        );
        assert_eq!(queue.len(), 2);
        let first = job(&mut queue, now);
        // It has begun, so it may have purged too early for this one.
        queue.push(2, vec![path(1, "/a")], now);
        assert_eq!(queue.len(), 2);
        queue.finish(first, Outcome::Done, now);
        queue.push(3, vec![Order::everything(), path(5, "/y")], now);
        assert_eq!(queue.len(), 1);
        let all = job(&mut queue, now);
        queue.finish(all, Outcome::Done, now);
        assert_eq!(queue.done(), Some(3));
    }

    #[test]
    fn a_lost_host_is_never_left_to_a_purge_of_the_site_that_may_leave_it_out() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        let lost = Order {
            hosts: vec!["*.a.example".parse().unwrap()],
            what: What::Hosts,
            ..whole(1)
        };
        let of_site = |what| Order {
            what,
            ..lost.clone()
        };
        let others = [of_site(What::Everything), lost.clone()];
        queue.push(1, others.to_vec(), now);
        assert_eq!(queue.len(), 2);
        queue.push(2, vec![of_site(What::Everything)], now);
        assert_eq!(queue.len(), 2);
        let many = (0..=MAX_LANE).map(|number| path(1, &format!("/{number}")));
        queue.push(3, many.collect(), now);
        let all = job(&mut queue, now).order;
        assert_eq!((all.what, &all.hosts[0]), (What::Hosts, &lost.hosts[0]));
    }

    #[test]
    fn a_refused_order_holds_up_its_own_site_and_is_given_up_in_the_end() {
        let (mut queue, mut now) = (Queue::new(LIMITS), Instant::now());
        queue.push(1, vec![path(1, "/a"), path(2, "/b")], now);
        for attempt in 1..=3_u32 {
            let refused = job(&mut queue, now);
            assert_eq!(refused.order, path(1, "/a"));
            let given_up = queue.finish(refused, Outcome::Refused, now);
            assert_eq!(given_up.is_some(), attempt == 3);
            if attempt == 1 {
                let other = job(&mut queue, now);
                assert_eq!(other.order, path(2, "/b"));
                queue.finish(other, Outcome::Done, now);
            }
            if attempt < 3 {
                let pause = pause_of(&mut queue, now);
                assert_eq!(pause, Duration::from_secs(u64::from(attempt)));
                now += pause;
            }
        }
        assert!(matches!(queue.next(now), Next::Idle));
        assert_eq!(queue.done(), Some(1));
    }

    #[test]
    fn a_target_that_is_away_is_tried_with_growing_pauses_until_it_is_given_up() {
        let (mut queue, mut now) = (Queue::new(LIMITS), Instant::now());
        queue.push(1, vec![path(1, "/a"), path(2, "/b")], now);
        let mut pauses = vec![];
        let given_up = loop {
            let tried = job(&mut queue, now);
            if let Some(job) = queue.finish(tried, Outcome::Away, now) {
                break job;
            }
            let pause = pause_of(&mut queue, now);
            pauses.push(pause.as_secs());
            now += pause;
        };
        assert_eq!(pauses[..4], [1, 2, 4, 4]);
        assert!(now - given_up.since >= LIMITS.give_up_after);
    }

    #[test]
    fn orders_that_pile_up_become_whole_sites() {
        let (mut queue, now) = (Queue::new(LIMITS), Instant::now());
        let many = (0..500).map(|n| path(1, &format!("/{n}")));
        queue.push(1, many.collect(), now);
        assert_eq!(queue.len(), 1);
        let one = job(&mut queue, now);
        assert_eq!(one.order, whole(1));
        queue.finish(one, Outcome::Done, now);
        assert_eq!(queue.done(), Some(1));
        queue.push(2, (1..=20_000).map(|site| path(site, "/")).collect(), now);
        assert_eq!(job(&mut queue, now).order, Order::everything());
    }

    proptest! {
        /// Whatever fails how often: every order is done or given up, and a batch counts as done
        /// exactly then.
        #[test]
        fn every_batch_is_done_in_the_end(
            batches in prop::collection::vec(
                prop::collection::vec((1_i64..4, 0_u8..5), 0..6), 1..8),
            outcomes in prop::collection::vec(0_u8..4, 1..40),
        ) {
            let (mut queue, mut now) = (Queue::new(LIMITS), Instant::now());
            let mut outcomes = outcomes.into_iter().cycle();
            let last = batches.len() as u64;
            for (number, batch) in (1..).zip(batches) {
                let order = |(site, name): (i64, u8)| match name {
                    0 => whole(site),
                    1 if site == 1 => Order::everything(),
                    name => path(site, &format!("/{name}")),
                };
                queue.push(number, batch.into_iter().map(order).collect(), now);
            }
            let mut steps = 0;
            loop {
                steps += 1;
                prop_assert!(steps < 5_000);
                match queue.next(now) {
                    Next::Idle => break,
                    Next::At(at) => now = at,
                    Next::Job(job) => {
                        let outcome = match outcomes.next() {
                            Some(0) => Outcome::Away,
                            Some(1) => Outcome::Refused,
                            _ => Outcome::Done,
                        };
                        queue.finish(job, outcome, now);
                    }
                }
            }
            prop_assert_eq!(queue.len(), 0);
            prop_assert_eq!(queue.done(), Some(last));
        }
    }
}
