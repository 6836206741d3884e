//! The page cache of all sites, and what each of them wants of it.
//!
//! The control thread makes of a route table the little that a request has to find: the policy of its
//! site, compiled, and the site's place in the cache. Sites without a cache have none, so their requests
//! look once into a map and pay for nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use page_cache::counters::Counted;
use page_cache::{Moment, PageCache, Policy, Purge, SiteCache};
use site_model::{CacheSettings, RouteTable, SiteId};
use tokio::time::Instant;
use tracing::warn;
use wire::cache::{CacheStats, PAGES_PER_ANSWER, PageFrame, PurgeFrame, SiteCacheStats, SitePurge};

use crate::hearing::Hearing;

/// What requests find, by site. A copy shares all but what differs.
pub(crate) type SitesPages = imbl::HashMap<SiteId, Arc<SitePages>>;

/// The cache as one site has it.
#[derive(Debug)]
pub(crate) struct SitePages {
    pub(crate) cache: Arc<PageCache>,
    pub(crate) site: Arc<SiteCache>,
    pub(crate) policy: Arc<Policy>,
    wanted: Arc<CacheSettings>,
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
#[derive(Debug)]
pub(crate) struct PageKeeper {
    /// `None`: none is wanted, or nobody has said so yet.
    cache: Option<Arc<PageCache>>,
    memory_bytes: u64,
    /// Whether purges are heard. The cache is made before it is known that they are.
    hearing: Arc<Hearing>,
    /// One for all sites that want the same: most do.
    policies: HashMap<Arc<CacheSettings>, Weak<Policy>>,
    sites: SitesPages,
}

impl Default for PageKeeper {
    fn default() -> Self {
        Self {
            cache: None,
            memory_bytes: 0,
            hearing: Arc::default(),
            policies: HashMap::new(),
            sites: SitesPages::new(),
        }
    }
}

impl PageKeeper {
    /// What requests find from now on.
    pub(crate) fn sites(&self) -> &SitesPages {
        &self.sites
    }

    pub(crate) fn cache(&self) -> Option<&Arc<PageCache>> {
        self.cache.as_ref()
    }

    /// Bounds the cache. With another bound it begins anew, and empty.
    pub(crate) fn set_memory(&mut self, bytes: u64) {
        if bytes == self.memory_bytes {
            return;
        }
        self.memory_bytes = bytes;
        self.cache = (bytes > 0).then(|| Arc::new(PageCache::new(bytes)));
        self.hearing.is_of(self.cache.clone());
        self.sites = SitesPages::new();
    }

    /// Follows a whole table.
    pub(crate) fn follow(&mut self, table: &RouteTable) {
        let known: Vec<_> = self.sites.keys().copied().collect();
        for id in known {
            self.look_at(table, id);
        }
        for route in table.sites() {
            self.look_at(table, route.id);
        }
    }

    /// Looks whether a site wants something else now.
    pub(crate) fn look_at(&mut self, table: &RouteTable, id: SiteId) {
        let Some(cache) = self.cache.clone() else {
            return;
        };
        let Some(route) = table.site(id) else {
            self.sites.remove(&id);
            cache.remove_site(id);
            return;
        };
        let wanted = route.cache.as_ref().filter(|wanted| !wanted.is_off());
        let before = self.sites.get(&id);
        if before.map(|before| &before.wanted) == wanted {
            return;
        }
        if before.is_some() {
            // What was kept by other rules may not be kept by these.
            self.sites.remove(&id);
            cache.remove_site(id);
        }
        let policy = wanted.and_then(|wanted| Some((wanted, self.policy(id, wanted)?)));
        if let Some((wanted, policy)) = policy {
            let pages = SitePages {
                site: cache.site(id),
                cache,
                policy,
                wanted: Arc::clone(wanted),
            };
            self.sites.insert(id, Arc::new(pages));
        }
    }

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

    /// Whether purges are heard.
    pub(crate) fn hearing(&self) -> &Arc<Hearing> {
        &self.hearing
    }

    /// Forgets. Once this returns, none of it is served by any thread.
    pub(crate) fn purge(&self, sites: &[SitePurge]) {
        let Some(cache) = &self.cache else {
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
        if let Some(cache) = &self.cache {
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

/// How the cache does, and what each site of it has counted.
pub(crate) fn stats(cache: &PageCache, sites: &SitesPages) -> CacheStats {
    let full = cache.fullness();
    let counted = sites
        .iter()
        .filter_map(|(id, pages)| Some(site_stats(*id, pages.site.counted()?)));
    CacheStats {
        entries: full.entries as u64,
        bytes: full.bytes,
        fills: full.fills as u64,
        away: cache.is_away(),
        sites: counted.collect(),
    }
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
