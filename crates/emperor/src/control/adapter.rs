//! The running daemon as the control API sees it: values become documents.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use futures_util::stream::BoxStream;
use site_model::{InstanceStatus, SiteId, SiteState, SiteStatus};
use site_registry::purges::{EventId, Purge};
use site_registry::{ConnectionStatus, EditError, NewSite, SiteChange, Source as RowsSource};
use vassal_core::diagnostic::Source;
use vassal_core::resolve::TemplateInfo;
use wire::control::{
    CachedDocument, DatabaseStatus, EmperorStatus, InstanceDocument, PoolDocument, RenderDocument,
    RouterStatus, RowDocument, SiteDocument, StatusDocument, TemplateDocument,
};
use wire::route::{InstanceStats, RouterStats};

use super::caches::{self, SitesCaches};
use super::rollout::{self, Waits};
use super::story::{self, rfc3339};
use super::{Daemon, pools, rendering, rows};
use crate::daemon::process::resident_bytes;
use crate::daemon::router::keeper::RouterState;
use crate::daemon::{
    Handle, Overview, PoolEntry, PurgeError, Reread, RereadError, RouterOverview, Selection,
    SiteEntry, Stopping,
};
use crate::runtime::off_the_loop;

impl Daemon for Handle {
    async fn status(&self) -> StatusDocument {
        let (handle, router) = (self.clone(), self.router().await);
        // Ten thousand sites are milliseconds of work: not on a thread that others wait for.
        off_the_loop(move || {
            let overview = handle.overview(router);
            document(&overview, &memory_of(&overview))
        })
        .await
    }

    async fn site_status(&self, site: SiteId) -> Option<StatusDocument> {
        let overview = self.overview_of(site).await?;
        // Reading every process's figures is disk-like work.
        Some(off_the_loop(move || document(&overview, &memory_of(&overview))).await)
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        Self::changes(self)
    }

    fn find(&self, reference: &str) -> Option<SiteId> {
        Self::find(self, reference)
    }

    fn rows(&self) -> Vec<RowDocument> {
        let desired = self.registry().desired().borrow().clone();
        desired.rows.values().map(rows::document).collect()
    }

    fn row(&self, site: SiteId) -> Option<RowDocument> {
        let desired = self.registry().desired().borrow().clone();
        desired.rows.get(&site).map(rows::document)
    }

    async fn add(&self, site: NewSite) -> Result<SiteId, EditError> {
        self.registry().add_site(site).await
    }

    async fn set(&self, site: SiteId, change: SiteChange) -> Result<(), EditError> {
        self.registry().set_site(site, change).await
    }

    async fn remove(&self, site: SiteId) -> Result<(), EditError> {
        self.registry().remove_site(site).await
    }

    async fn reload(&self, selection: Selection) -> Result<Vec<SiteId>, Stopping> {
        Self::reload(self, selection).await
    }

    async fn reread(&self) -> Result<Result<Reread, RereadError>, Stopping> {
        Self::reread(self).await
    }

    async fn confirm_removals(&self) -> Result<Vec<SiteId>, EditError> {
        Self::confirm_removals(self).await
    }

    async fn purge(&self, site: Option<SiteId>, what: Purge) -> Result<EventId, PurgeError> {
        Self::purge(self, site, what).await
    }

    async fn cached(&self, site: SiteId, path: Option<String>) -> Option<CachedDocument> {
        let (pages, router) = self.pages(site, path).await?;
        let stats = caches::by_site(&router).remove(&site.get());
        Some(CachedDocument {
            site: site.get(),
            suspended: caches::whole(&router)?.suspended,
            counters: stats.map(caches::site),
            pages: pages.into_iter().map(caches::page).collect(),
        })
    }

    fn templates(&self) -> Vec<TemplateDocument> {
        let catalog = self.catalog();
        catalog
            .templates()
            .map(|template| template_document(&template))
            .collect()
    }

    async fn render(&self, vassal: SiteId) -> Result<RenderDocument, String> {
        rendering::of(self, vassal).await
    }

    fn log(&self, site: SiteId) -> PathBuf {
        // What serves a site in a pool is the pool's worker.
        let vassal = self.pool_of(site).unwrap_or(site);
        self.logs_dir().join(format!("{vassal}.log"))
    }
}

/// The memory of the process groups that are told of, by their numbers.
fn memory_of(overview: &Overview) -> HashMap<u32, u64> {
    let sites = overview.sites.iter().map(|site| &site.status);
    let pools = overview.pools.iter().map(|pool| &pool.told.status);
    let instances = sites.chain(pools).flat_map(|status| &status.instances);
    let sessions: HashSet<_> = instances.filter_map(|instance| instance.pid).collect();
    if sessions.is_empty() {
        return HashMap::new();
    }
    resident_bytes(&sessions)
}

fn document(overview: &Overview, memory: &HashMap<u32, u64>) -> StatusDocument {
    let figures = Figures::new(overview, memory);
    StatusDocument {
        emperor: EmperorStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            node: overview.node.clone(),
            started_at: rfc3339(overview.started_at),
            database: database(&overview.database, overview.rows),
            removals_held: overview.removals_held.iter().map(|id| id.get()).collect(),
            starts: rollout::starts(overview.quiet_starts),
            rollout: rollout::progress(overview),
            purges: overview.purges.as_ref().map(caches::purges),
        },
        router: router(&overview.router),
        sites: overview
            .sites
            .iter()
            .map(|site| figures.site(site))
            .collect(),
        pools: overview
            .pools
            .iter()
            .map(|pool| figures.pool(pool))
            .collect(),
    }
}

fn database(connection: &ConnectionStatus, rows: RowsSource) -> DatabaseStatus {
    let (rows, kept_since) = match rows {
        RowsSource::Nothing => ("nothing", None),
        RowsSource::Snapshot { read_at } => ("snapshot", Some(read_at)),
        RowsSource::Database { read_at: _ } => ("database", connection.last_read_at),
    };
    DatabaseStatus {
        rows: rows.to_owned(),
        state: connection.state.as_str().to_owned(),
        target: connection.target.clone(),
        detail: connection.detail(),
        notification_queue_usage: connection.notification_queue_usage,
        last_read_at: kept_since.map(rfc3339),
    }
}

fn router(router: &RouterOverview) -> RouterStatus {
    let (state, detail, pid) = match &router.state {
        RouterState::Starting => ("starting", String::new(), None),
        RouterState::Running { pid } if router.peer.is_none() => {
            let detail = "its process runs and has not opened the link yet".to_owned();
            ("starting", detail, Some(*pid))
        }
        RouterState::Running { pid } => ("running", String::new(), Some(*pid)),
        RouterState::Failed { cause } => ("failed", cause.clone(), None),
    };
    let figure = |of: fn(&RouterStats) -> u64| router.stats.as_ref().map(of).unwrap_or_default();
    RouterStatus {
        state: state.to_owned(),
        detail,
        pid,
        listen: router.listen.clone(),
        generation: router.generation,
        connections: figure(|stats| stats.connections),
        requests: figure(|stats| stats.requests),
        in_flight: figure(|stats| stats.in_flight),
        cache: caches::whole(router),
    }
}

/// What is counted elsewhere, by what it is found by.
struct Figures<'a> {
    requests: BTreeMap<u64, &'a InstanceStats>,
    memory: &'a HashMap<u32, u64>,
    waits: Waits,
    caches: SitesCaches<'a>,
}

impl<'a> Figures<'a> {
    fn new(overview: &'a Overview, memory: &'a HashMap<u32, u64>) -> Self {
        let stats = overview.router.stats.as_ref();
        let instances = stats.iter().flat_map(|stats| &stats.instances);
        Self {
            requests: instances.map(|stats| (stats.incarnation, stats)).collect(),
            memory,
            waits: Waits::new(&overview.replacing),
            caches: caches::by_site(&overview.router),
        }
    }

    fn site(&self, entry: &SiteEntry) -> SiteDocument {
        let (status, story) = (&entry.status, &entry.story);
        SiteDocument {
            id: status.id.get(),
            slug: entry.slug.clone(),
            pool: entry.pool.clone(),
            state: status.state.to_string(),
            detail: self.detail(status),
            hosts: status.hosts.iter().map(ToString::to_string).collect(),
            revision: status.revision.map(|revision| revision.to_string()),
            restarts: status.restarts,
            instances: self.instances(status),
            cache: self.caches.get(&status.id.get()).map(|it| caches::site(it)),
            next_try_at: story.next_try_at.map(rfc3339),
            exit: story.last_exit.as_ref().map(story::exit),
            last_start: story.last_start.as_ref().map(story::start),
            events: story.happened.iter().map(story::event).collect(),
        }
    }

    fn pool(&self, entry: &PoolEntry) -> PoolDocument {
        let (told, story) = (&entry.told, &entry.story);
        let status = &told.status;
        PoolDocument {
            name: told.name.clone(),
            state: status.state.to_string(),
            detail: self.detail(status),
            revision: status.revision.map(|revision| revision.to_string()),
            restarts: status.restarts,
            instances: self.instances(status),
            site_count: told.sites.len(),
            sites: pools::sites(entry),
            next_try_at: story.next_try_at.map(rfc3339),
            exit: story.last_exit.as_ref().map(story::exit),
            last_start: story.last_start.as_ref().map(story::start),
            events: story.happened.iter().map(story::event).collect(),
        }
    }

    fn instances(&self, status: &SiteStatus) -> Vec<InstanceDocument> {
        let instances = status.instances.iter();
        instances.map(|one| self.instance(one)).collect()
    }

    /// What its status says, and what it waits for where it waits to be replaced.
    fn detail(&self, status: &SiteStatus) -> String {
        match status.state {
            SiteState::Reloading => format!("{}{}", status.detail, self.waits.of(status.id)),
            SiteState::Starting
            | SiteState::Ready
            | SiteState::Sleeping
            | SiteState::Waking
            | SiteState::BackingOff
            | SiteState::Failed
            | SiteState::Rejected
            | SiteState::Disabled
            | SiteState::Stopping => status.detail.clone(),
        }
    }

    fn instance(&self, instance: &InstanceStatus) -> InstanceDocument {
        let requests = self.requests.get(&instance.incarnation.get());
        let memory = instance.pid.and_then(|pid| self.memory.get(&pid));
        InstanceDocument {
            number: instance.number.get(),
            pid: instance.pid,
            incarnation: instance.incarnation.get(),
            revision: instance.revision.to_string(),
            state: instance.state.to_string(),
            socket: instance.socket.clone(),
            started_at: instance.started_at.map(rfc3339),
            rss_bytes: memory.copied().unwrap_or_default(),
            requests: requests.map(|stats| stats.requests).unwrap_or_default(),
            in_flight: requests.map(|stats| stats.in_flight).unwrap_or_default(),
        }
    }
}

fn template_document(template: &TemplateInfo<'_>) -> TemplateDocument {
    let source: &Source = template.source;
    TemplateDocument {
        name: template.name.to_string(),
        description: template.description.to_owned(),
        origin: source.origin().to_owned(),
        text: source.text().to_owned(),
        problem: template
            .problem
            .map(ToString::to_string)
            .unwrap_or_default(),
    }
}
