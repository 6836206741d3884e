//! What a vassal is after, and how a new wish changes that.

use std::sync::Arc;

use site_model::{CacheSettings, Revision};

use super::event::Haste;
use super::rollout::{Rollout, RolloutNumber, Standing};
use crate::{Address, Membership, Rejection, VassalSpec, Want};

/// What a vassal is after.
#[derive(Debug, Clone)]
pub(super) enum Goal {
    /// To run.
    Run {
        /// What is wanted.
        rollout: Rollout,
        /// What served before, and serves on until every instance of `rollout` is ready.
        fallback: Option<Rollout>,
    },
    /// What is wanted can't be run.
    Rejected {
        rejection: Arc<Rejection>,
        /// What served before, and serves on.
        fallback: Option<Rollout>,
    },
    /// To rest.
    Disabled(Arc<Address>),
    /// To leave its requests to a pool.
    Pooled(Arc<Membership>),
    /// To be gone.
    Removed,
    /// To be gone with the emperor.
    Shutdown {
        haste: Haste,
        address: Option<Arc<Address>>,
    },
}

impl Goal {
    /// The goal that a wish leads to from here.
    pub(super) fn aim(self, want: Want, next: RolloutNumber) -> Self {
        match want {
            Want::Run(spec) => self.aim_at(spec, next),
            Want::Disabled(address) => Self::Disabled(address),
            Want::Pooled(membership) => Self::Pooled(membership),
            Want::Rejected(rejection) => Self::Rejected {
                rejection,
                fallback: self.into_proven(),
            },
        }
    }

    /// The goal to replace every instance although nothing changed. Where none of what is wanted
    /// `serves`, it is tried again at once instead: there is nothing to be gained from a second line
    /// of attempts. What crashed and serves again is replaced like any other.
    pub(super) fn renew(self, serves: bool, next: RolloutNumber) -> Self {
        match self {
            Self::Run {
                mut rollout,
                fallback,
            } if !serves => {
                rollout.retry_now();
                Self::Run { rollout, fallback }
            }
            Self::Run {
                rollout,
                fallback: _,
            } => Self::Run {
                fallback: Some(rollout.clone()),
                rollout: Rollout::new(next, rollout.spec),
            },
            same @ (Self::Rejected { .. }
            | Self::Disabled(_)
            | Self::Pooled(_)
            | Self::Removed
            | Self::Shutdown { .. }) => same,
        }
    }

    /// What is to run, if anything is.
    pub(super) fn wanted_revision(&self) -> Option<Revision> {
        match self {
            Self::Run { rollout, .. } => Some(rollout.spec.revision),
            Self::Rejected { .. }
            | Self::Disabled(_)
            | Self::Pooled(_)
            | Self::Removed
            | Self::Shutdown { .. } => None,
        }
    }

    /// What instances are to be kept of: the first is wanted, the second serves meanwhile.
    pub(super) fn rollouts(&self) -> (Option<&Rollout>, Option<&Rollout>) {
        match self {
            Self::Run { rollout, fallback } => (Some(rollout), fallback.as_ref()),
            Self::Rejected { fallback, .. } => (fallback.as_ref(), None),
            Self::Disabled(_) | Self::Pooled(_) | Self::Removed | Self::Shutdown { .. } => {
                (None, None)
            }
        }
    }

    /// What is kept of its pages: as is wanted now, whichever revision serves.
    pub(super) fn cache(&self) -> Option<Arc<CacheSettings>> {
        if let Self::Pooled(membership) = self {
            return membership.cache.clone();
        }
        let spec = &self.rollouts().0?.spec;
        let cache = &spec.settings.cache;
        // What is kept of a pool's pages is kept of each site.
        (!cache.is_off() && !spec.site.id.is_pool()).then(|| Arc::clone(cache))
    }

    pub(super) fn rollouts_mut(&mut self) -> impl Iterator<Item = &mut Rollout> {
        let (first, second) = match self {
            Self::Run { rollout, fallback } => (Some(rollout), fallback.as_mut()),
            Self::Rejected { fallback, .. } => (fallback.as_mut(), None),
            Self::Disabled(_) | Self::Pooled(_) | Self::Removed | Self::Shutdown { .. } => {
                (None, None)
            }
        };
        first.into_iter().chain(second)
    }

    pub(super) fn rollout_mut(&mut self, number: RolloutNumber) -> Option<&mut Rollout> {
        self.rollouts_mut().find(|rollout| rollout.number == number)
    }

    /// Every instance of what is wanted is ready: nothing has to be fallen back on any more.
    pub(super) fn conclude(&mut self) {
        match self {
            Self::Run { fallback, .. } => *fallback = None,
            Self::Rejected { .. }
            | Self::Disabled(_)
            | Self::Pooled(_)
            | Self::Removed
            | Self::Shutdown { .. } => {}
        }
    }

    /// Of what sleeps nothing serves, so there is nothing to fall back on.
    pub(super) fn forget_fallback(&mut self) {
        match self {
            Self::Run { fallback, .. } | Self::Rejected { fallback, .. } => *fallback = None,
            Self::Disabled(_) | Self::Pooled(_) | Self::Removed | Self::Shutdown { .. } => {}
        }
    }

    fn aim_at(self, spec: Arc<VassalSpec>, next: RolloutNumber) -> Self {
        match self {
            Self::Run {
                mut rollout,
                fallback,
            } if rollout.spec.revision == spec.revision => {
                rollout.spec = spec;
                Self::Run { rollout, fallback }
            }
            other @ (Self::Run { .. }
            | Self::Rejected { .. }
            | Self::Disabled(_)
            | Self::Pooled(_)
            | Self::Removed
            | Self::Shutdown { .. }) => match other.into_proven() {
                // Taken back: what served is what is wanted again.
                Some(mut proven) if proven.spec.revision == spec.revision => {
                    // One that was adopted may know of its revision only what its row said.
                    proven.spec = spec;
                    proven.retry_now();
                    Self::Run {
                        rollout: proven,
                        fallback: None,
                    }
                }
                fallback => Self::Run {
                    rollout: Rollout::new(next, spec),
                    fallback,
                },
            },
        }
    }

    /// The newest rollout that is known to work.
    fn into_proven(self) -> Option<Rollout> {
        match self {
            Self::Run { rollout, .. } if rollout.standing == Standing::Proven => Some(rollout),
            Self::Run { fallback, .. } | Self::Rejected { fallback, .. } => fallback,
            Self::Disabled(_) | Self::Pooled(_) | Self::Removed | Self::Shutdown { .. } => None,
        }
    }
}
