//! The settings of a vassal after all layers were laid over each other: every value present, in
//! its own unit.

use std::time::Duration;

use site_model::QueueBounds;

/// All tables of a template but those that make up the command.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[ready]`
    pub ready: Ready,
    /// `[health]`
    pub health: Health,
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
    /// `[cache]`
    pub cache: Cache,
}

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// How it is found out.
    pub probe: Probe,
    /// How long an instance may take from its spawn.
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
}

/// Sleep for want of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idle {
    /// Zero: never.
    pub stop_after: Duration,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory; 0: no bound.
    pub memory_max_bytes: u64,
    /// Processes and threads; 0: no bound.
    pub pids_max: u64,
    /// Open descriptors; 0: as the emperor has it.
    pub nofile: u64,
}

/// The page cache for this site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// What is kept.
    pub mode: CacheMode,
    /// Regular expressions over the path; what matches one is never kept.
    pub ignore: Vec<String>,
}

/// What the page cache keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Nothing.
    Off,
    /// What RFC 9111 lets a shared cache keep.
    #[default]
    Http,
    /// Every cacheable page, until an invalidation names it.
    UntilPurged,
}
