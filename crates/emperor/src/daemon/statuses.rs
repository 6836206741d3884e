//! The status board: the latest status of every site, for the control API.
//!
//! Actors write, anybody reads; nobody waits. What PostgreSQL is told goes through the registry,
//! from the same call.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use imbl::OrdMap;
use site_model::{SiteId, SiteState, SiteStatus};
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

/// How much of a site's history is kept.
const HISTORY: usize = 20;

/// A site came into a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    /// When.
    pub(crate) at: SystemTime,
    /// Which state.
    pub(crate) state: SiteState,
    /// Why, in words.
    pub(crate) detail: String,
}

/// The latest status of every site.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    sites: Mutex<OrdMap<SiteId, Arc<SiteStatus>>>,
    /// What happened to sites that have run. One that has only slept has no history.
    histories: Mutex<BTreeMap<SiteId, VecDeque<Happened>>>,
    outlet: Box<dyn StatusOutlet>,
    /// Counts what changed.
    changes: watch::Sender<u64>,
}

impl StatusBoard {
    /// An empty board that passes on what it learns.
    pub(crate) fn new(outlet: impl StatusOutlet + 'static) -> Self {
        Self {
            sites: Mutex::default(),
            histories: Mutex::default(),
            outlet: Box::new(outlet),
            changes: watch::Sender::new(0),
        }
    }

    /// Replaces the status of a site.
    pub(crate) fn report(&self, status: SiteStatus) {
        self.note(&status);
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
        self.histories().remove(&site);
        if self.lock().remove(&site).is_some() {
            self.tell();
        }
    }

    /// How often the board changed: to be followed, and never read for its value.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What happened to a site, the latest last.
    pub(crate) fn history(&self, site: SiteId) -> Vec<Happened> {
        let histories = self.histories();
        histories
            .get(&site)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Keeps what is new about a site.
    fn note(&self, status: &SiteStatus) {
        let mut histories = self.histories();
        if !histories.contains_key(&status.id) && status.instances.is_empty() {
            return;
        }
        let history = histories.entry(status.id).or_default();
        let told = history.back();
        if told.is_some_and(|last| (last.state, &last.detail) == (status.state, &status.detail)) {
            return;
        }
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(Happened {
            at: SystemTime::now(),
            state: status.state,
            detail: status.detail.clone(),
        });
    }

    fn histories(&self) -> MutexGuard<'_, BTreeMap<SiteId, VecDeque<Happened>>> {
        self.histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use site_model::{Incarnation, InstanceNumber, InstanceState, InstanceStatus, Revision};

    use super::*;

    #[derive(Debug)]
    struct Nowhere;

    impl StatusOutlet for Nowhere {
        fn report(&self, _: SiteStatus) {}

        fn forget(&self, _: SiteId) {}
    }

    fn status(state: SiteState, detail: &str, instances: Vec<InstanceStatus>) -> SiteStatus {
        SiteStatus {
            id: SiteId::new(1).unwrap(),
            state,
            detail: detail.to_owned(),
            hosts: vec![],
            revision: None,
            restarts: 0,
            instances,
        }
    }

    fn instance() -> InstanceStatus {
        InstanceStatus {
            number: InstanceNumber::new(1),
            incarnation: Incarnation::new(1),
            revision: Revision::from_bytes([1; 16]),
            state: InstanceState::Queued,
            pid: None,
            socket: "/run/s".into(),
            started_at: None,
        }
    }

    #[test]
    fn the_last_changes_of_a_site_that_has_run_are_kept_and_no_others() {
        let board = StatusBoard::new(Nowhere);
        let id = SiteId::new(1).unwrap();
        board.report(status(SiteState::Sleeping, "", vec![]));
        assert_eq!(board.history(id), [], "it has only slept");
        for try_number in 0..30 {
            let detail = format!("try {try_number}");
            board.report(status(SiteState::Waking, &detail, vec![instance()]));
            board.report(status(SiteState::Waking, &detail, vec![]));
        }
        let history = board.history(id);
        assert_eq!(history.len(), HISTORY);
        assert_eq!(history[0].detail, "try 10");
        assert_eq!(history[HISTORY - 1].detail, "try 29");
        board.forget(id);
        assert_eq!(board.history(id), []);
    }
}
