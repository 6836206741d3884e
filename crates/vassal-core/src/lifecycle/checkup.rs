//! Probing instances while they serve. What follows from it is for [`health`](crate::health): who is
//! unwell is replaced, and leaves the route at once where another one serves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use site_model::Incarnation;

use super::Lifecycle;
use super::event::Effect;
use super::instance::{Instance, Role};
use super::load::InstanceLoad;
use super::reason::{Failure, StopReason};
use super::time::later;

/// The prober ends itself at `health.timeout`; this much later its silence counts as a failure.
const MARGIN: Duration = Duration::from_secs(1);

/// The next probe of an instance.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Probe {
    /// None was made yet.
    #[default]
    First,
    /// It is to be made then.
    At(Instant),
    /// It is being made, and answered by then.
    Until(Instant),
}

impl Lifecycle {
    /// Takes in what the router told, and asks or looks at those whose time has come.
    pub(super) fn check_up(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let ready = self.instances.iter().filter(|instance| instance.is_ready());
        let ready: Vec<_> = ready.filter_map(Instance::incarnation).collect();
        for incarnation in ready {
            self.judge(incarnation, now, |instance, load| {
                instance.check_up(load, now, out);
                instance.look(now, out);
            });
        }
        self.retire_unwell(now, out);
    }

    pub(super) fn checked(
        &mut self,
        incarnation: Incarnation,
        found: Result<(), String>,
        now: Instant,
    ) {
        self.judge(incarnation, now, |instance, load| {
            instance.checked(found, load, now);
        });
    }

    /// Takes in what was learned of an instance, beside what the router told of it. Who turns out to
    /// be unwell has failed its rollout.
    pub(super) fn judge(
        &mut self,
        incarnation: Incarnation,
        now: Instant,
        learn: impl FnOnce(&mut Instance, InstanceLoad),
    ) {
        let Some(index) = self.find(incarnation) else {
            return;
        };
        let told = self.load.as_ref();
        let told = told.and_then(|load| load.instances.get(&incarnation).copied());
        let instance = &mut self.instances[index];
        let before = instance.is_unwell();
        learn(instance, told.unwrap_or_default());
        if !before && instance.is_unwell() {
            let (rollout, failure) = (instance.rollout, instance.failure(now));
            self.failed(Some(rollout), failure, now);
        }
    }

    fn retire_unwell(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut instances = self.instances.iter();
        if !instances.any(|instance| instance.is_ready() && !instance.is_unwell()) {
            return;
        }
        self.map_instances(|instance| {
            if instance.is_ready() && instance.is_unwell() {
                instance.retire(StopReason::Unwell, now, out)
            } else {
                Some(instance)
            }
        });
    }
}

impl Instance {
    pub(super) fn is_unwell(&self) -> bool {
        self.unwell().is_some()
    }

    /// Why it is unwell, while it is in the route.
    pub(super) fn unwell(&self) -> Option<&str> {
        let unwell = self.condition.unwell();
        unwell.filter(|_| self.role() == Role::Serving)
    }

    /// When it is to be probed, or its probe must have been answered.
    pub(super) fn checkup_at(&self) -> Option<Instant> {
        let interval = self.spec.settings.health.interval;
        let since = self.ready_since()?;
        (!interval.is_zero()).then(|| match self.probe {
            Probe::First => later(since, interval),
            Probe::At(at) | Probe::Until(at) => at,
        })
    }

    fn check_up(&mut self, load: InstanceLoad, now: Instant, out: &mut Vec<Effect>) {
        let spec = Arc::clone(&self.spec);
        let health = &spec.settings.health;
        if self.condition.told(health, load) {
            self.watch.suspect(now);
        }
        if self.checkup_at().is_none_or(|at| at > now) {
            return;
        }
        if let Probe::Until(_) = self.probe {
            let silence = "it was probed, and the probe says nothing".to_owned();
            self.checked(Err(silence), load, now);
            return;
        }
        let patience = health.timeout.saturating_add(MARGIN);
        self.probe = Probe::Until(later(now, patience));
        if let Some(incarnation) = self.incarnation() {
            out.push(Effect::Check { incarnation, spec });
        }
    }

    fn checked(&mut self, found: Result<(), String>, load: InstanceLoad, now: Instant) {
        let health = &self.spec.settings.health;
        // Late, or heard twice.
        if let (Probe::Until(_), false) = (self.probe, health.interval.is_zero()) {
            if found.is_err() {
                self.watch.suspect(now);
            }
            self.condition.probed(health, found, load);
            self.probe = Probe::At(later(now, health.interval));
        }
    }

    fn failure(&self, now: Instant) -> Failure {
        let since = self.ready_since().unwrap_or(now);
        Failure::Unwell {
            found: self.condition.unwell().unwrap_or_default().to_owned(),
            after: now.saturating_duration_since(since),
        }
    }
}
