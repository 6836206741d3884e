//! What every handler of the control API has, and how it answers.

use axum::Json;
use site_model::SiteId;
use tokio_util::sync::CancellationToken;
use wire::control::RowDocument;

use super::daemon::Daemon;
use super::refusal::Refusal;

/// What every handler has.
#[derive(Debug, Clone)]
pub(super) struct Api<D> {
    pub(super) daemon: D,
    pub(super) shutdown: CancellationToken,
}

pub(super) type Answer<T> = Result<Json<T>, Refusal>;

impl<D: Daemon> Api<D> {
    /// The vassal that is meant: a site's, or a pool's.
    pub(super) fn find(&self, reference: &str) -> Result<SiteId, Refusal> {
        self.daemon
            .find(reference)
            .ok_or_else(|| Refusal::NoSuchSite(reference.to_owned()))
    }

    /// The site that is meant, where no pool can be.
    pub(super) fn find_site(&self, reference: &str) -> Result<SiteId, Refusal> {
        let id = self.find(reference)?;
        if id.is_pool() {
            return Err(Refusal::IsAPool(reference.to_owned()));
        }
        Ok(id)
    }

    pub(super) fn row(&self, reference: &str) -> Result<RowDocument, Refusal> {
        let row = self.daemon.row(self.find_site(reference)?);
        row.ok_or_else(|| Refusal::NoSuchSite(reference.to_owned()))
    }
}
