//! The status board: the latest status of every site, for the control API.
//!
//! Actors write, anybody reads; nobody waits. What PostgreSQL is told goes through the registry,
//! from the same call.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use site_model::{SiteId, SiteStatus};
use site_registry::RegistryHandle;
use tokio::sync::watch;

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
    outlet: Box<dyn StatusOutlet>,
    /// Counts what changed.
    changes: watch::Sender<u64>,
}

impl StatusBoard {
    /// An empty board that passes on what it learns.
    pub(crate) fn new(outlet: impl StatusOutlet + 'static) -> Self {
        Self {
            sites: Mutex::default(),
            outlet: Box::new(outlet),
            changes: watch::Sender::new(0),
        }
    }

    /// Replaces the status of a site.
    pub(crate) fn report(&self, status: SiteStatus) {
        self.outlet.report(status.clone());
        let status = Arc::new(status);
        let before = self.lock().insert(status.id, Arc::clone(&status));
        if before.as_ref() != Some(&status) {
            self.tell();
        }
    }

    /// Takes a site off the board.
    pub(crate) fn forget(&self, site: SiteId) {
        self.outlet.forget(site);
        if self.lock().remove(&site).is_some() {
            self.tell();
        }
    }

    /// How often the board changed: to be followed, and never read for its value.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
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
