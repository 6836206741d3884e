//! Sites that sleep and that a request has come for: what the threads tell the link, which tells
//! the emperor.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use site_model::{SiteId, SiteRoute};

use crate::sync::{Mutex, MutexGuard, Notify};
use crate::weak::WeakMap;

/// Wishes to wake a site.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    wishes: Mutex<Wishes>,
    /// There is one that nobody has taken yet.
    wished: Notify,
}

#[derive(Debug, Default)]
struct Wishes {
    /// Not taken yet. Bounded by the number of sites.
    open: BTreeSet<SiteId>,
    /// The route with which a site was last wished awake: one that says the same to the second
    /// request is no reason to wish again. A new link brings new routes.
    answered: WeakMap<SiteId, SiteRoute>,
}

impl Wakes {
    /// A request waits for a site that sleeps by this route.
    pub(crate) fn wish(&self, route: &Arc<SiteRoute>) {
        let mut wishes = self.lock();
        let last = wishes.answered.get(&route.id);
        if last.is_some_and(|last| Arc::ptr_eq(&last, route)) {
            return;
        }
        wishes.answered.insert(route.id, route);
        wishes.open.insert(route.id);
        drop(wishes);
        self.wished.notify_one();
    }

    /// Takes a wish, waiting until there is one. Cancel safe.
    pub(crate) async fn next(&self) -> SiteId {
        loop {
            if let Some(site) = self.lock().open.pop_first() {
                return site;
            }
            self.wished.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Wishes> {
        // Nothing that holds the lock can leave the wishes half changed.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
