//! A route as it stands on the board: whole, or as it follows from a vassal's rest.

use std::sync::Arc;

use site_model::{SiteId, SiteRoute};
use vassal_core::Resting;

/// A route, as it is kept.
#[derive(Debug, Clone)]
pub(in crate::daemon) enum Posted {
    /// Whole.
    Route(Arc<SiteRoute>),
    /// Of a vassal at rest: made anew whenever a router is told of it.
    Resting(Arc<Resting>),
}

impl Posted {
    /// Whose it is.
    pub(in crate::daemon) fn id(&self) -> SiteId {
        match self {
            Self::Route(route) => route.id,
            Self::Resting(resting) => resting.id,
        }
    }

    /// Whole; `None`: routers aren't to know the site.
    pub(in crate::daemon) fn route(&self) -> Option<Arc<SiteRoute>> {
        match self {
            Self::Route(route) => Some(Arc::clone(route)),
            Self::Resting(resting) => resting.route().map(Arc::new),
        }
    }
}

impl From<SiteRoute> for Posted {
    fn from(route: SiteRoute) -> Self {
        Self::Route(Arc::new(route))
    }
}

impl From<Arc<SiteRoute>> for Posted {
    fn from(route: Arc<SiteRoute>) -> Self {
        Self::Route(route)
    }
}

impl From<Arc<Resting>> for Posted {
    fn from(resting: Arc<Resting>) -> Self {
        Self::Resting(resting)
    }
}
