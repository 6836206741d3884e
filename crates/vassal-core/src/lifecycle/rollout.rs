//! A rollout: one attempt to bring a specification into service, and how it fares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reason::{Failure, Prospect};
use super::time::later;
use crate::scaling::Scale;
use crate::{VassalSpec, backoff};

/// After so many starts in a row that never became ready, it clearly won't start.
pub(super) const HOPELESS_AFTER: u32 = 5;
/// An instance that was ready for that long had settled: its end is answered at once, and the
/// failures before it are forgotten.
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(30);

/// Which attempt. A reload of an unchanged specification is another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RolloutNumber(pub(super) u64);

/// One attempt to bring a specification into service.
#[derive(Debug, Clone)]
pub(super) struct Rollout {
    pub(super) number: RolloutNumber,
    pub(super) spec: Arc<VassalSpec>,
    pub(super) standing: Standing,
    pub(super) health: Health,
}

/// What is known of a rollout's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// No instance of it was ever ready.
    Untried,
    /// One was: it can be fallen back on.
    Proven,
}

/// How a rollout fares.
#[derive(Debug, Clone)]
pub(super) enum Health {
    /// Nothing has failed, or nothing that still counts.
    Good,
    /// The last thing that happened was a failure.
    Troubled(Trouble),
}

/// Failures in a row.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    /// The last one.
    pub(super) cause: Failure,
    /// How many, crashes of instances that had not settled among them.
    pub(super) failures: u32,
    /// How many starts in a row that never became ready.
    pub(super) failed_starts: u32,
    /// How long the pause before the next try is, or was.
    pub(super) pause: Duration,
    /// Whether it is over.
    pub(super) next_try: NextTry,
}

/// When a troubled rollout may start an instance again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextTry {
    /// Not before this.
    At(Instant),
    /// Now.
    Due,
}

impl Rollout {
    pub(super) fn new(number: RolloutNumber, spec: Arc<VassalSpec>) -> Self {
        Self {
            number,
            spec,
            standing: Standing::Untried,
            health: Health::Good,
        }
    }

    /// How many instances it is to have.
    pub(super) fn instances_wanted(&self, scale: &Scale) -> usize {
        let target = scale.target(&self.spec.settings.instances);
        usize::try_from(target).unwrap_or(usize::MAX)
    }

    /// How many it is to have at least.
    pub(super) fn instances_needed(&self) -> usize {
        self.instances_wanted(&Scale::default())
    }

    /// How many more there may be while they are replaced.
    pub(super) fn max_surge(&self) -> usize {
        usize::try_from(self.spec.settings.instances.max_surge).unwrap_or(usize::MAX)
    }

    /// The last start did not become ready.
    pub(super) fn is_failing(&self) -> bool {
        self.trouble()
            .is_some_and(|trouble| trouble.failed_starts > 0)
    }

    /// An instance became ready.
    pub(super) fn succeeded(&mut self) {
        self.standing = Standing::Proven;
        match &mut self.health {
            Health::Good => {}
            Health::Troubled(trouble) => trouble.failed_starts = 0,
        }
    }

    /// An instance failed. `settled`: it had served for so long that earlier failures no longer
    /// count.
    pub(super) fn failed(&mut self, cause: Failure, now: Instant, rng: &mut fastrand::Rng) {
        let (failures, failed_starts) = match (&cause, &self.health) {
            (Failure::Crashed { after, .. } | Failure::Unwell { after, .. }, _)
                if *after >= SETTLED_AFTER =>
            {
                (0, 0)
            }
            (Failure::Crashed { .. } | Failure::Unwell { .. }, Health::Good) => (1, 0),
            (Failure::Crashed { .. } | Failure::Unwell { .. }, Health::Troubled(trouble)) => {
                (trouble.failures.saturating_add(1), 0)
            }
            (
                Failure::NotSpawned { .. }
                | Failure::EndedEarly { .. }
                | Failure::NotReady { .. }
                | Failure::Earlier { .. },
                Health::Good,
            ) => (1, 1),
            (
                Failure::NotSpawned { .. }
                | Failure::EndedEarly { .. }
                | Failure::NotReady { .. }
                | Failure::Earlier { .. },
                Health::Troubled(trouble),
            ) => (
                trouble.failures.saturating_add(1),
                trouble.failed_starts.saturating_add(1),
            ),
        };
        let mut trouble = Trouble {
            cause,
            failures,
            failed_starts,
            pause: Duration::ZERO,
            next_try: NextTry::Due,
        };
        trouble.wait(&self.spec, now, rng);
        self.health = Health::Troubled(trouble);
    }

    /// Lets it try again at once: somebody asked for it.
    pub(super) fn retry_now(&mut self) {
        match &mut self.health {
            Health::Good => {}
            Health::Troubled(trouble) => trouble.next_try = NextTry::Due,
        }
    }

    /// Ends a pause whose time has come.
    pub(super) fn pass_deadline(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.retry_now();
        }
    }

    /// When its pause ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.trouble()?.next_try {
            NextTry::At(at) => Some(at),
            NextTry::Due => None,
        }
    }

    /// Whether it may start an instance.
    pub(super) fn may_start(&self) -> bool {
        self.deadline().is_none()
    }

    pub(super) fn trouble(&self) -> Option<&Trouble> {
        match &self.health {
            Health::Good => None,
            Health::Troubled(trouble) => Some(trouble),
        }
    }

    /// It clearly won't start. It is still tried, slowly.
    pub(super) fn is_hopeless(&self) -> bool {
        self.trouble().is_some_and(Trouble::is_hopeless)
    }
}

impl Trouble {
    pub(super) fn is_hopeless(&self) -> bool {
        let lasting = self.failed_starts > 0 && self.cause.prospect() == Prospect::Lasting;
        lasting || self.failed_starts >= HOPELESS_AFTER
    }

    fn wait(&mut self, spec: &VassalSpec, now: Instant, rng: &mut fastrand::Rng) {
        if self.failures == 0 {
            return;
        }
        let restart = &spec.settings.restart;
        // What won't start is tried at the longest pause; the same chance spreads it.
        let failures = if self.is_hopeless() {
            u32::MAX
        } else {
            self.failures
        };
        self.pause = backoff::pause(restart, failures, rng);
        self.next_try = NextTry::At(later(now, self.pause));
    }
}
