//! What a lifecycle hears, and what it wants done.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use site_model::{Generation, Incarnation, InstanceNumber, SiteRoute};

use super::load::Load;
use super::reason::{Prospect, StopReason};
use crate::settings::StopSignal;
use crate::{ExitReason, VassalSpec, Want};

/// One place in the queue of those who want to start. Never used twice by one lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub(super) u64);

/// Which queue a ticket is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// As [`Start`](Self::Start), and requests wait for it in the queue of the site.
    Awaited,
    /// There are fewer instances than there should be. Its permit is given back once it is ready.
    Start,
    /// As many serve as are wanted, and it takes the place of one of them. Its permit is given back
    /// once there are no more processes than are wanted.
    Replacement,
}

/// What was seen of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sight {
    /// Its main process is stopped by a signal.
    pub stopped: bool,
    /// When it last said `WATCHDOG=1`.
    pub spoke: Option<Instant>,
    /// How long it may be silent, as it asked for itself (`WATCHDOG_USEC=`).
    pub watchdog: Option<Duration>,
    /// It said `WATCHDOG=trigger`.
    pub broken: bool,
}

/// A process that came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Which spawn it is.
    pub incarnation: Incarnation,
    /// Its pid, process group and session.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// When it was started.
    pub started_at: SystemTime,
    /// Limits and walls that were asked for and that it runs without, each with the reason.
    pub missing: Vec<String>,
}

/// Something that happened. What concerns an incarnation that is gone changes nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// This is wanted from now on.
    Wanted(Want),
    /// The row is gone: end everything.
    Removed,
    /// An operator wants new instances although nothing changed.
    Reload,
    /// The emperor ends, and the router takes no more requests.
    Shutdown(Haste),
    /// It may start the instance that holds this ticket.
    Permitted {
        /// The instance's ticket.
        ticket: Ticket,
        /// A number that no spawn ever had.
        incarnation: Incarnation,
    },
    /// A process came to be.
    Spawned(Process),
    /// No process came to be.
    SpawnFailed {
        /// Which spawn it was.
        incarnation: Incarnation,
        /// The step that failed and what the kernel said.
        error: String,
        /// Whether another try may help.
        prospect: Prospect,
    },
    /// It is ready.
    FoundReady(Incarnation),
    /// It was not ready in time.
    ProbeFailed {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// What the last probe found.
        found: String,
        /// The end of its standard error.
        stderr: Vec<String>,
    },
    /// Its main process ended, and what was left of its group with it.
    Exited {
        /// Which spawn it was.
        incarnation: Incarnation,
        /// How.
        reason: ExitReason,
        /// The end of its standard error.
        stderr: Vec<String>,
    },
    /// The route it wanted published travels with this generation of the table.
    Published(Generation),
    /// Every thread of the router has this generation, or a later one, in force.
    Acknowledged(Generation),
    /// The router has no request in flight at this instance.
    Idle(Incarnation),
    /// A request waits for the sleeping site.
    Wake,
    /// What the router tells of its requests; `None`: there is no router that does.
    Load(Option<Load>),
    /// The memory of its process group, shared pages counted in shares.
    Measured {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// How much.
        memory_bytes: u64,
    },
    /// It was probed while it serves.
    Checked {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// What was found instead of a good answer.
        found: Result<(), String>,
    },
    /// It was looked at.
    Looked {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// What was seen.
        sight: Sight,
    },
    /// Its deadline has come.
    Tick,
}

impl Event {
    /// The name of [`Exited`](Self::Exited).
    pub const EXITED: &str = "exited";

    /// Its name in JSON and in the log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Wanted(_) => "wanted",
            Self::Removed => "removed",
            Self::Reload => "reload",
            Self::Shutdown(_) => "shutdown",
            Self::Permitted { .. } => "permitted",
            Self::Spawned(_) => "spawned",
            Self::SpawnFailed { .. } => "not-spawned",
            Self::FoundReady(_) => "found-ready",
            Self::ProbeFailed { .. } => "not-ready",
            Self::Exited { .. } => Self::EXITED,
            Self::Published(_) => "published",
            Self::Acknowledged(_) => "acknowledged",
            Self::Idle(_) => "idle",
            Self::Wake => "request",
            Self::Load(_) => "load",
            Self::Measured { .. } => "memory",
            Self::Checked { .. } => "health",
            Self::Looked { .. } => "looked-at",
            Self::Tick => "deadline",
        }
    }

    /// The instance it is about; `None`: it is about the vassal.
    pub const fn incarnation(&self) -> Option<Incarnation> {
        match self {
            Self::Permitted { incarnation, .. }
            | Self::SpawnFailed { incarnation, .. }
            | Self::ProbeFailed { incarnation, .. }
            | Self::Exited { incarnation, .. }
            | Self::Measured { incarnation, .. }
            | Self::Checked { incarnation, .. }
            | Self::Looked { incarnation, .. }
            | Self::FoundReady(incarnation)
            | Self::Idle(incarnation)
            | Self::Spawned(Process { incarnation, .. }) => Some(*incarnation),
            Self::Wanted(_)
            | Self::Removed
            | Self::Reload
            | Self::Shutdown(_)
            | Self::Published(_)
            | Self::Acknowledged(_)
            | Self::Wake
            | Self::Load(_)
            | Self::Tick => None,
        }
    }
}

/// How the emperor ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Haste {
    /// Stop signal, grace, kill.
    Orderly,
    /// Kill.
    AtOnce,
}

/// Something to be done. Effects are performed in their order.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Queue for a permit.
    AskPermit {
        /// The place in the queue.
        ticket: Ticket,
        /// Which queue.
        turn: Turn,
    },
    /// Leave that queue, or give the permit back.
    ReturnPermit(Ticket),
    /// Start a process; answered by `Spawned` or `SpawnFailed`, whatever happens meanwhile.
    Spawn {
        /// Its place among the site's instances.
        number: InstanceNumber,
        /// Its spawn.
        incarnation: Incarnation,
        /// What to run.
        spec: Arc<VassalSpec>,
    },
    /// Find out when it is ready; answered by `FoundReady` or `ProbeFailed`.
    Probe {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// How to find out.
        spec: Arc<VassalSpec>,
    },
    /// Publish this route; answered at once by `Published`, before anything else is heard: who leaves the
    /// route between the two would be taken for gone from a generation that still has it.
    Publish(Arc<SiteRoute>),
    /// Take the site's route down; answered at once by `Published`.
    Withdraw,
    /// Ask the router when it is idle; answered by `Idle`.
    AwaitIdle(Incarnation),
    /// Probe it while it serves; answered by `Checked`.
    Check {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// How to find out.
        spec: Arc<VassalSpec>,
    },
    /// Look at it; answered at once by `Looked`, where it has a process.
    Look(Incarnation),
    /// Let its stopped process go on, so that it ends what it has.
    LetGoOn(Incarnation),
    /// Find out how much memory its process group has; answered by `Measured`.
    Measure(Incarnation),
    /// Ask it to end.
    Signal {
        /// Which spawn it is.
        incarnation: Incarnation,
        /// How it is asked.
        signal: StopSignal,
        /// Why, for the log.
        reason: StopReason,
    },
    /// Kill its whole process group.
    Kill(Incarnation),
    /// It is gone: clean up what it leaves behind.
    Remove(Incarnation),
}
