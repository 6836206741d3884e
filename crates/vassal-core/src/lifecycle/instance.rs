//! One instance: its phase, and what each phase allows.
//!
//! ```text
//! queued ─▶ spawning ─▶ probing ─▶ publishing ─▶ ready ─▶ draining ─▶ stopping ─▶ killed ─▶ gone
//! ```
//!
//! Which instances there should be is decided elsewhere ([`steer`](super::steer)); an instance
//! tells where it is, and [`transition`](super::transition) moves it.

use std::sync::Arc;
use std::time::Instant;

use site_model::{Generation, Incarnation, InstanceNumber};

use super::checkup::Probe;
use super::event::{Process, Ticket, Turn};
use super::reason::StopReason;
use super::rollout::RolloutNumber;
use super::watch::Watch;
use super::wear::Wear;
use crate::VassalSpec;
use crate::health::Condition;

/// One running process group with its own listening socket, or the intention of one.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) number: InstanceNumber,
    pub(super) rollout: RolloutNumber,
    pub(super) spec: Arc<VassalSpec>,
    pub(super) phase: Phase,
    pub(super) wear: Wear,
    pub(super) condition: Condition,
    pub(super) probe: Probe,
    pub(super) watch: Watch,
}

/// Where an instance is in its life.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// It waits for a permit.
    Queued { ticket: Ticket, turn: Turn },
    /// Its process is being made.
    Spawning {
        /// Its start permit. The place of a replacement is its vassal's.
        permit: Option<Ticket>,
        incarnation: Incarnation,
        fate: Fate,
    },
    /// Its process runs and was not found ready yet.
    Probing {
        process: Process,
        permit: Permit,
        give_up_at: Instant,
    },
    /// It is ready, and the router has not said yet that every thread knows.
    Publishing {
        process: Process,
        carrier: Carrier,
        since: Instant,
    },
    /// It takes requests.
    Ready { process: Process, since: Instant },
    /// It takes no new requests and ends those it has.
    Draining {
        process: Process,
        reason: StopReason,
        step: DrainStep,
        /// Since when it had been ready.
        since: Instant,
        /// `None`: as long as the router may give it requests.
        until: Option<Instant>,
    },
    /// It was asked to end.
    Stopping { process: Process, kill_at: Instant },
    /// Its process group was killed, and its end was not noticed yet.
    Killed { process: Process, again_at: Instant },
}

/// What becomes of a process that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is wanted.
    Wanted,
    /// It is ended as soon as it is there. A spawn is never broken off, so that each one ends in
    /// an answer and none in a process that nobody knows.
    Doomed(StopReason),
}

/// The start permit of an instance whose process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permit {
    Held { ticket: Ticket, until: Instant },
    Returned,
}

/// The generation of the route table that carries a change of this site's route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carrier {
    /// The publisher was not asked yet.
    Unknown,
    /// This one.
    At(Generation),
}

/// How far a drain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainStep {
    /// The router may still give it requests.
    Unrouting(Carrier),
    /// It gets none any more, and may have some.
    AwaitingIdle,
}

/// What an instance is to its vassal, whatever the details of its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// On its way to readiness.
    Coming,
    /// In the route.
    Serving,
    /// On its way out.
    Ending,
}

impl Instance {
    pub(super) fn role(&self) -> Role {
        match &self.phase {
            Phase::Queued { .. }
            | Phase::Spawning {
                fate: Fate::Wanted, ..
            }
            | Phase::Probing { .. } => Role::Coming,
            Phase::Publishing { .. } | Phase::Ready { .. } => Role::Serving,
            Phase::Spawning {
                fate: Fate::Doomed(_),
                ..
            }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => Role::Ending,
        }
    }

    /// In the route, and every thread of the router knows.
    pub(super) fn is_ready(&self) -> bool {
        self.ready_since().is_some()
    }

    pub(super) fn ready_since(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Ready { since, .. } => Some(*since),
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => None,
        }
    }

    /// Of its process, or of the one that is being made.
    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        match &self.phase {
            Phase::Queued { .. } => None,
            Phase::Spawning { incarnation, .. } => Some(*incarnation),
            Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => self.process().map(|process| process.incarnation),
        }
    }

    pub(super) fn process(&self) -> Option<&Process> {
        match &self.phase {
            Phase::Queued { .. } | Phase::Spawning { .. } => None,
            Phase::Probing { process, .. }
            | Phase::Publishing { process, .. }
            | Phase::Ready { process, .. }
            | Phase::Draining { process, .. }
            | Phase::Stopping { process, .. }
            | Phase::Killed { process, .. } => Some(process),
        }
    }

    /// Why it drains; `None`: it doesn't.
    pub(super) fn draining(&self) -> Option<StopReason> {
        match &self.phase {
            Phase::Draining { reason, .. } => Some(*reason),
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => None,
        }
    }

    /// What it waits for with this ticket.
    pub(super) fn turn_of(&self, asked: Ticket) -> Option<Turn> {
        match &self.phase {
            Phase::Queued { ticket, turn } => (*ticket == asked).then_some(*turn),
            Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => None,
        }
    }

    /// Whether it waits to take the place of another.
    pub(super) fn waits_to_replace(&self) -> bool {
        matches!(
            self.phase,
            Phase::Queued {
                turn: Turn::Replacement,
                ..
            }
        )
    }

    /// Whether it uses the start permit that this ticket led to.
    pub(super) fn holds(&self, ticket: Ticket) -> bool {
        match &self.phase {
            Phase::Spawning {
                permit: Some(held), ..
            }
            | Phase::Probing {
                permit: Permit::Held { ticket: held, .. },
                ..
            } => *held == ticket,
            Phase::Queued { .. }
            | Phase::Spawning { permit: None, .. }
            | Phase::Probing {
                permit: Permit::Returned,
                ..
            }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => false,
        }
    }

    /// When this instance has to be looked at again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. } => None,
            Phase::Probing {
                permit, give_up_at, ..
            } => match permit {
                Permit::Held { until, .. } => Some(*until.min(give_up_at)),
                Permit::Returned => Some(*give_up_at),
            },
            Phase::Draining { until, .. } => *until,
            Phase::Stopping { kill_at, .. } => Some(*kill_at),
            Phase::Killed { again_at, .. } => Some(*again_at),
        }
    }

    /// Its incarnation, where it has been probed for so long that the prober must be gone.
    pub(super) fn overdue(&self, now: Instant) -> Option<Incarnation> {
        match &self.phase {
            Phase::Probing { give_up_at, .. } if *give_up_at <= now => self.incarnation(),
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => None,
        }
    }

    /// The generation this instance waits for the router to acknowledge.
    pub(super) fn awaited_generation(&self) -> Option<Generation> {
        match self.carrier() {
            Some(Carrier::At(generation)) => Some(generation),
            Some(Carrier::Unknown) | None => None,
        }
    }

    pub(super) fn carrier(&self) -> Option<Carrier> {
        match &self.phase {
            Phase::Publishing { carrier, .. }
            | Phase::Draining {
                step: DrainStep::Unrouting(carrier),
                ..
            } => Some(*carrier),
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Ready { .. }
            | Phase::Draining {
                step: DrainStep::AwaitingIdle,
                ..
            }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => None,
        }
    }
}
