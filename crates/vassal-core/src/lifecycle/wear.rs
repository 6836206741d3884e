//! What wears an instance out: requests, memory and age. Who is worn out is replaced like one of an
//! earlier revision: its successor first.
//!
//! Each instance has bounds of its own, up to a tenth below what is set, so that those that were
//! started together don't go together.

use std::fmt;
use std::time::{Duration, Instant};

use super::Lifecycle;
use super::event::Effect;
use super::instance::Instance;
use super::time::later;
use crate::settings::Recycle;

/// How often the memory of an instance is measured where it has a bound.
const MEMORY_INTERVAL: Duration = Duration::from_secs(30);

/// The bounds of one instance, and how it stands to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wear {
    max_requests: Option<u64>,
    max_memory_bytes: Option<u64>,
    max_age: Option<Duration>,
    /// When it was last asked for, and what it was.
    memory_asked: Option<Instant>,
    memory_bytes: u64,
    /// Which bound it has passed. It is not taken back: memory that falls again rises again.
    worn: Option<Worn>,
}

/// Why an instance is worn out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Worn {
    Requests(u64),
    Memory(u64),
    Age(Duration),
}

impl Wear {
    pub(super) fn new(recycle: &Recycle, rng: &mut fastrand::Rng) -> Self {
        let mut share = || 0.9 + rng.f64() / 10.0;
        Self {
            max_requests: part(recycle.max_requests, share()),
            max_memory_bytes: part(recycle.max_memory_bytes, share()),
            max_age: (!recycle.max_age.is_zero()).then(|| recycle.max_age.mul_f64(share())),
            memory_asked: None,
            memory_bytes: 0,
            worn: None,
        }
    }
}

/// So much of a bound; `None`: there is none.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "chance needs no precision, and a share of a bound fits where the bound did"
)]
fn part(bound: u64, share: f64) -> Option<u64> {
    (bound > 0).then(|| ((bound as f64 * share) as u64).max(1))
}

impl Lifecycle {
    /// Finds who has passed a bound.
    pub(super) fn wear_out(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for instance in &mut self.instances {
            let requests = instance.incarnation().and_then(|incarnation| {
                let told = self.load.as_ref()?.instances.get(&incarnation)?;
                Some(told.requests)
            });
            instance.wear_out(requests.unwrap_or(0), now);
            instance.ask_for_memory(now, out);
        }
    }
}

impl Instance {
    /// Its successor is to come.
    pub(super) fn is_worn(&self) -> bool {
        self.wear.worn.is_some() || self.is_unwell()
    }

    pub(super) fn measured(&mut self, memory_bytes: u64) {
        self.wear.memory_bytes = memory_bytes;
    }

    /// When it has to be looked at again.
    pub(super) fn wears_on_at(&self) -> Option<Instant> {
        let memory_due = self.memory_due();
        self.too_old_at().into_iter().chain(memory_due).min()
    }

    fn too_old_at(&self) -> Option<Instant> {
        Some(later(self.serves_since()?, self.wear.max_age?))
    }

    fn memory_due(&self) -> Option<Instant> {
        self.wear.max_memory_bytes?;
        let last = self.wear.memory_asked.or(self.serves_since());
        self.serves_since()?;
        Some(later(last?, MEMORY_INTERVAL))
    }

    fn ask_for_memory(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.memory_due().is_some_and(|at| at <= now) {
            self.wear.memory_asked = Some(now);
            out.extend(self.incarnation().map(Effect::Measure));
        }
    }

    /// `None` where it doesn't, or is worn out already.
    fn serves_since(&self) -> Option<Instant> {
        self.ready_since().filter(|_| !self.is_worn())
    }

    fn wear_out(&mut self, requests: u64, now: Instant) {
        if self.is_worn() || !self.is_ready() {
            return;
        }
        let wear = &self.wear;
        let reached = |bound: Option<u64>, value| bound.is_some_and(|bound| value >= bound);
        let worn = if reached(wear.max_requests, requests) {
            Some(Worn::Requests(requests))
        } else if reached(wear.max_memory_bytes, wear.memory_bytes) {
            Some(Worn::Memory(wear.memory_bytes))
        } else if self.too_old_at().is_some_and(|at| at <= now) {
            wear.max_age.map(Worn::Age)
        } else {
            None
        };
        self.wear.worn = worn;
    }
}

impl fmt::Display for Worn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(requests) => write!(f, "it had {requests} requests"),
            Self::Memory(bytes) => write!(f, "it has {} MiB of memory", bytes >> 20),
            Self::Age(age) => write!(f, "it has served for {}s", age.as_secs()),
        }
    }
}
