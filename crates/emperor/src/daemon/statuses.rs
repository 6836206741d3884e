//! The status board: the latest status of every site, for the control API.
//!
//! Actors write, anybody reads; nobody waits. What PostgreSQL is told goes through the registry,
//! from the same call.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use site_model::{SiteId, SiteStatus};
use site_registry::RegistryHandle;
use tokio::sync::Notify;

/// Where statuses go on to.
pub(crate) trait StatusOutlet: fmt::Debug + Send + Sync {
    /// A site has this status now. Must not wait.
    fn report(&self, status: SiteStatus);

    /// A site is gone. Must not wait.
    fn forget(&self, site: SiteId);
}

impl StatusOutlet for RegistryHandle {
    fn report(&self, status: SiteStatus) {
        Self::report(self, status);
    }

    fn forget(&self, site: SiteId) {
        Self::forget(self, site);
    }
}

/// The latest status of every site.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    sites: Mutex<OrdMap<SiteId, Arc<SiteStatus>>>,
    changed: Notify,
    outlet: Box<dyn StatusOutlet>,
}

impl StatusBoard {
    /// An empty board that passes on what it learns.
    pub(crate) fn new(outlet: impl StatusOutlet + 'static) -> Self {
        Self {
            sites: Mutex::default(),
            changed: Notify::new(),
            outlet: Box::new(outlet),
        }
    }

    /// Replaces the status of a site.
    pub(crate) fn report(&self, status: SiteStatus) {
        self.outlet.report(status.clone());
        self.lock().insert(status.id, Arc::new(status));
        self.changed.notify_one();
    }

    /// Takes a site off the board.
    pub(crate) fn forget(&self, site: SiteId) {
        self.outlet.forget(site);
        self.lock().remove(&site);
        self.changed.notify_one();
    }

    /// Waits until something was written since this last resolved. For one who waits. Cancel safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The status of one site.
    pub(crate) fn get(&self, site: SiteId) -> Option<Arc<SiteStatus>> {
        self.lock().get(&site).cloned()
    }

    /// All, by id.
    pub(crate) fn all(&self) -> Vec<Arc<SiteStatus>> {
        let snapshot = self.lock().clone();
        snapshot.values().cloned().collect()
    }

    /// Every holder makes one map operation, so a panic of one leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, OrdMap<SiteId, Arc<SiteStatus>>> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
