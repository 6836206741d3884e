//! Which instances there should be: the one place that compares what is with what is wanted, and
//! starts and retires accordingly.
//!
//! The rules, for `n` wanted instances:
//!
//! 1. The first instance of a rollout comes alone, and so does each after a start that failed; once
//!    one is ready and nothing else serves, the rest come together. While others serve, there are at
//!    most `instances.max_surge` on their way in and out: a wave.
//! 2. What served before goes as its successors become ready: as many as are too many.
//! 3. While the rollout is not complete, what served before is kept at `n`, so a crash of an old
//!    instance is answered although a new revision is on its way or fails.
//! 4. `n` follows the load, between `instances.min` and `instances.max`. What is more than `n` goes,
//!    the youngest first, and is taken back where the load comes back in time.
//! 5. Who is worn out counts as of an earlier revision: its successor comes first.
//! 6. With more than `n` instances on their way out, none is started: a worker that ignores its
//!    stop signal costs time, not memory without bound. So there are never more than `3n`
//!    processes, or `2n` and `instances.max_surge`, and never more than that without `n` in the
//!    route.
//! 7. Who takes the place of one that serves waits for its turn among the replacements of the whole
//!    house; where fewer serve than are wanted, it is a start like any other, and comes before others
//!    once a request waits for it.

use std::sync::Arc;
use std::time::Instant;

use site_model::InstanceNumber;

use super::Lifecycle;
use super::checkup::Probe;
use super::event::{Effect, Haste, Turn};
use super::goal::Goal;
use super::instance::{Instance, Role};
use super::reason::StopReason;
use super::rollout::{Rollout, RolloutNumber};
use super::watch::Watch;
use super::wear::Wear;
use crate::VassalSpec;
use crate::health::Condition;

/// How many instances are in which role, seen from the rollout that is wanted.
#[derive(Debug, Default)]
struct Census {
    /// How many there are to be: the fewer of what the wanted and the earlier revision ask for.
    wanted: usize,
    /// How many old ones serve until a new one is ready: the more of the two.
    kept: usize,
    /// Of the wanted rollout, on their way or in the route.
    new: usize,
    /// Of those, ready.
    new_ready: usize,
    /// Of other rollouts, in the route.
    old_serving: usize,
    /// Of the rollout that is fallen back on, on their way.
    fallback_coming: usize,
    /// Of any rollout, in the route.
    serving: usize,
    /// Of any rollout, on their way out.
    ending: usize,
}

/// An instance that is to come.
struct Start {
    rollout: RolloutNumber,
    spec: Arc<VassalSpec>,
    turn: Turn,
}

impl Lifecycle {
    pub(super) fn steer(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.doze(now);
        let reason = match &self.goal {
            Goal::Run { .. } if self.is_asleep() => StopReason::Idle,
            Goal::Run { .. }
            | Goal::Rejected {
                fallback: Some(_), ..
            } => return self.keep_running(now, out),
            Goal::Shutdown { haste, .. } => return self.end_all(*haste, now, out),
            Goal::Rejected { fallback: None, .. } => StopReason::Rejected,
            Goal::Disabled(_) => StopReason::Disabled,
            Goal::Pooled(_) => StopReason::Pooled,
            Goal::Removed => StopReason::Removed,
        };
        self.map_instances(|instance| instance.retire(reason, now, out));
    }

    fn end_all(&mut self, haste: Haste, now: Instant, out: &mut Vec<Effect>) {
        self.map_instances(|instance| match haste {
            Haste::Orderly => instance.stop(StopReason::Shutdown, now, out),
            Haste::AtOnce => instance.kill(StopReason::Shutdown, now, out),
        });
    }

    fn keep_running(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.rescale(now);
        self.wear_out(now, out);
        self.check_up(now, out);
        let census = self.census();
        if census.new_ready >= census.wanted {
            self.goal.conclude();
        }
        self.retire_coming(&census, now, out);
        self.retire_old(&census, now, out);
        self.retire_surplus(now, out);
        self.take_back();
        while let Some(start) = self.next_start() {
            self.queue(start, out);
        }
        let wanted = self.census().wanted;
        self.hurry(wanted, out);
        self.make_room(out);
    }

    fn census(&self) -> Census {
        let (wanted, fallback) = self.numbers();
        let (rollout, earlier) = self.goal.rollouts();
        let counts = rollout.into_iter().chain(earlier);
        let counts = counts.map(|rollout| rollout.instances_wanted(&self.scale));
        let mut census = Census {
            wanted: counts.clone().min().unwrap_or(0),
            kept: counts.max().unwrap_or(0),
            ..Census::default()
        };
        for instance in &self.instances {
            let is_new = Some(instance.rollout) == wanted && !instance.is_worn();
            let is_fallback = Some(instance.rollout) == fallback;
            match instance.role() {
                Role::Coming => {
                    census.new += usize::from(is_new);
                    census.fallback_coming += usize::from(is_fallback);
                }
                Role::Serving => {
                    census.serving += 1;
                    census.new += usize::from(is_new);
                    census.new_ready += usize::from(is_new && instance.is_ready());
                    census.old_serving += usize::from(!is_new);
                }
                Role::Ending => census.ending += 1,
            }
        }
        census
    }

    fn numbers(&self) -> (Option<RolloutNumber>, Option<RolloutNumber>) {
        let (wanted, fallback) = self.goal.rollouts();
        let number = |rollout: &Rollout| rollout.number;
        (wanted.map(number), fallback.map(number))
    }

    /// Ends what is on its way and was superseded, or is no longer needed to fall back on.
    fn retire_coming(&mut self, census: &Census, now: Instant, out: &mut Vec<Effect>) {
        let (wanted, fallback) = self.numbers();
        let enough_serve = census.serving >= census.wanted;
        self.map_instances(|instance| {
            let number = Some(instance.rollout);
            let reason = match instance.role() {
                Role::Serving | Role::Ending => None,
                Role::Coming if number == wanted => None,
                Role::Coming if number == fallback => enough_serve.then_some(StopReason::Surplus),
                Role::Coming => Some(StopReason::Superseded),
            };
            match reason {
                Some(reason) => instance.retire(reason, now, out),
                None => Some(instance),
            }
        });
    }

    /// Drains as many old instances as have a ready successor. Those that the router
    /// doesn't know yet go first, then the oldest, and what could be fallen back on last.
    fn retire_old(&mut self, census: &Census, now: Instant, out: &mut Vec<Effect>) {
        let (wanted, fallback) = self.numbers();
        let kept = if census.new_ready > 0 {
            census.wanted.saturating_sub(census.new_ready)
        } else {
            // Two rollouts that overlapped when a third one came: one share of them is enough.
            census.kept
        };
        let too_many = census.old_serving.saturating_sub(kept);
        let old = |instance: &Instance| {
            let is_old = Some(instance.rollout) != wanted || instance.is_worn();
            instance.role() == Role::Serving && is_old
        };
        let mut leaving: Vec<_> = self.instances.iter().filter(|i| old(i)).collect();
        leaving.sort_by_key(|instance| (instance.is_ready(), Some(instance.rollout) == fallback));
        let leaving: Vec<_> = leaving.iter().take(too_many).map(|i| i.number).collect();
        self.retire_numbered(&leaving, StopReason::Replaced, now, out);
    }

    /// Ends what is more than the load wants, the youngest first. While others serve, their
    /// replacement comes first.
    fn retire_surplus(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (Some(wanted), None) = self.goal.rollouts() else {
            return;
        };
        let (number, most) = (wanted.number, wanted.instances_wanted(&self.scale));
        let census = self.census();
        if census.old_serving > 0 {
            return;
        }
        let mut leaving: Vec<_> = self.instances.iter().rev().collect();
        leaving.retain(|i| i.rollout == number && i.role() != Role::Ending && !i.is_worn());
        // Whoever serves stays before whoever doesn't yet.
        leaving.sort_by_key(|i| (i.role() == Role::Serving, i.is_ready()));
        let leaving = leaving.iter().take(census.new.saturating_sub(most));
        let leaving: Vec<_> = leaving.map(|instance| instance.number).collect();
        self.retire_numbered(&leaving, StopReason::Surplus, now, out);
    }

    fn retire_numbered(
        &mut self,
        leaving: &[InstanceNumber],
        reason: StopReason,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.map_instances(|instance| {
            if leaving.contains(&instance.number) {
                instance.retire(reason, now, out)
            } else {
                Some(instance)
            }
        });
    }

    /// Takes back what was to end for want of requests, before anything is started.
    fn take_back(&mut self) {
        let (Some(wanted), _) = self.goal.rollouts() else {
            return;
        };
        let number = wanted.number;
        let mut lacking = wanted
            .instances_wanted(&self.scale)
            .saturating_sub(self.census().new);
        self.map_instances(|instance| {
            if lacking == 0 || instance.rollout != number || instance.role() != Role::Ending {
                return Some(instance);
            }
            let instance = instance.take_back();
            lacking -= usize::from(instance.role() == Role::Serving);
            Some(instance)
        });
    }

    /// The rollout that an instance is to be started of, if any.
    fn next_start(&self) -> Option<Start> {
        let census = self.census();
        let (wanted, fallback) = self.goal.rollouts();
        if census.ending > census.wanted {
            return None;
        }
        let wanted = wanted.filter(|rollout| rollout.may_start());
        let fallback = fallback.filter(|rollout| rollout.may_start());
        let covered = census.serving + census.fallback_coming;
        let turn = self.turn(census.wanted);
        wanted
            .filter(|rollout| self.lets_start(rollout, &census, turn))
            .map(|rollout| Start::of(rollout, turn))
            .or_else(|| {
                let fallback = fallback.filter(|_| covered < census.wanted);
                fallback.map(|rollout| Start::of(rollout, self.start_turn()))
            })
    }

    /// Whether one more of the wanted rollout may come.
    fn lets_start(&self, rollout: &Rollout, census: &Census, turn: Turn) -> bool {
        if census.new >= rollout.instances_wanted(&self.scale) {
            return false;
        }
        let coming = census.new - census.new_ready;
        let proven = census.new_ready > 0;
        if census.old_serving == 0 {
            return coming == 0 || proven;
        }
        let surge = rollout.max_surge();
        let wave = if proven && !rollout.is_failing() {
            surge
        } else {
            1
        };
        let has_room = match turn {
            Turn::Awaited | Turn::Start => true,
            Turn::Replacement => self.room().above < surge,
        };
        coming < wave && has_room
    }

    fn queue(&mut self, start: Start, out: &mut Vec<Effect>) {
        let Start {
            rollout,
            spec,
            turn,
        } = start;
        let wear = Wear::new(&spec.settings.recycle, &mut self.rng);
        let phase = self.ask(turn, out);
        self.instances.push(Instance {
            number: self.free_number(),
            wear,
            condition: Condition::default(),
            probe: Probe::default(),
            watch: Watch::default(),
            rollout,
            spec,
            phase,
        });
    }

    fn free_number(&self) -> InstanceNumber {
        let mut number = InstanceNumber::new(1);
        while self.instances.iter().any(|i| i.number == number) {
            number = number.next();
        }
        number
    }
}

impl Start {
    fn of(rollout: &Rollout, turn: Turn) -> Self {
        Self {
            rollout: rollout.number,
            spec: Arc::clone(&rollout.spec),
            turn,
        }
    }
}
