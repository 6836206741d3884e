//! Going on where an earlier emperor was cut off: what is to be remembered of a life, and how a life
//! is rebuilt from that.
//!
//! A rebuilt life hears what is wanted now as if it had run all the time. So a row that was changed,
//! removed or broken meanwhile is treated as always, and nothing here decides about instances.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use site_model::{Incarnation, InstanceNumber, Revision, SiteId};

use super::Lifecycle;
use super::checkup::Probe;
use super::demand::Demand;
use super::event::{Effect, Event, Process};
use super::goal::Goal;
use super::instance::{Carrier, DrainStep, Instance, Permit, Phase};
use super::reason::{Failure, Prospect, StopReason};
use super::rollout::{Health, NextTry, Rollout, RolloutNumber, Standing, Trouble};
use super::time::later;
use super::transition::probe_patience;
use super::watch::Watch;
use super::wear::Wear;
use crate::health::Condition;
use crate::{ExitReason, VassalSpec, Want};

/// What is to be remembered of a vassal, apart from its specification.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Of each process.
    pub instances: BTreeMap<Incarnation, InstanceMemory>,
    /// How the attempt to run what is wanted fares.
    pub setback: Option<Setback>,
    /// How often an instance ended without having been told to.
    pub restarts: u64,
}

/// What is to be remembered of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceMemory {
    /// Its place among the site's instances.
    pub number: InstanceNumber,
    /// Which attempt it belongs to: a reload of an unchanged specification is another one.
    pub rollout: u64,
    /// How far it is.
    pub stage: Stage,
    /// The watchdog that it asked for itself; `None`: none.
    pub watchdog: Option<Duration>,
}

/// How far an instance is, as far as another emperor has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It was not found ready yet.
    Starting,
    /// It was found ready, and is in the route.
    Serving {
        /// Since when.
        since: Instant,
    },
    /// It takes no new requests.
    Draining {
        /// When it is told to end at the latest; `None`: not before the router knows.
        until: Option<Instant>,
    },
    /// It was told to end.
    Stopping {
        /// When its group is killed.
        kill_at: Instant,
    },
}

/// Failures in a row, and when the next try is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setback {
    /// What was tried.
    pub revision: Revision,
    /// The last failure, in words.
    pub cause: String,
    /// Whether another try may help.
    pub prospect: Prospect,
    /// How many, crashes of instances that had not settled among them.
    pub failures: u32,
    /// How many starts in a row that never became ready.
    pub failed_starts: u32,
    /// How long the pause is.
    pub pause: Duration,
    /// When it ends; `None`: it is over.
    pub next_try: Option<Instant>,
}

/// What an earlier emperor left of a vassal.
#[derive(Debug, Clone, Default)]
pub struct Inheritance {
    /// Its processes, in the order of their incarnations.
    pub instances: Vec<InheritedInstance>,
    /// As [`Memory::setback`].
    pub setback: Option<Setback>,
    /// As [`Memory::restarts`].
    pub restarts: u64,
}

/// A process that an earlier emperor started.
#[derive(Debug, Clone)]
pub struct InheritedInstance {
    /// What was remembered of it.
    pub memory: InstanceMemory,
    /// The process.
    pub process: Process,
    /// What it runs.
    pub spec: Arc<VassalSpec>,
    /// How it ended, where it did while nobody was there to notice.
    pub ended: Option<ExitReason>,
}

impl Lifecycle {
    /// Goes on with what an earlier emperor left. `None`: the row is gone meanwhile.
    ///
    /// An instance that was found ready once is taken as ready: it is in the route with the first
    /// table, and was in that of the router all the time.
    pub fn adopt(
        id: SiteId,
        want: Option<Want>,
        inheritance: Inheritance,
        seed: u64,
        now: Instant,
    ) -> (Self, Vec<Effect>) {
        let Inheritance {
            instances,
            setback,
            restarts,
        } = inheritance;
        let mut out = Vec::new();
        let mut life = Self::nothing(id, restarts, seed);
        life.goal = remembered_goal(&instances);
        life.demand = remembered_demand(&instances, setback.as_ref());
        let next = instances.iter().map(|left| left.memory.rollout + 1).max();
        life.next_rollout = next.unwrap_or(0);
        let ended: Vec<_> = instances
            .iter()
            .filter_map(|left| Some((left.process.incarnation, left.ended?)))
            .collect();
        for left in instances {
            life.instances
                .push(left.take_up(now, &mut life.rng, &mut out));
        }
        let wanted = want.map_or(Event::Removed, Event::Wanted);
        life.take_in(wanted, now, &mut out);
        if let Some(setback) = setback {
            life.recall(setback);
        }
        for (incarnation, reason) in ended {
            let exit = Event::Exited {
                incarnation,
                reason,
                stderr: Vec::new(),
            };
            life.take_in(exit, now, &mut out);
        }
        let (life, rest) = life.on(Event::Tick, now);
        out.extend(rest);
        (life, out)
    }

    /// What another emperor has to know to go on.
    pub fn memory(&self) -> Memory {
        let instances = self.instances.iter();
        let (wanted, _) = self.goal.rollouts();
        Memory {
            instances: instances.filter_map(Instance::memory).collect(),
            setback: wanted.and_then(Rollout::setback),
            restarts: self.restarts,
        }
    }

    fn recall(&mut self, setback: Setback) {
        let mut rollouts = self.goal.rollouts_mut();
        let tried = rollouts.find(|rollout| rollout.spec.revision == setback.revision);
        if let Some(rollout) = tried {
            rollout.health = Health::Troubled(setback.into());
        }
    }
}

/// What the life was after, as far as its instances tell.
fn remembered_goal(instances: &[InheritedInstance]) -> Goal {
    let mut rollouts: BTreeMap<RolloutNumber, Rollout> = BTreeMap::new();
    for left in instances {
        let number = RolloutNumber(left.memory.rollout);
        let served = match left.memory.stage {
            Stage::Starting => false,
            Stage::Serving { .. } => true,
            // What was on its way out was no longer wanted.
            Stage::Draining { .. } | Stage::Stopping { .. } => continue,
        };
        let rollout = rollouts
            .entry(number)
            .or_insert_with(|| Rollout::new(number, Arc::clone(&left.spec)));
        if served {
            rollout.standing = Standing::Proven;
        }
    }
    let mut rollouts = rollouts.into_values().rev();
    let Some(rollout) = rollouts.next() else {
        return Goal::Removed;
    };
    let fallback = rollouts.find(|earlier| earlier.standing == Standing::Proven);
    Goal::Run { rollout, fallback }
}

/// Whoever had something running, or was waiting for the next try, goes on with that.
fn remembered_demand(instances: &[InheritedInstance], setback: Option<&Setback>) -> Demand {
    let stays = |left: &InheritedInstance| match left.memory.stage {
        Stage::Starting | Stage::Serving { .. } => true,
        Stage::Draining { .. } | Stage::Stopping { .. } => false,
    };
    if setback.is_some() || instances.iter().any(stays) {
        Demand::Awake { quiet_since: None }
    } else {
        Demand::Asleep
    }
}

impl InheritedInstance {
    fn take_up(self, now: Instant, rng: &mut fastrand::Rng, out: &mut Vec<Effect>) -> Instance {
        let Self {
            memory,
            process,
            spec,
            ended,
        } = self;
        let wear = Wear::new(&spec.settings.recycle, rng);
        let phase = match memory.stage {
            Stage::Starting => {
                if ended.is_none() {
                    out.push(Effect::Probe {
                        incarnation: process.incarnation,
                        spec: Arc::clone(&spec),
                    });
                }
                Phase::Probing {
                    process,
                    permit: Permit::Returned,
                    give_up_at: later(now, probe_patience(&spec)),
                }
            }
            Stage::Serving { since } => Phase::Publishing {
                process,
                carrier: Carrier::Unknown,
                since,
            },
            Stage::Draining { until } => Phase::Draining {
                process,
                reason: StopReason::Earlier,
                step: DrainStep::Unrouting(Carrier::Unknown),
                since: now,
                until,
            },
            Stage::Stopping { kill_at } => Phase::Stopping { process, kill_at },
        };
        Instance {
            number: memory.number,
            rollout: RolloutNumber(memory.rollout),
            spec,
            phase,
            wear,
            condition: Condition::default(),
            probe: Probe::default(),
            watch: Watch::adopted(memory.watchdog, now),
        }
    }
}

impl Instance {
    fn memory(&self) -> Option<(Incarnation, InstanceMemory)> {
        let stage = match &self.phase {
            Phase::Queued { .. } | Phase::Spawning { .. } => return None,
            Phase::Probing { .. } => Stage::Starting,
            Phase::Publishing { since, .. } | Phase::Ready { since, .. } => {
                Stage::Serving { since: *since }
            }
            Phase::Draining { until, .. } => Stage::Draining { until: *until },
            Phase::Stopping { kill_at, .. } => Stage::Stopping { kill_at: *kill_at },
            Phase::Killed { again_at, .. } => Stage::Stopping { kill_at: *again_at },
        };
        let memory = InstanceMemory {
            number: self.number,
            rollout: self.rollout.0,
            stage,
            watchdog: self.watch.asked_for(),
        };
        Some((self.incarnation()?, memory))
    }
}

impl Rollout {
    fn setback(&self) -> Option<Setback> {
        let trouble = self.trouble()?;
        Some(Setback {
            revision: self.spec.revision,
            cause: trouble.cause.to_string(),
            prospect: trouble.cause.prospect(),
            failures: trouble.failures,
            failed_starts: trouble.failed_starts,
            pause: trouble.pause,
            next_try: self.deadline(),
        })
    }
}

impl From<Setback> for Trouble {
    fn from(setback: Setback) -> Self {
        Self {
            cause: Failure::Earlier {
                told: setback.cause,
                prospect: setback.prospect,
            },
            failures: setback.failures,
            failed_starts: setback.failed_starts,
            pause: setback.pause,
            next_try: setback.next_try.map_or(NextTry::Due, NextTry::At),
        }
    }
}
