//! A vassal at rest, and what is told of it.
//!
//! Of very many sites nearly all sleep. What is told of one that does follows from what is wanted of it,
//! so that alone is kept; its status and its route are made anew for whoever asks.

use std::sync::Arc;

use site_model::{SiteId, SiteRoute, SiteState, SiteStatus};

use super::Lifecycle;
use super::goal::Goal;
use super::rollout::RolloutNumber;
use crate::Want;

/// A vassal of which nothing runs and nothing is due ([`Lifecycle::is_at_rest`]).
#[derive(Debug, Clone)]
pub struct Resting {
    /// Its site.
    pub id: SiteId,
    /// What is wanted of it.
    pub want: Want,
    /// How often an instance ended without having been told to.
    pub restarts: u64,
}

/// What is told about a site, as it is kept.
#[derive(Debug, Clone)]
pub enum StatusTold {
    /// In full.
    Status(Arc<SiteStatus>),
    /// As it follows from its rest.
    Resting(Arc<Resting>),
}

impl Resting {
    /// What is told about the site.
    pub fn status(&self) -> SiteStatus {
        self.life().status()
    }

    /// How the router is to treat the site; `None`: it isn't to know it.
    pub fn route(&self) -> Option<SiteRoute> {
        self.life().route()
    }

    fn life(&self) -> Lifecycle {
        let mut life = Lifecycle::nothing(self.id, self.restarts, 0);
        life.goal = Goal::Removed.aim(self.want.clone(), RolloutNumber(0));
        life
    }
}

impl StatusTold {
    /// Which site.
    pub fn id(&self) -> SiteId {
        match self {
            Self::Status(status) => status.id,
            Self::Resting(resting) => resting.id,
        }
    }

    /// Its state.
    pub fn state(&self) -> SiteState {
        match self {
            Self::Status(status) => status.state,
            Self::Resting(resting) => match resting.want {
                Want::Run(_) => SiteState::Sleeping,
                Want::Disabled(_) => SiteState::Disabled,
                Want::Pooled(_) => SiteState::Ready,
                Want::Rejected(_) => SiteState::Rejected,
            },
        }
    }

    /// In full.
    pub fn status(&self) -> Arc<SiteStatus> {
        match self {
            Self::Status(status) => Arc::clone(status),
            Self::Resting(resting) => Arc::new(resting.status()),
        }
    }
}

/// Two are equal when people are told the same, however it is kept.
impl PartialEq for StatusTold {
    fn eq(&self, other: &Self) -> bool {
        self.status() == other.status()
    }
}

impl From<SiteStatus> for StatusTold {
    fn from(status: SiteStatus) -> Self {
        Self::Status(Arc::new(status))
    }
}

impl From<Arc<Resting>> for StatusTold {
    fn from(resting: Arc<Resting>) -> Self {
        Self::Resting(resting)
    }
}
