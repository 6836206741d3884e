//! Processes of a simulation, and which of them fail by what they run.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use site_model::{Incarnation, SiteId};

use crate::VassalSpec;
use crate::lifecycle::Process;

/// A process.
pub(super) struct Simulated {
    pub(super) site: SiteId,
    pub(super) spec: Arc<VassalSpec>,
    pub(super) state: State,
    pub(super) found_ready: bool,
    pub(super) told_to_end: Option<Instant>,
    pub(super) killed: bool,
    pub(super) motion: Motion,
    pub(super) ignores_signals: bool,
}

/// How far a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Alive,
    Dead,
    Removed,
}

/// Whether a signal has stopped a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Motion {
    Goes,
    Stopped,
}

impl Simulated {
    pub(super) fn is_alive(&self) -> bool {
        self.state == State::Alive
    }
}

/// A process whose incarnation is to be filled in.
pub(super) fn a_process() -> Process {
    Process {
        incarnation: Incarnation::new(0),
        pid: 1,
        socket: "/run/s".into(),
        started_at: SystemTime::UNIX_EPOCH,
        missing: Vec::new(),
    }
}

/// Every fourth revision can't be spawned, every fourth never gets ready.
pub(super) fn is_unspawnable(spec: &VassalSpec) -> bool {
    kind(spec) == 1
}

pub(super) fn is_never_ready(spec: &VassalSpec) -> bool {
    kind(spec) == 2
}

fn kind(spec: &VassalSpec) -> u8 {
    // The text begins with the first byte of the revision in hexadecimal digits.
    u8::from_str_radix(&spec.revision.to_string()[..2], 16).unwrap() % 4
}
