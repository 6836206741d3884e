//! The settings of a vassal after all layers were laid over each other: every value present, in
//! its own unit.

use std::sync::Arc;
use std::time::Duration;

use site_model::QueueBounds;
pub use site_model::{CacheMode, CacheSettings};

/// Who binds the socket an instance listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenMode {
    /// The emperor; the worker inherits it as descriptor 3.
    Fd,
    /// The worker, at `socket.path`.
    Path,
}

/// All tables of a template but those that make up the command.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[ready]`
    pub ready: Ready,
    /// `[health]`
    pub health: Health,
    /// `[preload]`
    pub preload: Preload,
    /// `[instances]`
    pub instances: Instances,
    /// `[idle]`
    pub idle: Idle,
    /// `[queue]`
    pub queue: QueueBounds,
    /// `[restart]`
    pub restart: Restart,
    /// `[stop]`
    pub stop: Stop,
    /// `[recycle]`
    pub recycle: Recycle,
    /// `[limits]`
    pub limits: Limits,
    /// `[sandbox]`, but for its paths, which are rendered for each instance.
    pub sandbox: Sandbox,
    /// `[cache]`
    pub cache: Arc<CacheSettings>,
}

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// How it is found out.
    pub probe: Probe,
    /// What is asked for besides, once each, before visitors are let in; whatever the answers are.
    pub warm: Arc<[String]>,
    /// How long an instance may take from its spawn, what is asked for besides included.
    pub timeout: Duration,
}

/// How readiness is found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A GET with the site's own Host answers with a status in one of the ranges.
    Http {
        /// The request target.
        path: String,
        /// Accepted statuses, both ends included.
        status: Vec<(u16, u16)>,
    },
    /// `READY=1` on `NOTIFY_SOCKET` (`sd_notify(3)`).
    Notify,
    /// The socket accepts a connection.
    Connect,
}

/// Probing while an instance serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Time between two probes; zero: none.
    pub interval: Duration,
    /// How it is asked.
    pub probe: Probe,
    /// How long an answer may take.
    pub timeout: Duration,
    /// So many failures in a row make it unwell.
    pub failures: u32,
    /// So many good probes in a row make it well again.
    pub successes: u32,
    /// How long it may be silent on `NOTIFY_SOCKET`; zero: for ever, unless it asks for a watchdog.
    pub watchdog: Duration,
}

impl Health {
    /// Whether failed requests make an instance unwell. Who is never probed, and says nothing of
    /// itself, could not show that it is well again.
    pub fn is_on(&self) -> bool {
        !self.interval.is_zero() || !self.watchdog.is_zero()
    }
}

/// Workers that are forked from a process which has loaded what they need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preload {
    /// `command` starts a preloader, from which each instance is forked.
    pub enabled: bool,
    /// How long a preloader may take to load.
    pub timeout: Duration,
    /// How long it stays once no site is to be forked from it. Zero: none is kept for sites that sleep.
    pub keep: Duration,
}

/// How many instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
    /// Requests in flight per instance; 0: no bound.
    pub concurrency: u32,
    /// How many more there may be while they are replaced, at least 1.
    pub max_surge: u32,
}

/// Sleep for want of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// Zero: never.
    pub stop_after: Duration,
    /// Paths that are answered while it sleeps: they don't wake it, and don't keep it awake.
    pub answered: Arc<[String]>,
}

/// Delay between a crash and the next try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restart {
    /// The first one.
    pub backoff_initial: Duration,
    /// The longest one.
    pub backoff_max: Duration,
}

/// How an instance is told to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// The signal that asks it to.
    pub signal: StopSignal,
    /// How long it may take before its process group is killed.
    pub grace: Duration,
}

/// Signals that ask a program to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM
    #[default]
    Term,
    /// SIGINT
    Int,
    /// SIGQUIT
    Quit,
    /// SIGHUP
    Hup,
    /// SIGUSR1
    Usr1,
    /// SIGUSR2
    Usr2,
}

/// When an instance is replaced although nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recycle {
    /// After that many requests; 0: never.
    pub max_requests: u64,
    /// Above that many bytes; 0: never.
    pub max_memory_bytes: u64,
    /// After that long; zero: never.
    pub max_age: Duration,
}

/// What the kernel is to bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory; 0: no bound.
    pub memory_max_bytes: u64,
    /// Bytes of memory above which it is slowed down and reclaimed from; 0: no bound.
    pub memory_high_bytes: u64,
    /// Bytes of swap; `None`: no bound.
    pub swap_max_bytes: Option<u64>,
    /// Share of processor time, in percent of one core; 0: no bound.
    pub cpu_max_percent: u32,
    /// Weight among others that want processor time; 0: as the kernel has it.
    pub cpu_weight: u32,
    /// Weight among others that want the same disk; 0: as the kernel has it.
    pub io_weight: u32,
    /// Processes and threads; 0: no bound.
    pub pids_max: u64,
    /// Open descriptors; 0: as the emperor has it.
    pub nofile: u64,
}

/// Walls around a worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Without every wall and limit that was asked for, nothing is started.
    pub required: bool,
    /// `/tmp` and `/var/tmp` of its own.
    pub private_tmp: bool,
    /// Bytes that those may hold; 0: half of the machine's memory.
    pub tmp_size_bytes: u64,
    /// Nothing can be written but its own folders and `sandbox.writable`.
    pub read_only_system: bool,
    /// Which system calls it may use.
    pub syscalls: Syscalls,
    /// What it may ever hold of root's rights.
    pub capabilities: Capabilities,
}

/// Which system calls a worker may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Syscalls {
    /// Those that a service has use for.
    #[default]
    Service,
    /// All.
    Off,
}

/// A set of the kernel's capabilities, one bit for each by its number in `capabilities(7)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Every one that there is.
    pub const ALL: Self = Self(u64::MAX);

    /// The one with this number, which is below 64.
    pub const fn one(number: u32) -> Self {
        Self(1 << number)
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// One bit for each.
    pub const fn bits(self) -> u64 {
        self.0
    }
}
