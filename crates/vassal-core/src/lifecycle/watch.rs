//! What is seen of an instance without asking it: whether its process is stopped, and when it last
//! said that it lives. What follows from it is for [`health`](crate::health).
//!
//! Nobody looks without a reason. The daemon tells by itself of what the kernel tells it, of a
//! process that was stopped or goes on, and of what a worker says that can't wait. Apart from that
//! an instance is looked at when its watchdog is due, when its probe or its requests fail, and once
//! after another emperor had it.

use std::time::{Duration, Instant};

use site_model::Incarnation;

use super::Lifecycle;
use super::event::{Effect, Sight};
use super::instance::Instance;
use super::load::InstanceLoad;
use super::time::later;

/// A process that was stopped may be let go on within that long. Longer than a machine that swaps
/// or a person at a terminal takes for a moment's pause, shorter than visitors wait.
const STOPPED_PATIENCE: Duration = Duration::from_secs(3);
/// The least time between two looks, and the shortest watchdog: a worker may ask for any.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Who looks this much later than was due was stopped itself, or starved: messages have come that
/// nobody has read yet, and no worker is to pay for that.
const LATE: Duration = Duration::from_secs(2);

/// What is known of one instance from looking at it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Watch {
    motion: Motion,
    /// How long it may be silent, as it asked for itself.
    asked_for: Option<Duration>,
    /// When it must have spoken again; `None`: it isn't ready, or need not speak.
    speaks_by: Option<Instant>,
    /// When somebody was last sent to look.
    looked_at: Option<Instant>,
}

/// Whether its process does anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Motion {
    #[default]
    Goes,
    /// Something makes it look stopped.
    Suspect { since: Instant },
    /// It was seen to be stopped.
    Stopped { since: Instant },
}

impl Watch {
    /// Of an instance that another emperor had, which had asked for this watchdog.
    pub(super) fn adopted(asked_for: Option<Duration>, now: Instant) -> Self {
        Self {
            motion: Motion::Suspect { since: now },
            asked_for,
            ..Self::default()
        }
    }

    /// The watchdog that it asked for.
    pub(super) fn asked_for(&self) -> Option<Duration> {
        self.asked_for
    }

    pub(super) fn is_stopped(&self) -> bool {
        match self.motion {
            Motion::Stopped { .. } => true,
            Motion::Goes | Motion::Suspect { .. } => false,
        }
    }

    /// Something about it has failed: it is to be looked at.
    pub(super) fn suspect(&mut self, now: Instant) {
        self.motion = match self.motion {
            Motion::Goes => Motion::Suspect { since: now },
            same @ (Motion::Suspect { .. } | Motion::Stopped { .. }) => same,
        };
    }

    fn saw(&mut self, stopped: bool, now: Instant) {
        self.motion = match (stopped, self.motion) {
            (false, _) => Motion::Goes,
            (true, same @ Motion::Stopped { .. }) => same,
            (true, Motion::Goes | Motion::Suspect { .. }) => Motion::Stopped { since: now },
        };
    }

    /// When it is to be looked at.
    fn due(&self) -> Option<Instant> {
        let stop = match self.motion {
            Motion::Goes => None,
            Motion::Suspect { since } => Some(since),
            Motion::Stopped { since } => Some(later(since, STOPPED_PATIENCE)),
        };
        let due = stop.into_iter().chain(self.speaks_by).min()?;
        let again = self.looked_at.map(|at| later(at, LOOK_AGAIN));
        Some(again.map_or(due, |again| again.max(due)))
    }
}

impl Lifecycle {
    pub(super) fn looked(&mut self, incarnation: Incarnation, sight: Sight, now: Instant) {
        self.judge(incarnation, now, |instance, load| {
            instance.looked(sight, load, now);
        });
    }
}

impl Instance {
    /// When somebody has to look at it.
    pub(super) fn looks_at(&self) -> Option<Instant> {
        self.ready_since().and_then(|_| self.watch.due())
    }

    /// Begins its watchdog where it is ready, and sends somebody to look whose time has come.
    pub(super) fn look(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.watch.speaks_by.is_none() {
            self.watch.speaks_by = self.watchdog().map(|period| later(now, period));
        }
        if self.looks_at().is_some_and(|at| at <= now) {
            self.watch.looked_at = Some(now);
            out.extend(self.incarnation().map(Effect::Look));
        }
    }

    fn looked(&mut self, sight: Sight, load: InstanceLoad, now: Instant) {
        self.watch.saw(sight.stopped, now);
        if sight.broken {
            self.condition.said_broken();
        }
        if sight.watchdog != self.watch.asked_for && sight.watchdog.is_some() {
            self.watch.asked_for = sight.watchdog;
            self.watch.speaks_by = None;
        }
        match self.watch.motion {
            Motion::Stopped { since } if since + STOPPED_PATIENCE <= now => {
                self.condition.stopped_for(now - since);
            }
            Motion::Goes | Motion::Suspect { .. } | Motion::Stopped { .. } => {
                self.condition.goes_on();
            }
        }
        self.hear_watchdog(sight.spoke, load, now);
    }

    fn hear_watchdog(&mut self, spoke: Option<Instant>, load: InstanceLoad, now: Instant) {
        let (Some(due), Some(period)) = (self.watch.speaks_by, self.watchdog()) else {
            return;
        };
        if !self.is_ready() || due > now {
            return;
        }
        let again = spoke.map(|at| later(at, period)).filter(|at| *at > now);
        self.watch.speaks_by = Some(again.unwrap_or_else(|| later(now, period)));
        if again.is_none() && now - due > LATE {
            return;
        }
        let health = &self.spec.settings.health;
        self.condition
            .watched(health, again.is_some(), period, load);
    }

    /// How long it may be silent; `None`: for ever.
    fn watchdog(&self) -> Option<Duration> {
        let period = self.watch.asked_for;
        let period = period.unwrap_or(self.spec.settings.health.watchdog);
        (!period.is_zero()).then(|| period.max(LOOK_AGAIN))
    }
}
