//! The status board: the latest status of every site, and which of them are yet to be written.
//!
//! It is bounded by the number of sites: a newer status of a site replaces the older one, however
//! fast they come and however long PostgreSQL is away. Nobody ever waits for it: the lock is held
//! for a few map operations and never across an `await`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use site_model::{SiteId, SiteStatus};
use tokio::sync::Notify;
use vassal_core::StatusTold;

/// Rows written in one statement.
const BATCH: usize = 500;

/// The latest status of every site.
#[derive(Debug, Default)]
pub(crate) struct Board {
    sites: Mutex<Sites>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Sites {
    latest: OrdMap<SiteId, StatusTold>,
    unwritten: BTreeSet<SiteId>,
    forgotten: BTreeSet<SiteId>,
}

/// What is to be written next.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// Rows to insert or update.
    pub(crate) upserts: Vec<Arc<SiteStatus>>,
    /// Rows to delete.
    pub(crate) deletes: Vec<SiteId>,
}

impl Batch {
    /// Whether there may be more than it holds.
    pub(crate) fn is_full(&self) -> bool {
        self.upserts.len() == BATCH
    }
}

impl Board {
    /// Replaces a site's status; false: it was the same.
    pub(crate) fn report(&self, told: StatusTold) -> bool {
        let id = told.id();
        let mut sites = self.lock();
        sites.forgotten.remove(&id);
        let is_news = sites.latest.get(&id) != Some(&told);
        // The same may be kept in another way now.
        sites.latest.insert(id, told);
        if is_news {
            sites.unwritten.insert(id);
            drop(sites);
            self.changed.notify_one();
        }
        is_news
    }

    /// Removes a site; false: it was not there.
    pub(crate) fn forget(&self, site: SiteId) -> bool {
        let mut sites = self.lock();
        let was_there = sites.latest.remove(&site).is_some();
        sites.unwritten.remove(&site);
        sites.forgotten.insert(site);
        drop(sites);
        self.changed.notify_one();
        was_there
    }

    /// The latest of one site.
    pub(crate) fn get(&self, site: SiteId) -> Option<StatusTold> {
        self.lock().latest.get(&site).cloned()
    }

    /// The latest of all.
    pub(crate) fn all(&self) -> OrdMap<SiteId, StatusTold> {
        self.lock().latest.clone()
    }

    /// Waits until there may be something to write. Cancel safe: a change that comes between two
    /// calls is remembered.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes what is to be written next; `None` when nothing is.
    pub(crate) fn take(&self) -> Option<Batch> {
        let mut sites = self.lock();
        let ids: Vec<_> = sites.unwritten.iter().copied().take(BATCH).collect();
        let mut batch = Batch::default();
        for id in ids {
            sites.unwritten.remove(&id);
            batch
                .upserts
                .extend(sites.latest.get(&id).map(StatusTold::status));
        }
        batch.deletes = std::mem::take(&mut sites.forgotten).into_iter().collect();
        (batch != Batch::default()).then_some(batch)
    }

    /// Puts a batch back that could not be written. What was reported since then wins.
    pub(crate) fn put_back(&self, batch: Batch) {
        let mut sites = self.lock();
        for status in batch.upserts {
            if sites.latest.contains_key(&status.id) {
                sites.unwritten.insert(status.id);
            }
        }
        for id in batch.deletes {
            if !sites.latest.contains_key(&id) {
                sites.forgotten.insert(id);
            }
        }
    }

    /// Adds the sites on the board to some others.
    pub(crate) fn with_own(&self, mut others: Vec<SiteId>) -> Vec<SiteId> {
        others.extend(self.lock().latest.keys().copied());
        others
    }

    /// Marks every status as unwritten: another server may be at the other end now.
    pub(crate) fn rewrite_all(&self) {
        let mut sites = self.lock();
        sites.unwritten = sites.latest.keys().copied().collect();
        drop(sites);
        self.changed.notify_one();
    }

    /// A panic of a holder leaves nothing half done: each holder changes whole entries.
    fn lock(&self) -> MutexGuard<'_, Sites> {
        self.sites.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use site_model::SiteState;

    use super::*;

    fn id(value: i64) -> SiteId {
        SiteId::new(value).unwrap()
    }

    fn status(site: i64, state: SiteState) -> Arc<SiteStatus> {
        Arc::new(SiteStatus {
            id: id(site),
            state,
            detail: String::new(),
            hosts: vec![],
            revision: None,
            wanted: None,
            restarts: 0,
            instances: vec![],
        })
    }

    fn told(site: i64, state: SiteState) -> StatusTold {
        StatusTold::Status(status(site, state))
    }

    #[test]
    fn the_latest_status_of_a_site_is_written_once() {
        let board = Board::default();
        board.report(told(1, SiteState::Starting));
        board.report(told(1, SiteState::Ready));
        let batch = board.take().unwrap();
        assert_eq!(batch.upserts, [status(1, SiteState::Ready)]);
        assert_eq!(board.take(), None);
        board.report(told(1, SiteState::Ready));
        assert_eq!(board.take(), None, "the same status was written twice");
    }

    #[test]
    fn a_batch_that_failed_does_not_overwrite_what_came_since() {
        let board = Board::default();
        board.report(told(1, SiteState::Starting));
        board.forget(id(2));
        let failed = board.take().unwrap();
        board.report(told(1, SiteState::Ready));
        board.report(told(2, SiteState::Ready));
        board.put_back(failed);
        let batch = board.take().unwrap();
        assert_eq!(
            batch.upserts,
            [status(1, SiteState::Ready), status(2, SiteState::Ready)]
        );
        assert!(batch.deletes.is_empty());
    }

    #[test]
    fn a_forgotten_site_is_deleted_and_not_written() {
        let board = Board::default();
        board.report(told(1, SiteState::Ready));
        board.forget(id(1));
        let batch = board.take().unwrap();
        assert_eq!((batch.upserts.len(), batch.deletes), (0, vec![id(1)]));
    }

    #[test]
    fn a_large_house_is_written_in_batches() {
        let board = Board::default();
        for site in 1..=600 {
            board.report(told(site, SiteState::Ready));
        }
        let sizes: Vec<_> = std::iter::from_fn(|| board.take())
            .map(|batch| batch.upserts.len())
            .collect();
        assert_eq!(sizes, [500, 100]);
        board.rewrite_all();
        assert_eq!(board.take().unwrap().upserts.len(), 500);
    }
}
