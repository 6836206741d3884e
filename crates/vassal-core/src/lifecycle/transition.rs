//! How an instance gets from phase to phase. Each transition takes the instance out of its phase and
//! puts the effects of that in order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use site_model::Generation;

use super::event::{Effect, Process};
use super::instance::{Carrier, DrainStep, Fate, Instance, Permit, Phase};
use super::reason::StopReason;
use super::time::later;
use crate::VassalSpec;
use crate::settings::Probe;

/// A start permit is given back after that long, ready or not: what costs a machine is the start of
/// a program, and one that hangs must not keep the others from theirs.
const PERMIT_HELD: Duration = Duration::from_secs(10);
/// The prober ends itself at `ready.timeout`; this much later its silence counts as a failure.
const PROBE_MARGIN: Duration = Duration::from_secs(1);
/// A process that was killed and doesn't end is killed again after that long.
const KILL_AGAIN: Duration = Duration::from_secs(5);

impl Instance {
    /// Its process is there.
    pub(super) fn spawned(self, process: Process, now: Instant, out: &mut Vec<Effect>) -> Self {
        let phase = match self.phase {
            Phase::Spawning {
                permit,
                fate: Fate::Wanted,
                ..
            } => {
                out.push(Effect::Probe {
                    incarnation: process.incarnation,
                    spec: Arc::clone(&self.spec),
                });
                Phase::Probing {
                    process,
                    permit: permit.map_or(Permit::Returned, |ticket| Permit::Held {
                        ticket,
                        until: later(now, PERMIT_HELD),
                    }),
                    give_up_at: later(now, probe_patience(&self.spec)),
                }
            }
            Phase::Spawning {
                permit,
                fate: Fate::Doomed(reason),
                ..
            } => {
                out.extend(permit.map(Effect::ReturnPermit));
                signal(process, &self.spec, reason, now, out)
            }
            phase @ (Phase::Queued { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. }) => phase,
        };
        Self { phase, ..self }
    }

    /// Takes it out of the route, or tells it to end where it is in none. What ends already goes
    /// on ending.
    pub(super) fn retire(
        self,
        reason: StopReason,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Option<Self> {
        let phase = match self.phase {
            Phase::Publishing { process, since, .. } | Phase::Ready { process, since } => {
                if self.watch.is_stopped() {
                    out.push(Effect::LetGoOn(process.incarnation));
                }
                let grace = self.spec.settings.stop.grace;
                Phase::Draining {
                    process,
                    reason,
                    step: DrainStep::Unrouting(Carrier::Unknown),
                    since,
                    until: (!reason.can_wait()).then(|| later(now, grace)),
                }
            }
            // It had time; now somebody waits for its end.
            Phase::Draining {
                process,
                step,
                since,
                until: None,
                ..
            } if !reason.can_wait() => Phase::Draining {
                process,
                reason,
                step,
                since,
                until: Some(later(now, self.spec.settings.stop.grace)),
            },
            phase @ (Phase::Draining { .. } | Phase::Stopping { .. } | Phase::Killed { .. }) => {
                phase
            }
            phase @ (Phase::Queued { .. } | Phase::Spawning { .. } | Phase::Probing { .. }) => {
                return Self { phase, ..self }.stop(reason, now, out);
            }
        };
        Some(Self { phase, ..self })
    }

    /// Tells it to end now, whoever still uses it. `None`: it had no process.
    pub(super) fn stop(
        self,
        reason: StopReason,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Option<Self> {
        let phase = match self.phase {
            Phase::Queued { ticket, .. } => {
                out.push(Effect::ReturnPermit(ticket));
                return None;
            }
            Phase::Spawning {
                permit,
                incarnation,
                fate,
            } => Phase::Spawning {
                permit,
                incarnation,
                fate: match fate {
                    Fate::Wanted => Fate::Doomed(reason),
                    Fate::Doomed(earlier) => Fate::Doomed(earlier),
                },
            },
            Phase::Probing {
                process, permit, ..
            } => {
                permit.give_back(out);
                signal(process, &self.spec, reason, now, out)
            }
            Phase::Publishing { process, .. }
            | Phase::Ready { process, .. }
            | Phase::Draining { process, .. } => signal(process, &self.spec, reason, now, out),
            phase @ (Phase::Stopping { .. } | Phase::Killed { .. }) => phase,
        };
        Some(Self { phase, ..self })
    }

    /// Kills its process group. An instance whose process is being made is doomed.
    pub(super) fn kill(
        self,
        reason: StopReason,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Option<Self> {
        let Some(process) = self.process().cloned() else {
            return self.stop(reason, now, out);
        };
        if let Phase::Probing { permit, .. } = &self.phase {
            permit.give_back(out);
        }
        let phase = match self.phase {
            // Killed already; its end is on the way.
            phase @ Phase::Killed { .. } => phase,
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. } => killed(process, now, out),
        };
        Some(Self { phase, ..self })
    }

    /// Takes it back into the route, where it was to end for want of requests and the router may
    /// still give it some. Who was asked whether it is idle is not taken back: the answer may be on
    /// its way.
    pub(super) fn take_back(self) -> Self {
        let phase = match self.phase {
            Phase::Draining {
                process,
                reason,
                step: DrainStep::Unrouting(_),
                since,
                ..
            } if reason.can_wait() => Phase::Publishing {
                process,
                carrier: Carrier::Unknown,
                since,
            },
            phase @ (Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. }) => phase,
        };
        Self { phase, ..self }
    }

    /// Does what a deadline that has come asks for. Probing that took too long is the vassal's
    /// matter, since it decides about the next try.
    pub(super) fn pass_deadline(self, now: Instant, out: &mut Vec<Effect>) -> Self {
        let phase = match self.phase {
            Phase::Probing {
                process,
                permit: Permit::Held { ticket, until },
                give_up_at,
            } if until <= now => {
                out.push(Effect::ReturnPermit(ticket));
                Phase::Probing {
                    process,
                    permit: Permit::Returned,
                    give_up_at,
                }
            }
            Phase::Draining {
                process,
                reason,
                until: Some(until),
                ..
            } if until <= now => signal(process, &self.spec, reason, now, out),
            Phase::Stopping { process, kill_at } if kill_at <= now => killed(process, now, out),
            Phase::Killed { process, again_at } if again_at <= now => killed(process, now, out),
            phase @ (Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. }) => phase,
        };
        Self { phase, ..self }
    }

    /// The router has this generation in force.
    pub(super) fn acknowledged(
        self,
        generation: Generation,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Self {
        let reached = |carrier| match carrier {
            Carrier::At(awaited) => awaited <= generation,
            Carrier::Unknown => false,
        };
        let phase = match self.phase {
            Phase::Publishing {
                process,
                carrier,
                since,
            } if reached(carrier) => Phase::Ready { process, since },
            Phase::Draining {
                process,
                reason,
                step: DrainStep::Unrouting(carrier),
                since,
                until,
            } if reached(carrier) => {
                out.push(Effect::AwaitIdle(process.incarnation));
                let grace = self.spec.settings.stop.grace;
                Phase::Draining {
                    process,
                    reason,
                    step: DrainStep::AwaitingIdle,
                    since,
                    until: Some(until.unwrap_or_else(|| later(now, grace))),
                }
            }
            phase @ (Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. }) => phase,
        };
        Self { phase, ..self }
    }

    /// Is reached as is wanted now. A probe that asks for another host begins anew: it may get no
    /// answer any more.
    pub(super) fn reach_as(
        &mut self,
        wanted: &Arc<VassalSpec>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let before = &self.spec.hosts.canonical;
        let spec = Arc::clone(&self.spec).reached_as(wanted);
        let asks_anew = match &spec.settings.ready.probe {
            Probe::Http { .. } => spec.hosts.canonical != *before,
            Probe::Notify | Probe::Connect => false,
        };
        self.spec = spec;
        match &mut self.phase {
            Phase::Probing {
                process,
                give_up_at,
                ..
            } if asks_anew => {
                *give_up_at = later(now, probe_patience(&self.spec));
                out.push(Effect::Probe {
                    incarnation: process.incarnation,
                    spec: Arc::clone(&self.spec),
                });
            }
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Publishing { .. }
            | Phase::Ready { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => {}
        }
    }

    /// Learns which generation carries the change it waits for.
    pub(super) fn published(&mut self, generation: Generation) {
        match &mut self.phase {
            Phase::Publishing { carrier, .. }
            | Phase::Draining {
                step: DrainStep::Unrouting(carrier),
                ..
            } => {
                if *carrier == Carrier::Unknown {
                    *carrier = Carrier::At(generation);
                }
            }
            Phase::Queued { .. }
            | Phase::Spawning { .. }
            | Phase::Probing { .. }
            | Phase::Ready { .. }
            | Phase::Draining {
                step: DrainStep::AwaitingIdle,
                ..
            }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => {}
        }
    }
}

impl Permit {
    pub(super) fn give_back(self, out: &mut Vec<Effect>) {
        match self {
            Self::Held { ticket, .. } => out.push(Effect::ReturnPermit(ticket)),
            Self::Returned => {}
        }
    }
}

/// How long a probe may go on.
pub(super) fn probe_patience(spec: &VassalSpec) -> Duration {
    spec.settings.ready.timeout.saturating_add(PROBE_MARGIN)
}

fn signal(
    process: Process,
    spec: &VassalSpec,
    reason: StopReason,
    now: Instant,
    out: &mut Vec<Effect>,
) -> Phase {
    out.push(Effect::Signal {
        incarnation: process.incarnation,
        signal: spec.settings.stop.signal,
        reason,
    });
    Phase::Stopping {
        process,
        kill_at: later(now, spec.settings.stop.grace),
    }
}

fn killed(process: Process, now: Instant, out: &mut Vec<Effect>) -> Phase {
    out.push(Effect::Kill(process.incarnation));
    Phase::Killed {
        process,
        again_at: later(now, KILL_AGAIN),
    }
}
