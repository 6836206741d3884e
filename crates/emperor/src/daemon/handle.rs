//! What the rest of the program may ask of the running daemon: the control API holds a [`Handle`].
//!
//! Everything here is read from levels that the daemon keeps (boards and `watch` channels), so a
//! question never waits for a vassal, for PostgreSQL or for the router; the one exception, the
//! router's figures, has a bound. The handle knows nothing of HTTP, JSON or terminals.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use site_model::{SiteId, SiteState, SiteStatus};
use site_registry::purges::{EventId, Purge};
use site_registry::{ConnectionStatus, Desired, EditError, LinkError, RegistryHandle, Source};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use vassal_core::{Catalog, Want};
use wire::cache::PageFrame;
use wire::route::RouterStats;

use super::command::{Command, Reread, RereadCommand, RereadError, Selection, Stopping};
use super::purging::Purges;
use super::router::board::RouteBoard;
use super::router::keeper::RouterState;
use super::router::roster::Peer;
use super::statuses::{PoolTold, StatusBoard, Stay, StoryTold};
use super::turns::{LaneStatus, RolloutQueue, Turns};

/// How long the router may take to tell its figures; afterwards a status is answered without them.
const STATS_TIMEOUT: Duration = Duration::from_millis(500);
/// The same where nothing else is asked for: there is no answer without it, and who asks can wait.
const PAGES_TIMEOUT: Duration = Duration::from_secs(10);

/// Access to the running daemon.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

/// The levels behind a [`Handle`].
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) node: String,
    pub(super) state_dir: PathBuf,
    pub(super) started_at: SystemTime,
    pub(super) registry: RegistryHandle,
    pub(super) statuses: Arc<StatusBoard>,
    pub(super) turns: Arc<Turns>,
    pub(super) routes: Arc<RouteBoard>,
    pub(super) listen: Vec<String>,
    pub(super) router: watch::Receiver<RouterState>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) rereads: mpsc::Sender<RereadCommand>,
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    /// `None`: nobody keeps pages.
    pub(super) purges: watch::Receiver<Option<Purges>>,
}

/// Why a purge is not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurgeError {
    /// There is no cache.
    #[error("no page is kept here: router.cache.memory is 0, and no [[purge.target]] is named")]
    NothingIsKept,
    /// The database can't be had, or refuses.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Everything that is told about the daemon at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Overview {
    /// This machine's name.
    pub(crate) node: String,
    /// When the daemon started.
    pub(crate) started_at: SystemTime,
    /// The link to PostgreSQL.
    pub(crate) database: ConnectionStatus,
    /// Where the rows in force are from.
    pub(crate) rows: Source,
    /// Sites that are kept although their rows are gone, until `emperor confirm-removals`.
    pub(crate) removals_held: Vec<SiteId>,
    /// The fastrouter.
    pub(crate) router: RouterOverview,
    /// How purges are followed; `None`: nobody keeps pages.
    pub(crate) purges: Option<Purges>,
    /// How starts are doing that nobody waits for.
    pub(crate) quiet_starts: LaneStatus,
    /// Who is being replaced, and who waits for that.
    pub(crate) replacing: RolloutQueue,
    /// Every site, by id; one alone where one was asked for.
    pub(crate) sites: Vec<SiteEntry>,
    /// Every pool, by name; one alone where one was asked for.
    pub(crate) pools: Vec<PoolEntry>,
}

/// What is told about the fastrouter.
#[derive(Debug, Clone)]
pub(crate) struct RouterOverview {
    /// How its process is.
    pub(crate) state: RouterState,
    /// Where it accepts requests.
    pub(crate) listen: Vec<String>,
    /// Who is connected on the link; `None` while it starts or when it hangs.
    pub(crate) peer: Option<Peer>,
    /// Its figures; `None` where it did not tell them in time. Instances are found by incarnation.
    pub(crate) stats: Option<RouterStats>,
    /// The generation every one of its threads has in force.
    pub(crate) generation: u64,
}

/// One site.
#[derive(Debug, Clone)]
pub(crate) struct SiteEntry {
    /// The slug as it stands in the row; empty for a site that is ending and whose row is gone.
    pub(crate) slug: String,
    /// Its status.
    pub(crate) status: Arc<SiteStatus>,
    /// What happened to it; only where it alone was asked for.
    pub(crate) story: StoryTold,
    /// The pool that answers for it.
    pub(crate) pool: Option<String>,
}

/// One pool.
#[derive(Debug, Clone)]
pub(crate) struct PoolEntry {
    /// It, and who depends on it.
    pub(crate) told: PoolTold,
    /// Each of its sites, by id; only where it alone was asked for.
    pub(crate) sites: Vec<PoolSite>,
    /// What happened to it; only where it alone was asked for.
    pub(crate) story: StoryTold,
}

/// A site of a pool.
#[derive(Debug, Clone)]
pub(crate) struct PoolSite {
    /// Its id.
    pub(crate) id: SiteId,
    /// Its slug, as that of a [`SiteEntry`].
    pub(crate) slug: String,
    /// Its state.
    pub(crate) state: SiteState,
    /// Whether it is there, or on its way.
    pub(crate) stay: Stay,
}

impl Handle {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The daemon, the router as it was told, and every site; of their stories nothing.
    pub(crate) fn overview(&self, router: RouterOverview) -> Overview {
        let pools = self.shared.statuses.pools().into_iter();
        let pools = pools.map(|told| PoolEntry {
            told,
            sites: Vec::new(),
            story: StoryTold::default(),
        });
        let pools = pools.collect();
        let mut overview =
            self.overview_with(router, self.shared.statuses.all(), |_| StoryTold::default());
        overview.pools = pools;
        overview
    }

    /// The same with one site alone, or one pool, and its story; `None` where there is none such.
    pub(crate) async fn overview_of(&self, id: SiteId) -> Option<Overview> {
        let router = self.router().await;
        let statuses = &self.shared.statuses;
        if id.is_pool() {
            let pool = self.pool(id)?;
            let mut overview = self.overview_with(router, Vec::new(), |_| StoryTold::default());
            overview.pools = vec![pool];
            return Some(overview);
        }
        let status = statuses.get(id)?;
        Some(self.overview_with(router, vec![status], |id| statuses.story(id)))
    }

    fn overview_with(
        &self,
        router: RouterOverview,
        sites: Vec<Arc<SiteStatus>>,
        story_of: impl Fn(SiteId) -> StoryTold,
    ) -> Overview {
        // First: whoever is connected has the rows.
        let database = self.shared.registry.connection().borrow().clone();
        let desired = self.shared.registry.desired().borrow().clone();
        let pools = self.shared.statuses.pools();
        let pools: BTreeMap<_, _> = pools.iter().map(|pool| (pool.id, &*pool.name)).collect();
        let pool_of = |id| {
            let pool = self.shared.statuses.pool_of(id)?;
            pools.get(&pool).map(|name| (*name).to_owned())
        };
        let held = desired.held_removals.iter();
        Overview {
            node: self.shared.node.clone(),
            started_at: self.shared.started_at,
            database,
            rows: desired.source,
            removals_held: held.flat_map(|held| held.ids.iter().copied()).collect(),
            router,
            purges: self.shared.purges.borrow().clone(),
            quiet_starts: self.shared.turns.quiet(),
            replacing: self.shared.turns.replacing(),
            sites: sites
                .into_iter()
                .map(|status| SiteEntry {
                    slug: self.slug_of(&desired, status.id),
                    story: story_of(status.id),
                    pool: pool_of(status.id),
                    status,
                })
                .collect(),
            pools: Vec::new(),
        }
    }

    /// A pool with its sites and its story.
    fn pool(&self, id: SiteId) -> Option<PoolEntry> {
        let statuses = &self.shared.statuses;
        let told = statuses.pool(id)?;
        let desired = self.shared.registry.desired().borrow().clone();
        let sites = told.sites.iter().filter_map(|(site, stay)| {
            Some(PoolSite {
                id: *site,
                slug: self.slug_of(&desired, *site),
                state: statuses.get(*site)?.state,
                stay: *stay,
            })
        });
        Some(PoolEntry {
            sites: sites.collect(),
            story: statuses.story(id),
            told,
        })
    }

    /// One whose row is gone may be stopping still.
    fn slug_of(&self, desired: &Desired, id: SiteId) -> String {
        match desired.rows.get(&id) {
            Some(row) => row.slug().to_owned(),
            None => self.shared.statuses.slug(id).unwrap_or_default(),
        }
    }

    /// Yields whenever something that an overview tells has changed: a site, the rows, the link to
    /// PostgreSQL, the router. What is counted all the time (requests, memory) is no change.
    pub(crate) fn changes(&self) -> BoxStream<'static, ()> {
        let shared = &self.shared;
        let purges = shared.purges.borrow();
        let purges = purges
            .as_ref()
            .map(|purges| changes_of(purges.feed.state()));
        let all = [
            changes_of(shared.statuses.changes()),
            changes_of(shared.registry.desired()),
            changes_of(shared.registry.connection()),
            changes_of(shared.router.clone()),
            changes_of(shared.routes.peer()),
            changes_of(shared.purges.clone()),
        ];
        stream::select_all(all.into_iter().chain(purges)).boxed()
    }

    /// The fastrouter. Waits for its figures, 500 ms at most.
    pub(crate) async fn router(&self) -> RouterOverview {
        self.router_within(STATS_TIMEOUT).await
    }

    async fn router_within(&self, patience: Duration) -> RouterOverview {
        let stats = timeout(patience, self.shared.routes.stats()).await;
        RouterOverview {
            state: self.shared.router.borrow().clone(),
            listen: self.shared.listen.clone(),
            peer: self.shared.routes.peer().borrow().clone(),
            stats: stats.ok().flatten(),
            generation: self.shared.routes.acknowledged_generation().get(),
        }
    }

    /// The status of one site; `None` where there is no such site.
    pub(crate) fn site(&self, id: SiteId) -> Option<Arc<SiteStatus>> {
        self.shared.statuses.get(id)
    }

    /// The site an operator means: by its slug, else by its id.
    pub(crate) fn find(&self, reference: &str) -> Option<SiteId> {
        let desired = self.shared.registry.desired().borrow().clone();
        let pool = reference.strip_prefix("pool.");
        let pool = pool.and_then(|name| self.shared.statuses.pool_named(name));
        desired.find_slug(reference).or(pool).or_else(|| {
            let id = reference.parse().ok()?;
            (desired.rows.contains_key(&id) || self.site(id).is_some()).then_some(id)
        })
    }

    /// What is wanted of a vassal: a site by itself, or a pool; `None`: there is none.
    pub(crate) async fn wanted(&self, vassal: SiteId) -> Result<Option<Want>, Stopping> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let sent = self.shared.commands.send(Command::Tell(vassal, answer));
        sent.await.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// The pool that answers for a site.
    pub(crate) fn pool_of(&self, site: SiteId) -> Option<SiteId> {
        self.shared.statuses.pool_of(site)
    }

    /// Replaces instances although nothing changed, one after the other, and returns which sites
    /// this concerns once it has begun: those of the selection that are to run. Needs no database.
    pub(crate) async fn reload(&self, selection: Selection) -> Result<Vec<SiteId>, Stopping> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let command = Command::Reload(selection, answer);
        let sent = self.shared.commands.send(command).await;
        sent.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// Reads configuration, templates and rows again, as SIGHUP does, and returns when that is done:
    /// vassals are told at once, and their replacements go on.
    pub(crate) async fn reread(&self) -> Result<Result<Reread, RereadError>, Stopping> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        let sent = self.shared.rereads.send(answer).await;
        sent.map_err(|_| Stopping)?;
        answered.await.map_err(|_| Stopping)
    }

    /// Lets go of the sites that are held although their rows are gone, and returns them.
    pub(crate) async fn confirm_removals(&self) -> Result<Vec<SiteId>, EditError> {
        self.shared.registry.confirm_removals().await
    }

    /// Rows: to read and to change.
    pub(crate) fn registry(&self) -> &RegistryHandle {
        &self.shared.registry
    }

    /// What rows are resolved against: templates, overlays, policy and domains.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.shared.catalog.borrow())
    }

    /// Records a purge; `None` instead of a site: of every site. It is committed afterwards.
    pub(crate) async fn purge(
        &self,
        site: Option<SiteId>,
        what: Purge,
    ) -> Result<EventId, PurgeError> {
        let feed = {
            let purges = self.shared.purges.borrow();
            let purges = purges.as_ref().ok_or(PurgeError::NothingIsKept)?;
            purges.feed.clone()
        };
        Ok(feed.purge(site, what).await?)
    }

    /// What is stored of a site's pages, with the router's figures; `None`: no router that accepts told its
    /// pages within 10 s.
    pub(crate) async fn pages(
        &self,
        site: SiteId,
        path: Option<String>,
    ) -> Option<(Vec<PageFrame>, RouterOverview)> {
        let pages = timeout(PAGES_TIMEOUT, self.shared.routes.pages(site, path));
        let (pages, router) = tokio::join!(pages, self.router_within(PAGES_TIMEOUT));
        Some((pages.ok().flatten()?, router))
    }

    /// Where the sites' logs are: `<id>.log`, rotated to `<id>.log.1` and so on.
    pub(crate) fn logs_dir(&self) -> PathBuf {
        self.shared.state_dir.join("logs")
    }
}

/// Yields at each change from now on; ends with whoever makes them.
fn changes_of<T: Send + Sync + 'static>(mut level: watch::Receiver<T>) -> BoxStream<'static, ()> {
    level.mark_unchanged();
    let changes = stream::unfold(level, async |mut level| {
        level.changed().await.ok()?;
        Some(((), level))
    });
    changes.boxed()
}
