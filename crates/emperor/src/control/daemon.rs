//! What the control API asks of the daemon. A trait, so that the API is tested over a real socket
//! without a house behind it.

use std::future::Future;
use std::path::PathBuf;

use futures_util::stream::BoxStream;
use site_model::SiteId;
use site_registry::purges::{EventId, Purge};
use site_registry::{EditError, NewSite, SiteChange};
use wire::control::{
    CachedDocument, RenderDocument, RowDocument, StatusDocument, TemplateDocument,
};

use crate::daemon::{PurgeError, Reread, RereadError, Selection, Stopping};

/// The running daemon, as the control API sees it.
pub(crate) trait Daemon: Clone + Send + Sync + 'static {
    /// Everything that `emperor status` tells.
    fn status(&self) -> impl Future<Output = StatusDocument> + Send;

    /// The same with one site or pool alone, and what happened to it; `None`: there is none such.
    fn site_status(&self, site: SiteId) -> impl Future<Output = Option<StatusDocument>> + Send;

    /// Yields whenever something in that has changed, figures aside.
    fn changes(&self) -> BoxStream<'static, ()>;

    /// The site that a slug or an id means, or the pool that `pool.NAME` does.
    fn find(&self, reference: &str) -> Option<SiteId>;

    /// Every row, by id.
    fn rows(&self) -> Vec<RowDocument>;

    /// One row; `None`: there is none.
    fn row(&self, site: SiteId) -> Option<RowDocument>;

    /// Inserts a row.
    fn add(&self, site: NewSite) -> impl Future<Output = Result<SiteId, EditError>> + Send;

    /// Changes a row, whole or not at all.
    fn set(
        &self,
        site: SiteId,
        change: SiteChange,
    ) -> impl Future<Output = Result<(), EditError>> + Send;

    /// Deletes a row.
    fn remove(&self, site: SiteId) -> impl Future<Output = Result<(), EditError>> + Send;

    /// Replaces instances; returns which sites this concerns.
    fn reload(
        &self,
        selection: Selection,
    ) -> impl Future<Output = Result<Vec<SiteId>, Stopping>> + Send;

    /// Reads configuration, templates and rows again; returns when that is done.
    fn reread(&self) -> impl Future<Output = Result<Result<Reread, RereadError>, Stopping>> + Send;

    /// Records a purge of a site's pages, or of every site's; returns once it is committed.
    fn purge(
        &self,
        site: Option<SiteId>,
        what: Purge,
    ) -> impl Future<Output = Result<EventId, PurgeError>> + Send;

    /// What is stored of a site; `None`: the router doesn't tell now.
    fn cached(
        &self,
        site: SiteId,
        path: Option<String>,
    ) -> impl Future<Output = Option<CachedDocument>> + Send;

    /// Believes that the sites that are held are gone.
    fn confirm_removals(&self) -> impl Future<Output = Result<Vec<SiteId>, EditError>> + Send;

    /// Every template, by name.
    fn templates(&self) -> Vec<TemplateDocument>;

    /// What would run for a site or a pool; else why nothing would.
    fn render(&self, vassal: SiteId)
    -> impl Future<Output = Result<RenderDocument, String>> + Send;

    /// The log of the workers of a site, or of its pool.
    fn log(&self, site: SiteId) -> PathBuf;
}
