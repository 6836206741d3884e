//! The page cache of all sites, and what each of them wants of it.
//!
//! What a request has to find, the policy of its site, compiled, and the site's place in the cache, is made
//! when the first request of a site asks for it: most of very many sites sleep, and never have one. Sites
//! without a cache have none, so their requests pay for nothing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use page_cache::{Counted, Moment, PageCache, Policy, Purge, SiteCache};
use site_model::{CacheSettings, RouteTable, SiteId, SiteRoute};
use tokio::time::Instant;
use tracing::warn;
use wire::cache::{CacheStats, PAGES_PER_ANSWER, PageFrame, PurgeFrame, SiteCacheStats, SitePurge};

use crate::hearing::Hearing;

/// The cache as one site has it.
#[derive(Debug)]
pub(crate) struct SitePages {
    pub(crate) cache: Arc<PageCache>,
    pub(crate) site: Arc<SiteCache>,
    pub(crate) policy: Arc<Policy>,
    wanted: Arc<CacheSettings>,
}

/// What the control thread gives out with each table: what its sites have of the cache.
#[derive(Debug, Clone, Default)]
pub(crate) struct SitesPages {
    /// `None`: there is no cache.
    kept: Option<Arc<Kept>>,
    /// Which table it was given out with.
    edition: u64,
}

/// The same as a thread keeps it for as long as a table is in force.
#[derive(Debug, Default)]
pub(crate) struct FoundPages {
    pages: SitesPages,
    /// What was found, so that requests don't meet at the lock of all.
    found: RefCell<HashMap<SiteId, Option<Arc<SitePages>>>>,
}

/// The pages of all sites that have had a request.
#[derive(Debug)]
struct Kept {
    cache: Arc<PageCache>,
    state: Mutex<KeptState>,
}

#[derive(Debug, Default)]
struct KeptState {
    /// Of the last table. Threads that still have an earlier one make nothing: their sites may want
    /// something else by now, or be gone.
    edition: u64,
    sites: HashMap<SiteId, Arc<SitePages>>,
    /// One for all sites that want the same: most do.
    policies: HashMap<Arc<CacheSettings>, Weak<Policy>>,
}

/// Counts moments from one look at the calendar on, so that a clock that is set makes no page younger.
#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    began: Moment,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            started: Instant::now(),
            began: Moment::from_millis(0).after(since.unwrap_or_default()),
        }
    }

    pub(crate) fn at(&self, instant: Instant) -> Moment {
        self.began
            .after(instant.saturating_duration_since(self.started))
    }

    pub(crate) fn now(&self) -> Moment {
        self.at(Instant::now())
    }
}

/// The cache as the control thread keeps it.
#[derive(Debug, Default)]
pub(crate) struct PageKeeper {
    memory_bytes: u64,
    /// Whether purges are heard. The cache is made before it is known that they are.
    hearing: Arc<Hearing>,
    sites: SitesPages,
}

impl FoundPages {
    pub(crate) fn new(pages: SitesPages) -> Self {
        Self {
            pages,
            found: RefCell::default(),
        }
    }

    pub(crate) fn pages(&self) -> &SitesPages {
        &self.pages
    }

    /// Whether there is no cache.
    pub(crate) fn is_off(&self) -> bool {
        self.pages.kept.is_none()
    }

    /// What a site has of the cache; `None`: nothing of it is kept.
    pub(crate) fn of(&self, route: &SiteRoute) -> Option<Arc<SitePages>> {
        let mut found = self.found.borrow_mut();
        let pages = found
            .entry(route.id)
            .or_insert_with(|| self.pages.find(route));
        pages.clone()
    }
}

impl SitesPages {
    fn find(&self, route: &SiteRoute) -> Option<Arc<SitePages>> {
        let wanted = route.settings.cached()?;
        self.kept.as_ref()?.of(route.id, wanted, self.edition)
    }

    pub(crate) fn cache(&self) -> Option<&Arc<PageCache>> {
        self.kept.as_ref().map(|kept| &kept.cache)
    }

    /// How the cache does, and what each site of it has counted.
    pub(crate) fn stats(&self) -> CacheStats {
        let Some(kept) = &self.kept else {
            return CacheStats::default();
        };
        let full = kept.cache.fullness();
        let state = kept.lock();
        let counted = state
            .sites
            .iter()
            .filter_map(|(id, pages)| Some(site_stats(*id, pages.site.counted()?)));
        CacheStats {
            entries: full.entries as u64,
            bytes: full.bytes,
            fills: full.fills as u64,
            away: kept.cache.is_away(),
            sites: counted.collect(),
        }
    }
}

impl Kept {
    fn new(cache: PageCache) -> Self {
        Self {
            cache: Arc::new(cache),
            state: Mutex::default(),
        }
    }

    /// What a site has that wants this, as a thread asks with the table of that edition.
    fn of(&self, id: SiteId, wanted: &Arc<CacheSettings>, edition: u64) -> Option<Arc<SitePages>> {
        let mut state = self.lock();
        if let Some(pages) = state.sites.get(&id) {
            return (pages.wanted == *wanted).then(|| Arc::clone(pages));
        }
        if edition != state.edition {
            return None;
        }
        let pages = Arc::new(SitePages {
            policy: state.policy(id, wanted)?,
            site: self.cache.site(id),
            cache: Arc::clone(&self.cache),
            wanted: Arc::clone(wanted),
        });
        state.sites.insert(id, Arc::clone(&pages));
        Some(pages)
    }

    /// Another table is on its way to the threads: by an earlier one nothing more is made.
    fn begin(&self, edition: u64) {
        self.lock().edition = edition;
    }

    fn ids(&self) -> Vec<SiteId> {
        self.lock().sites.keys().copied().collect()
    }

    /// Takes from these sites what they have by rules that aren't the table's.
    fn compare(&self, table: &RouteTable, concerned: &[SiteId]) {
        let mut state = self.lock();
        for id in concerned {
            let now = table.site(*id).and_then(|route| route.settings.cached());
            // What was kept by other rules may not be kept by these.
            if let Some(before) = state.sites.get(id)
                && Some(&before.wanted) != now
            {
                state.sites.remove(id);
                self.cache.remove_site(*id);
            }
        }
    }

    /// Every holder leaves whole entries behind, also where it panics.
    fn lock(&self) -> MutexGuard<'_, KeptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeptState {
    fn policy(&mut self, id: SiteId, wanted: &Arc<CacheSettings>) -> Option<Arc<Policy>> {
        if let Some(policy) = self.policies.get(wanted).and_then(Weak::upgrade) {
            return Some(policy);
        }
        match Policy::compile(CacheSettings::clone(wanted)) {
            Ok(policy) => {
                let policy = Arc::new(policy);
                self.policies.retain(|_, policy| policy.strong_count() > 0);
                self.policies
                    .insert(Arc::clone(wanted), Arc::downgrade(&policy));
                Some(policy)
            }
            Err(error) => {
                warn!(site = id.get(), %error, "the site's pages are not kept; correct its [cache] table");
                None
            }
        }
    }
}

impl PageKeeper {
    /// What requests find from now on.
    pub(crate) fn sites(&self) -> &SitesPages {
        &self.sites
    }

    pub(crate) fn cache(&self) -> Option<&Arc<PageCache>> {
        self.sites.cache()
    }

    /// Bounds the cache. With another bound it begins anew, and empty.
    pub(crate) fn set_memory(&mut self, bytes: u64) {
        if bytes == self.memory_bytes {
            return;
        }
        self.memory_bytes = bytes;
        self.sites.kept = (bytes > 0).then(|| Arc::new(Kept::new(PageCache::new(bytes))));
        self.hearing.is_of(self.cache().cloned());
    }

    /// Follows a whole table.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        self.sites.edition += 1;
        if let Some(kept) = &self.sites.kept {
            kept.begin(self.sites.edition);
            kept.compare(table, &kept.ids());
        }
    }

    /// Follows a table in which these sites, and no others, are not what they were.
    pub(crate) fn follow_change(&mut self, table: &RouteTable, concerned: &[SiteId]) {
        self.sites.edition += 1;
        if let Some(kept) = &self.sites.kept {
            kept.begin(self.sites.edition);
            kept.compare(table, concerned);
        }
    }

    /// Whether purges are heard.
    pub(crate) fn hearing(&self) -> &Arc<Hearing> {
        &self.hearing
    }

    /// Forgets. Once this returns, none of it is served by any thread.
    pub(crate) fn purge(&self, sites: &[SitePurge]) {
        let Some(cache) = self.cache() else {
            return;
        };
        for site in sites {
            let purges: Vec<_> = site.purges.iter().map(purge_of).collect();
            // A site that can't be has no pages.
            if let Ok(id) = SiteId::new(site.site_id) {
                cache.purge(id, &purges);
            }
        }
    }

    /// Forgets everything.
    pub(crate) fn purge_all(&self) {
        if let Some(cache) = self.cache() {
            cache.purge_all();
        }
    }
}

fn purge_of(frame: &PurgeFrame) -> Purge {
    match frame {
        PurgeFrame::Path(path) => Purge::path(path),
        PurgeFrame::Prefix(prefix) => Purge::prefix(prefix),
        PurgeFrame::Tag(tag) => Purge::tag(tag),
        PurgeFrame::Site => Purge::Site,
    }
}

/// What is stored of a site, for people who ask.
pub(crate) fn show(
    cache: &PageCache,
    id: SiteId,
    path: Option<&str>,
    now: Moment,
) -> Vec<PageFrame> {
    let shown = cache.show(id, path, PAGES_PER_ANSWER, now);
    let frames = shown.into_iter().map(|page| PageFrame {
        host: page.host,
        path: page.path,
        query: page.query,
        variant: page.variant,
        status: page.status,
        stored_ms: page.stored.millis(),
        age: page.age,
        ttl: page.ttl,
        bytes: page.bytes,
        tags: page.tags,
        refused: page.refused.map(|reason| reason.name().to_owned()),
    });
    frames.collect()
}

fn site_stats(id: SiteId, counted: Counted) -> SiteCacheStats {
    let named = |counts: Vec<(page_cache::BypassReason, u64)>| {
        let named = counts.into_iter();
        named
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect()
    };
    SiteCacheStats {
        site_id: id.get(),
        hits: counted.hits,
        stale: counted.stale,
        misses: counted.misses,
        fills: counted.fills,
        revalidations: counted.revalidations,
        waits: counted.waits,
        evictions: counted.evictions,
        purges: counted.purges,
        pages: counted.pages,
        bytes: counted.bytes,
        bypasses: named(counted.bypasses),
        refusals: named(counted.refusals),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use site_model::{CacheMode, Generation, QueueBounds, RouteSettings, Service};

    use super::*;

    fn route(mode: Option<CacheMode>) -> SiteRoute {
        let cache = mode.map(|mode| CacheSettings {
            mode,
            ..CacheSettings::default()
        });
        SiteRoute {
            id: SiteId::new(1).unwrap(),
            slug: "blog".parse().unwrap(),
            canonical: "blog.example".parse().unwrap(),
            hosts: Box::default(),
            service: Service::Asleep,
            settings: Arc::new(RouteSettings {
                queue: QueueBounds {
                    depth: 1,
                    timeout: Duration::from_secs(1),
                },
                check_paths: Arc::default(),
                cache: cache.map(Arc::new),
            }),
        }
    }

    /// A keeper that follows a table, and what a thread finds as long as that is in force.
    fn follow(keeper: &mut PageKeeper, routes: &[SiteRoute]) -> FoundPages {
        let table = RouteTable::new(Generation::new(1), routes.to_vec()).unwrap();
        keeper.follow(&table);
        FoundPages::new(keeper.sites().clone())
    }

    fn keeper() -> PageKeeper {
        let mut keeper = PageKeeper::default();
        keeper.set_memory(1 << 20);
        keeper
    }

    #[test]
    fn threads_and_tables_share_what_a_site_has_until_it_wants_something_else() {
        let mut keeper = keeper();
        let (http, purged) = (CacheMode::Http, CacheMode::UntilPurged);
        let route_before = route(Some(http));
        let first = follow(&mut keeper, std::slice::from_ref(&route_before));
        let made = first.of(&route_before).unwrap();
        let later = follow(&mut keeper, std::slice::from_ref(&route_before));
        assert!(Arc::ptr_eq(&later.of(&route_before).unwrap(), &made));
        let other = follow(&mut keeper, &[route(Some(purged))]);
        let anew = other.of(&route(Some(purged))).unwrap();
        assert!(!Arc::ptr_eq(&anew.site, &made.site));
    }

    #[test]
    fn nothing_is_made_by_a_table_that_is_no_more() {
        let mut keeper = keeper();
        let route = route(Some(CacheMode::Http));
        let before = follow(&mut keeper, std::slice::from_ref(&route));
        let now = follow(&mut keeper, &[]);
        assert!(before.of(&route).is_none());
        assert!(now.of(&route).is_some());
    }

    #[test]
    fn a_site_that_wants_no_cache_has_none() {
        let mut keeper = keeper();
        for mode in [None, Some(CacheMode::Off)] {
            let pages = follow(&mut keeper, &[route(mode)]);
            assert!(pages.of(&route(mode)).is_none());
        }
        keeper.set_memory(0);
        let pages = follow(&mut keeper, &[route(Some(CacheMode::Http))]);
        assert!(pages.of(&route(Some(CacheMode::Http))).is_none());
    }
}
