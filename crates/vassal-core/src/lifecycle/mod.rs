//! The life of a vassal, as a state machine without a clock, a process or a task.
//!
//! A [`Lifecycle`] hears [`Event`]s and says [`Effect`]s; whoever owns it performs them in order
//! and sets one timer, at [`deadline`](Lifecycle::deadline). `LIFECYCLE.md` beside this crate draws
//! the picture.
//!
//! | module | what it decides |
//! |---|---|
//! | `event`, `load`, `reason` | nothing: what is heard, what is to be done, and the names of why |
//! | `adoption` | how a life goes on that an earlier emperor began |
//! | `goal` | what the vassal is after |
//! | `demand` | whether anybody wants its pages: load, sleep |
//! | `rollout` | how the attempt to get there fares: backoff, giving up |
//! | `hear` | what each event changes at once |
//! | `instance`, `transition` | the phases of one instance, and how it gets from one to the next |
//! | `checkup` | who is unwell |
//! | `watch` | what is seen of an instance without asking it |
//! | `wear` | who has served for long enough |
//! | `steer` | which instances there should be, and which are to go |
//! | `surge` | how many more there may be while they are replaced |
//! | `time` | how far ahead a moment can be |
//! | `view` | what is told about it: status and route |
//! | `resting` | the same of one at rest, from what is wanted of it alone |
//!
//! An event is handled in three steps: deadlines that have come are passed, the event is taken in,
//! and then the vassal is steered by looking at the whole of it. So nothing depends on an event
//! having been heard at the right time, and the same instances lead to the same decision however
//! they came about.

mod adoption;
mod checkup;
mod demand;
mod event;
mod goal;
mod hear;
mod instance;
mod load;
mod reason;
mod resting;
mod rollout;
mod steer;
mod surge;
mod time;
mod transition;
mod view;
mod watch;
mod wear;

use std::sync::Arc;
use std::time::Instant;

use site_model::{Generation, Incarnation, SiteId, SiteRoute};

pub use adoption::{Inheritance, InheritedInstance, InstanceMemory, Memory, Setback, Stage};
use demand::Demand;
pub use event::{Effect, Event, Haste, Process, Sight, Ticket, Turn};
use goal::Goal;
use instance::{Carrier, Instance};
pub use load::{InstanceLoad, Load};
pub use reason::{Failure, Prospect, StopReason};
pub use resting::{Resting, StatusTold};

use crate::Want;
use crate::scaling::Scale;

/// The state of one vassal.
#[derive(Debug, Clone)]
pub struct Lifecycle {
    id: SiteId,
    goal: Goal,
    demand: Demand,
    /// What the router tells; `None`: there is none that does.
    load: Option<Load>,
    scale: Scale,
    /// In the order of their birth.
    instances: Vec<Instance>,
    /// Permits for replacements, held until as many processes are gone again.
    places: Vec<Ticket>,
    /// How often an instance ended without having been told to.
    restarts: u64,
    /// What the publisher was last told.
    published: Option<Arc<SiteRoute>>,
    next_rollout: u64,
    next_ticket: u64,
    rng: fastrand::Rng,
}

impl Lifecycle {
    /// Begins a life, asleep where its specification lets it. `seed` spreads the pauses between
    /// tries: two vassals should not have the same. `restarts` are those of an earlier life.
    pub fn begin(
        id: SiteId,
        want: Want,
        restarts: u64,
        seed: u64,
        now: Instant,
    ) -> (Self, Vec<Effect>) {
        Self::nothing(id, restarts, seed).on(Event::Wanted(want), now)
    }

    fn nothing(id: SiteId, restarts: u64, seed: u64) -> Self {
        Self {
            id,
            goal: Goal::Removed,
            demand: Demand::Asleep,
            load: None,
            scale: Scale::default(),
            instances: Vec::new(),
            places: Vec::new(),
            restarts,
            published: None,
            next_rollout: 0,
            next_ticket: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes in what happened, and says what is to be done.
    #[must_use]
    pub fn on(mut self, event: Event, now: Instant) -> (Self, Vec<Effect>) {
        let mut out = Vec::new();
        self.pass_deadlines(now, &mut out);
        self.take_in(event, now, &mut out);
        self.steer(now, &mut out);
        self.return_places(&mut out);
        self.publish(&mut out);
        (self, out)
    }

    /// When [`Event::Tick`] is due; `None`: nothing depends on time now.
    pub fn deadline(&self) -> Option<Instant> {
        let (wanted, fallback) = self.goal.rollouts();
        let pauses = wanted.into_iter().chain(fallback);
        let instances = self.instances.iter().filter_map(Instance::deadline);
        instances
            .chain(pauses.filter_map(rollout::Rollout::deadline))
            .chain(self.sleeps_at())
            .chain(self.rescales_at())
            .chain(self.instances.iter().filter_map(Instance::wears_on_at))
            .chain(self.instances.iter().filter_map(Instance::checkup_at))
            .chain(self.instances.iter().filter_map(Instance::looks_at))
            .min()
    }

    /// The generation whose acknowledgement is to be told next; `None`: none matters now.
    pub fn awaited_generation(&self) -> Option<Generation> {
        let instances = self.instances.iter();
        instances.filter_map(Instance::awaited_generation).min()
    }

    /// Its site is gone and so is its last instance: nothing will ever happen again.
    pub fn is_over(&self) -> bool {
        let ending = match self.goal {
            Goal::Removed | Goal::Shutdown { .. } => true,
            Goal::Run { .. } | Goal::Rejected { .. } | Goal::Disabled(_) | Goal::Pooled(_) => false,
        };
        ending && self.instances.is_empty()
    }

    /// Nothing runs and nothing is due before somebody wants something else of it, or a request
    /// wakes it. What it is then follows from what is wanted alone: another life begun with that
    /// goes on where this one ended.
    pub fn is_at_rest(&self) -> bool {
        let resting = match &self.goal {
            Goal::Run { .. } => self.is_asleep(),
            Goal::Rejected { fallback, .. } => fallback.is_none(),
            Goal::Disabled(_) | Goal::Pooled(_) => true,
            Goal::Removed | Goal::Shutdown { .. } => false,
        };
        resting && self.instances.is_empty()
    }

    /// Its site.
    pub fn id(&self) -> SiteId {
        self.id
    }

    /// How often an instance ended without having been told to.
    pub fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Tells the publisher of a route that changed. It is told once more of one that didn't where
    /// an instance waits to know which generation carries it.
    fn publish(&mut self, out: &mut Vec<Effect>) {
        let route = self.route().map(Arc::new);
        let asked = self.instances.iter();
        let mut asked = asked.filter_map(Instance::carrier);
        if route == self.published && !asked.any(|carrier| carrier == Carrier::Unknown) {
            return;
        }
        out.push(match &route {
            Some(route) => Effect::Publish(Arc::clone(route)),
            None => Effect::Withdraw,
        });
        self.published = route;
    }

    fn find(&self, incarnation: Incarnation) -> Option<usize> {
        let mut instances = self.instances.iter();
        instances.position(|instance| instance.incarnation() == Some(incarnation))
    }

    /// Changes the instance with this incarnation; without one, nothing.
    fn map_instance(
        &mut self,
        incarnation: Incarnation,
        change: impl FnOnce(Instance) -> Option<Instance>,
    ) {
        let Some(index) = self.find(incarnation) else {
            return;
        };
        let instance = self.instances.remove(index);
        if let Some(changed) = change(instance) {
            self.instances.insert(index, changed);
        }
    }

    fn map_instances(&mut self, change: impl FnMut(Instance) -> Option<Instance>) {
        let instances = std::mem::take(&mut self.instances);
        self.instances = instances.into_iter().filter_map(change).collect();
    }
}

#[cfg(test)]
pub(crate) mod tests;
