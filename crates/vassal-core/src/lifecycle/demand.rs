//! Whether anybody wants a site's pages: what the router tells of its requests, and the sleep of a
//! site that has none.

use std::time::Instant;

use super::Lifecycle;
use super::goal::Goal;
use super::instance::{Instance, Role};
use super::load::Load;
use super::time::later;
use crate::scaling::{Scale, Seen};
use crate::settings::Instances;

/// Whether anybody wants a site's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// Nobody does, and it may stop for want of requests: nothing is to run.
    Asleep,
    /// A request woke it, and nothing has become ready since.
    Waking,
    /// It is to run.
    Awake {
        /// Since when it has had no request; `None`: it has some, or nobody tells.
        quiet_since: Option<Instant>,
    },
}

impl Lifecycle {
    pub(super) fn is_asleep(&self) -> bool {
        self.demand == Demand::Asleep
    }

    pub(super) fn is_waking(&self) -> bool {
        self.demand == Demand::Waking
    }

    /// A request waits for an instance, as far as the router has told.
    pub(super) fn visitors_wait(&self) -> bool {
        self.is_waking() || self.load.as_ref().is_some_and(|load| load.waiting > 0)
    }

    /// A request came, and waits.
    pub(super) fn woken(&mut self) {
        match self.demand {
            Demand::Asleep => self.demand = Demand::Waking,
            // Said of an earlier sleep.
            Demand::Waking | Demand::Awake { .. } => {}
        }
    }

    pub(super) fn load_told(&mut self, load: Option<Load>, now: Instant) {
        let before = self.load.take();
        let waits = load.as_ref().is_some_and(|load| load.waiting > 0);
        let came = before.map(|load| load.requests) != load.as_ref().map(|load| load.requests);
        self.load = load;
        self.demand = match self.demand {
            // Its wake-up call was lost.
            Demand::Asleep if waits => Demand::Waking,
            Demand::Awake {
                quiet_since: Some(since),
            } if !came && self.is_quiet() => Demand::Awake {
                quiet_since: Some(since),
            },
            Demand::Awake { .. } => self.awake(now),
            same @ (Demand::Asleep | Demand::Waking) => same,
        };
    }

    /// An operator wants something of it: it is not put to sleep over that.
    pub(super) fn stir(&mut self, now: Instant) {
        match self.demand {
            Demand::Awake { .. } => self.demand = self.awake(now),
            Demand::Asleep | Demand::Waking => {}
        }
    }

    /// Puts it to sleep once it has had no request for long enough. Nobody sleeps whose
    /// specification doesn't say so.
    pub(super) fn doze(&mut self, now: Instant) {
        let stop_after = match &self.goal {
            Goal::Run { rollout, .. } => rollout.spec.settings.idle.stop_after,
            // Whether it sleeps matters again when it is to run again.
            Goal::Rejected { .. }
            | Goal::Disabled(_)
            | Goal::Pooled(_)
            | Goal::Removed
            | Goal::Shutdown { .. } => {
                return;
            }
        };
        match self.demand {
            Demand::Asleep | Demand::Waking if stop_after.is_zero() => {
                self.demand = self.awake(now);
            }
            Demand::Waking if self.has_ready() => self.demand = self.awake(now),
            Demand::Asleep | Demand::Waking => {}
            Demand::Awake { .. } => {
                if self.sleeps_at().is_some_and(|at| at <= now) {
                    self.demand = Demand::Asleep;
                    self.scale = Scale::default();
                    self.goal.forget_fallback();
                }
            }
        }
    }

    /// When it is put to sleep, if no request comes before. Only what serves as wanted goes to
    /// sleep: a replacement is brought to its end first, and what is in trouble is seen to be.
    pub(super) fn sleeps_at(&self) -> Option<Instant> {
        let Goal::Run {
            rollout,
            fallback: None,
        } = &self.goal
        else {
            return None;
        };
        let Demand::Awake {
            quiet_since: Some(since),
        } = self.demand
        else {
            return None;
        };
        let stop_after = rollout.spec.settings.idle.stop_after;
        let settled = rollout.may_start()
            && self.has_ready()
            && !self.instances.iter().any(|i| i.role() == Role::Coming);
        (settled && !stop_after.is_zero()).then(|| later(since, stop_after))
    }

    /// Follows the load with the number of instances.
    pub(super) fn rescale(&mut self, now: Instant) {
        let Some(bounds) = self.bounds().cloned() else {
            return;
        };
        self.scale.measure(&bounds, self.seen(), now);
    }

    pub(super) fn rescales_at(&self) -> Option<Instant> {
        self.scale.deadline(self.bounds()?)
    }

    fn bounds(&self) -> Option<&Instances> {
        let (wanted, _) = self.goal.rollouts();
        let wanted = wanted.filter(|_| !self.is_asleep());
        wanted.map(|rollout| &rollout.spec.settings.instances)
    }

    fn seen(&self) -> Option<Seen> {
        let load = self.load.as_ref()?;
        let serving = self.instances.iter().filter(|i| i.role() == Role::Serving);
        let in_flight = |instance: &Instance| {
            let load = load.instances.get(&instance.incarnation()?)?;
            Some(load.in_flight)
        };
        Some(Seen {
            ready: u32::try_from(serving.clone().count()).unwrap_or(u32::MAX),
            in_flight: serving.filter_map(in_flight).sum(),
            waiting: load.waiting,
            oldest: load.oldest,
        })
    }

    fn awake(&self, now: Instant) -> Demand {
        Demand::Awake {
            quiet_since: self.is_quiet().then_some(now),
        }
    }

    fn has_ready(&self) -> bool {
        self.instances.iter().any(Instance::is_ready)
    }

    fn is_quiet(&self) -> bool {
        self.load.as_ref().is_some_and(|load| !load.is_busy())
    }
}
