//! What each event changes at once. Nothing here starts or retires an instance for the sake of the
//! whole: that is [`steer`](super::steer)'s, afterwards.

use std::sync::Arc;
use std::time::Instant;

use site_model::Incarnation;

use super::Lifecycle;
use super::event::{Effect, Event, Haste, Process, Ticket, Turn};
use super::goal::Goal;
use super::instance::{Carrier, DrainStep, Fate, Instance, Phase, Role};
use super::reason::{Failure, StopReason};
use super::rollout::RolloutNumber;
use crate::{ExitReason, VassalSpec, Want};

impl Lifecycle {
    pub(super) fn take_in(&mut self, event: Event, now: Instant, out: &mut Vec<Effect>) {
        match event {
            Event::Wanted(want) => {
                if let Want::Run(spec) = &want {
                    self.reach_as(spec, now, out);
                }
                self.change_goal(now, |goal, next| goal.aim(want, next));
            }
            Event::Removed => self.goal = Goal::Removed,
            Event::Reload => self.reload(now),
            Event::Shutdown(haste) => self.shut_down(haste),
            Event::Permitted {
                ticket,
                incarnation,
            } => self.permitted(ticket, incarnation, out),
            Event::Spawned(process) => self.spawned(process, now, out),
            Event::SpawnFailed {
                incarnation,
                error,
                prospect,
            } => self.spawn_failed(
                incarnation,
                Failure::NotSpawned { error, prospect },
                now,
                out,
            ),
            Event::FoundReady(incarnation) => self.found_ready(incarnation, now, out),
            Event::ProbeFailed {
                incarnation,
                found,
                stderr,
            } => self.not_ready(incarnation, Failure::NotReady { found, stderr }, now, out),
            Event::Exited {
                incarnation,
                reason,
                stderr,
            } => self.exited(incarnation, reason, stderr, now, out),
            Event::Published(generation) => {
                for instance in &mut self.instances {
                    instance.published(generation);
                }
            }
            Event::Acknowledged(generation) => {
                self.map_instances(|instance| Some(instance.acknowledged(generation, now, out)));
            }
            Event::Idle(incarnation) => self.idle(incarnation, now, out),
            Event::Wake => self.woken(),
            Event::Load(load) => self.load_told(load, now),
            Event::Measured {
                incarnation,
                memory_bytes,
            } => {
                if let Some(index) = self.find(incarnation) {
                    self.instances[index].measured(memory_bytes);
                }
            }
            Event::Checked { incarnation, found } => self.checked(incarnation, found, now),
            Event::Looked { incarnation, sight } => self.looked(incarnation, sight, now),
            Event::Tick => {}
        }
    }

    pub(super) fn pass_deadlines(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for rollout in self.goal.rollouts_mut() {
            rollout.pass_deadline(now);
        }
        let overdue: Vec<_> = self
            .instances
            .iter()
            .filter_map(|instance| instance.overdue(now))
            .collect();
        for incarnation in overdue {
            let failure = Failure::NotReady {
                found: "not ready in time, and its probe says nothing".to_owned(),
                stderr: Vec::new(),
            };
            self.not_ready(incarnation, failure, now, out);
        }
        self.map_instances(|instance| Some(instance.pass_deadline(now, out)));
    }

    fn change_goal(&mut self, now: Instant, change: impl FnOnce(Goal, RolloutNumber) -> Goal) {
        match self.goal {
            // Whoever ends with the emperor wants nothing else any more.
            Goal::Shutdown { .. } => {}
            Goal::Run { .. }
            | Goal::Rejected { .. }
            | Goal::Disabled(_)
            | Goal::Pooled(_)
            | Goal::Removed => {
                let next = RolloutNumber(self.next_rollout);
                self.next_rollout += 1;
                let goal = std::mem::replace(&mut self.goal, Goal::Removed);
                self.goal = change(goal, next);
            }
        }
        self.stir(now);
        if self.is_asleep() {
            self.goal.forget_fallback();
        }
    }

    /// Other hosts are a change of the route alone, for what runs and for what is fallen back on.
    fn reach_as(&mut self, wanted: &Arc<VassalSpec>, now: Instant, out: &mut Vec<Effect>) {
        for rollout in self.goal.rollouts_mut() {
            rollout.spec = Arc::clone(&rollout.spec).reached_as(wanted);
        }
        for instance in &mut self.instances {
            instance.reach_as(wanted, now, out);
        }
    }

    fn reload(&mut self, now: Instant) {
        let (wanted, _) = self.goal.rollouts();
        let wanted = wanted.map(|rollout| rollout.number);
        let mut instances = self.instances.iter();
        // What dozes off may be taken back, but not as it was.
        let serves = self.is_asleep()
            || instances.any(|i| Some(i.rollout) == wanted && i.role() == Role::Serving);
        self.change_goal(now, |goal, next| goal.renew(serves, next));
    }

    fn shut_down(&mut self, haste: Haste) {
        let address = self.address();
        self.goal = match &self.goal {
            Goal::Shutdown {
                haste: before,
                address,
            } => Goal::Shutdown {
                haste: haste.max(*before),
                address: address.clone(),
            },
            Goal::Run { .. }
            | Goal::Rejected { .. }
            | Goal::Disabled(_)
            | Goal::Pooled(_)
            | Goal::Removed => Goal::Shutdown { haste, address },
        };
    }

    fn permitted(&mut self, ticket: Ticket, incarnation: Incarnation, out: &mut Vec<Effect>) {
        let mut instances = self.instances.iter_mut();
        let queued = instances.find_map(|instance| Some((instance.turn_of(ticket)?, instance)));
        let Some((turn, instance)) = queued else {
            // Heard twice, or too late. The one that uses it keeps it.
            let mut instances = self.instances.iter();
            if !self.places.contains(&ticket) && !instances.any(|i| i.holds(ticket)) {
                out.push(Effect::ReturnPermit(ticket));
            }
            return;
        };
        let permit = match turn {
            Turn::Awaited | Turn::Start => Some(ticket),
            Turn::Replacement => {
                self.places.push(ticket);
                None
            }
        };
        instance.phase = Phase::Spawning {
            permit,
            incarnation,
            fate: Fate::Wanted,
        };
        out.push(Effect::Spawn {
            number: instance.number,
            incarnation,
            spec: Arc::clone(&instance.spec),
        });
    }

    fn spawned(&mut self, process: Process, now: Instant, out: &mut Vec<Effect>) {
        self.map_instance(process.incarnation, |instance| {
            Some(instance.spawned(process, now, out))
        });
    }

    fn spawn_failed(
        &mut self,
        incarnation: Incarnation,
        failure: Failure,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let mut failed = None;
        self.map_instance(incarnation, |instance| match instance.phase {
            Phase::Spawning { permit, fate, .. } => {
                out.extend(permit.map(Effect::ReturnPermit));
                failed = (fate == Fate::Wanted).then_some(instance.rollout);
                None
            }
            Phase::Queued { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => Some(instance),
        });
        self.failed(failed, failure, now);
    }

    fn found_ready(&mut self, incarnation: Incarnation, now: Instant, out: &mut Vec<Effect>) {
        let mut succeeded = None;
        self.map_instance(incarnation, |instance| match instance.phase {
            Phase::Probing {
                process, permit, ..
            } => {
                permit.give_back(out);
                succeeded = Some(instance.rollout);
                let phase = Phase::Publishing {
                    process,
                    carrier: Carrier::Unknown,
                    since: now,
                };
                Some(Instance { phase, ..instance })
            }
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => Some(instance),
        });
        if let Some(rollout) = succeeded.and_then(|number| self.goal.rollout_mut(number)) {
            rollout.succeeded();
        }
    }

    fn not_ready(
        &mut self,
        incarnation: Incarnation,
        failure: Failure,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let mut failed = None;
        self.map_instance(incarnation, |instance| match instance.phase {
            Phase::Probing { .. } => {
                failed = Some(instance.rollout);
                instance.stop(StopReason::NotReady, now, out)
            }
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => Some(instance),
        });
        self.failed(failed, failure, now);
    }

    fn exited(
        &mut self,
        incarnation: Incarnation,
        reason: ExitReason,
        stderr: Vec<String>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(index) = self.find(incarnation) else {
            return;
        };
        let instance = self.instances.remove(index);
        out.push(Effect::Remove(incarnation));
        let early = Failure::EndedEarly { reason, stderr };
        let (told, failure) = match instance.phase {
            // Its end was heard of before its beginning.
            Phase::Spawning { permit, fate, .. } => {
                out.extend(permit.map(Effect::ReturnPermit));
                match fate {
                    Fate::Wanted => (Told::Nothing, Some(early)),
                    Fate::Doomed(_) => (Told::ToEnd, None),
                }
            }
            Phase::Probing { permit, .. } => {
                permit.give_back(out);
                (Told::Nothing, Some(early))
            }
            Phase::Publishing { since, .. } | Phase::Ready { since, .. } => {
                let after = now.saturating_duration_since(since);
                (Told::Nothing, Some(early.after_service(after)))
            }
            Phase::Draining { .. } => (Told::Nothing, None),
            Phase::Queued { .. } | Phase::Stopping { .. } | Phase::Killed { .. } => {
                (Told::ToEnd, None)
            }
        };
        match told {
            Told::Nothing => self.restarts += 1,
            Told::ToEnd => {}
        }
        if let Some(failure) = failure {
            self.failed(Some(instance.rollout), failure, now);
        }
    }

    fn idle(&mut self, incarnation: Incarnation, now: Instant, out: &mut Vec<Effect>) {
        self.map_instance(incarnation, |instance| match instance.phase {
            Phase::Draining {
                step: DrainStep::AwaitingIdle,
                reason,
                ..
            } => instance.stop(reason, now, out),
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => Some(instance),
        });
    }

    /// Tells a rollout that one of its instances failed. One that was superseded doesn't care.
    pub(super) fn failed(
        &mut self,
        rollout: Option<RolloutNumber>,
        failure: Failure,
        now: Instant,
    ) {
        let rollout = rollout.and_then(|number| self.goal.rollout_mut(number));
        if let Some(rollout) = rollout {
            rollout.failed(failure, now, &mut self.rng);
        }
    }
}

/// Whether an instance that ended had been told to.
enum Told {
    Nothing,
    ToEnd,
}
