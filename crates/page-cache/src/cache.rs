//! The cache as the router sees it: sites, lookups, fills and purges, put together.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::{HeaderMap, StatusCode};
use parking_lot::RwLock;
use site_model::SiteId;

use crate::counters::count;
use crate::fill::{Fills, Ticket, Turn};
use crate::head;
use crate::key;
use crate::lookup::{Ask, Found, Lookup, decide, found};
use crate::moment::Moment;
use crate::page::{Kind, Page};
use crate::permit::FillPermit;
use crate::policy::{Mode, Policy};
use crate::purge::{Purge, PurgeSequence};
use crate::reason::BypassReason;
use crate::request::{Asked, CacheRequest};
use crate::revalidation::invalidated;
use crate::serving::Hit;
use crate::site::SiteCache;
use crate::store::Store;
use crate::sweep::Sweep;

/// All stored pages of all sites, shared by the router's threads.
#[derive(Debug)]
pub struct PageCache {
    store: Store,
    fills: Arc<Fills>,
    sites: RwLock<HashMap<SiteId, Arc<SiteCache>>>,
    /// The number of the last purge of any site.
    numbers: AtomicU64,
    /// Whether nobody hears purges at the moment.
    away: AtomicBool,
}

/// Who asks the worker.
#[derive(Debug)]
pub enum Begin {
    /// This request: its permit says how.
    Fill(FillPermit),
    /// Another; wait for it, and then look up again.
    Wait(Ticket),
    /// Another, and what is stored may be served meanwhile.
    ServeStale(Hit),
}

/// How full the cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fullness {
    /// Pages stored, and places that stand for variants or for what can't be kept.
    pub entries: usize,
    /// What they weigh, in bytes.
    pub bytes: u64,
    /// Fills under way.
    pub fills: usize,
}

impl PageCache {
    /// A cache of so many bytes.
    pub fn new(memory_bytes: u64) -> Self {
        Self {
            store: Store::new(memory_bytes),
            fills: Arc::default(),
            sites: RwLock::default(),
            numbers: AtomicU64::new(0),
            away: AtomicBool::new(false),
        }
    }

    /// What is kept of a site; from now on, where nothing was.
    pub fn site(&self, id: SiteId) -> Arc<SiteCache> {
        if let Some(site) = self.sites.read().get(&id) {
            return Arc::clone(site);
        }
        let mut sites = self.sites.write();
        let made = || Arc::new(SiteCache::new(id, self.numbers.load(Ordering::Relaxed)));
        Arc::clone(sites.entry(id).or_insert_with(made))
    }

    /// Forgets a site that is no more. What is still filled for it is found by nobody.
    pub fn remove_site(&self, id: SiteId) {
        let removed = self.sites.write().remove(&id);
        if let Some(site) = removed {
            site.purge(&[Purge::Site], &self.numbers);
        }
    }

    /// Looks a request up. Nothing is decided about who asks the worker: see [`Self::begin`].
    pub fn look_up(
        &self,
        site: &Arc<SiteCache>,
        request: &CacheRequest<'_>,
        now: Moment,
    ) -> Lookup {
        let lookup = if self.is_away() {
            Lookup::Bypass(BypassReason::InvalidationAway)
        } else {
            let (key, found) = self.find(site, request, now);
            decide(request, key, found, now)
        };
        let counters = site.counters();
        match &lookup {
            Lookup::Fresh(_) => count(&counters.hits),
            Lookup::StaleServable { .. } => count(&counters.stale),
            Lookup::Revalidate(_) | Lookup::Miss(_) | Lookup::OnlyIfCached => {
                count(&counters.misses);
            }
            Lookup::Bypass(reason) => counters.bypassed(*reason),
        }
        lookup
    }

    /// The place of a request, and what stands there.
    fn find(
        &self,
        site: &Arc<SiteCache>,
        request: &CacheRequest<'_>,
        now: Moment,
    ) -> (Vec<u8>, Found) {
        let key = request.key.clone();
        let Some(page) = self.current(site, &key) else {
            return (key, Found::Nothing);
        };
        if page.kind() != Kind::Variants {
            return (key, found(page, now));
        }
        let key = key::secondary(&key, page.vary(), || head::lines(request.headers));
        match self.current(site, &key) {
            Some(variant) => (key, found(variant, now)),
            None => (key, Found::OtherVariants),
        }
    }

    /// What stands at a place, unless a purge has named it.
    pub(crate) fn current(&self, site: &Arc<SiteCache>, key: &[u8]) -> Option<Arc<Page>> {
        let page = self.store.get(key)?;
        // A page of a site that was removed, and whose number came back, is not this site's.
        if std::ptr::eq(page.site(), &raw const **site) && page.is_current() {
            return Some(page);
        }
        self.store.remove(&page);
        None
    }

    /// Makes a question this request's own, or another's.
    pub fn begin(&self, site: &Arc<SiteCache>, ask: Ask, now: Moment) -> Begin {
        // Before the worker is asked, so that every purge from here on counts against its answer.
        let began = site.purged_up_to();
        let turn = ask.shared.then(|| {
            let path = key::path_of(&ask.key);
            let is_doomed = |other: u64| site.is_named_since(PurgeSequence::new(other), path);
            self.fills.begin(&ask.key, began.get(), is_doomed)
        });
        let claim = match turn {
            None => None,
            Some(Turn::Mine(claim)) => Some(claim),
            Some(Turn::Another(ticket)) => {
                if let Some(hit) = ask.stale {
                    return Begin::ServeStale(hit);
                }
                count(&site.counters().waits);
                return Begin::Wait(ticket);
            }
        };
        Begin::Fill(FillPermit {
            site: Arc::clone(site),
            key: ask.key,
            claim,
            began,
            asked: now,
            previous: ask.previous,
        })
    }

    /// Forgets what purges name. Once this returns, none of it is served. `None` for a site of which
    /// nothing is kept.
    pub fn purge(&self, id: SiteId, purges: &[Purge]) -> Option<PurgeSequence> {
        let site = self.sites.read().get(&id).map(Arc::clone);
        site.map(|site| site.purge(purges, &self.numbers))
    }

    /// Forgets everything of every site.
    pub fn purge_all(&self) {
        for site in self.all_sites() {
            site.purge(&[Purge::Site], &self.numbers);
        }
    }

    /// Forgets what an answer to an unsafe method says is no longer true (RFC 9111 §4.4).
    pub fn invalidate(
        &self,
        site: &SiteCache,
        policy: &Policy,
        asked: Asked<'_>,
        status: StatusCode,
        headers: &HeaderMap,
    ) {
        let is_kept = |purge: &Purge| match purge {
            Purge::Path(path) => policy.mode(path) != Mode::Off && !policy.ignores(path),
            Purge::Prefix(_) | Purge::Tag(_) | Purge::Site => true,
        };
        let mut purges = invalidated(asked, status, headers);
        purges.retain(is_kept);
        if !purges.is_empty() {
            site.purge(&purges, &self.numbers);
        }
    }

    /// From now on nobody hears purges: nothing is served and nothing kept.
    pub fn suspend(&self) {
        self.away.store(true, Ordering::Release);
    }

    /// Purges are heard again. Whoever calls this has purged what may have been missed.
    pub fn resume(&self) {
        self.away.store(false, Ordering::Release);
    }

    /// Whether purges can't be heard.
    pub fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// A walk that compares every page with the purges of its site, where that is worth it.
    pub fn sweep(&self) -> Option<Sweep<'_>> {
        let mut sites = self.all_sites();
        sites.retain(|site| site.wants_sweep());
        (!sites.is_empty()).then(|| Sweep::new(&self.store, sites))
    }

    /// How full it is.
    pub fn fullness(&self) -> Fullness {
        Fullness {
            entries: self.store.len(),
            bytes: self.store.bytes(),
            fills: self.fills.len(),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The most that head and body of one page may weigh: a quarter of a shard, so that no page
    /// drives out all others.
    pub(crate) fn most_page_bytes(&self) -> u64 {
        self.store.most_bytes() / 4
    }

    fn all_sites(&self) -> Vec<Arc<SiteCache>> {
        self.sites.read().values().map(Arc::clone).collect()
    }

    pub(crate) fn pages_of(&self, id: SiteId) -> impl Iterator<Item = Arc<Page>> {
        self.store.walk().filter(move |page| page.site().id() == id)
    }
}
