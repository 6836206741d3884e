//! The route table: which site answers for a host, and what stands behind it right now.
//!
//! A table is a value. Changing it yields another that shares all but the changed part with the
//! first, so a request keeps the one it began with, and one edit among 100,000 sites costs no copy
//! of the rest. The emperor makes tables; the fastrouter follows them by [`RouteChange`]s.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use imbl::ordmap::DiffItem;
use imbl::{HashMap, OrdMap};
use thiserror::Error;

use crate::host_map::HostMap;
use crate::{
    CacheSettings, Generation, HostPattern, Hostname, Incarnation, InstanceNumber, SiteId, Slug,
    every_second_first,
};

/// Every route of one generation.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    generation: Generation,
    exact: HostMap<HostEntry>,
    /// Keyed by the parent, without the `*.`.
    wildcard: HashMap<Hostname, HostEntry>,
    sites: OrdMap<SiteId, Arc<SiteRoute>>,
    default_site: Option<Slug>,
    default_id: Option<SiteId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct HostEntry {
    site: SiteId,
    role: HostRole,
}

/// How the router treats one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteRoute {
    /// Whose route it is.
    pub id: SiteId,
    /// The site's slug, for the log and for [`RouteTable::with_default_site`].
    pub slug: Slug,
    /// Where redirects lead, and the host a probe asks with.
    pub canonical: Hostname,
    /// All hosts, the canonical one among them.
    pub hosts: Box<[(HostPattern, HostRole)]>,
    /// What answers.
    pub service: Service,
    /// How its requests are treated, whatever answers.
    pub settings: Arc<RouteSettings>,
}

/// What of a site's settings the router goes by. Most sites have the same, and share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteSettings {
    /// How many requests may wait, and how long.
    pub queue: QueueBounds,
    /// Paths of health checkers, whose requests don't mean that anybody wants the site's pages: they
    /// don't wake it, being answered with 204 while it sleeps, and don't keep it awake.
    pub check_paths: Arc<[String]>,
    /// What is kept of its pages; `None`: nothing.
    pub cache: Option<Arc<CacheSettings>>,
}

/// What a request for one host of a site gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostRole {
    /// The site's page.
    Serve,
    /// 301 to the canonical host.
    Redirect,
}

/// What stands behind a site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// These instances take requests; never empty.
    Ready(Vec<Backend>),
    /// None yet or none just now, but one is on its way: requests wait.
    Waiting,
    /// None, on purpose: the first request wakes the site, and waits for it.
    Asleep,
    /// What answers for this pool, by its own route.
    Pooled(SiteId),
    /// None, and waiting would be in vain.
    Unavailable(Unavailable),
}

impl SiteRoute {
    /// Holds its settings together with those of another, where they are equal.
    pub fn share(&mut self, other: &Self) {
        if self.settings == other.settings {
            self.settings = Arc::clone(&other.settings);
        }
    }
}

impl RouteSettings {
    /// What its site wants of the cache; `None`: nothing, as it may also say at length.
    pub fn cached(&self) -> Option<&Arc<CacheSettings>> {
        self.cache.as_ref().filter(|wanted| !wanted.is_off())
    }
}

/// Why a site answers nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unavailable {
    /// Its workers don't start.
    Failed,
    /// Its row is wrong, and no earlier revision runs.
    Rejected,
    /// Its row says `enabled = false`.
    Disabled,
}

/// One instance that takes requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its place among the site's instances.
    pub number: InstanceNumber,
    /// Which spawn it is: the key of everything the router remembers about it.
    pub incarnation: Incarnation,
    /// The unix socket it listens on.
    pub socket: PathBuf,
    /// What it speaks there.
    pub protocol: Protocol,
    /// How many requests it takes at a time; `None`: as many as come.
    pub concurrency: Option<NonZeroU32>,
}

/// What a worker speaks on its socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// HTTP/1.1 (RFC 9112).
    Http,
    /// The uwsgi protocol: one packet of request variables, then the body.
    Uwsgi,
    /// FastCGI 1.0.
    Fastcgi,
    /// SCGI.
    Scgi,
}

/// Bounds of a site's queue, in which requests wait while nothing is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueBounds {
    /// How many requests may wait at once.
    pub depth: u32,
    /// How long one may wait.
    pub timeout: Duration,
}

/// A step from one generation to the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteChange {
    /// The generation the table has afterwards: one more than before.
    pub generation: Generation,
    /// Sites that are new or differ.
    pub upserts: Vec<SiteRoute>,
    /// Sites that are gone.
    pub removals: Vec<SiteId>,
}

/// What a host leads to.
#[derive(Debug, Clone, Copy)]
pub enum Match<'table> {
    /// This site's page.
    Site(&'table Arc<SiteRoute>),
    /// 301 to the same path on this site's canonical host.
    Redirect(&'table Arc<SiteRoute>),
    /// Nothing: 404.
    Unknown,
}

/// Two sites claim one host. The emperor rejects the second before it publishes, so a router that
/// meets this has a table it must not use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("host {host} of site {claimant} already belongs to site {owner}")]
pub struct HostConflict {
    /// The host both claim.
    pub host: HostPattern,
    /// Who has it.
    pub owner: SiteId,
    /// Who wanted it too.
    pub claimant: SiteId,
}

impl RouteTable {
    /// A table of these routes.
    pub fn new(
        generation: Generation,
        routes: impl IntoIterator<Item = SiteRoute>,
    ) -> Result<Self, HostConflict> {
        let mut table = Self {
            generation,
            ..Self::default()
        };
        let sites = routes.into_iter().map(|route| (route.id, Arc::new(route)));
        let sites: Vec<_> = sites.collect();
        let mut by_host: Vec<_> = sites.iter().map(|(_, route)| route).collect();
        by_host.sort_by_cached_key(|route| table.exact.place_of(&route.canonical));
        for route in every_second_first(by_host) {
            table.lead_to(route)?;
        }
        table.sites = every_second_first(sites).collect();
        Ok(table)
    }

    /// The same table with a site that answers for unknown hosts, once one has that slug.
    #[must_use]
    pub fn with_default_site(mut self, slug: Option<Slug>) -> Self {
        self.default_id = self
            .sites
            .values()
            .find(|route| Some(&route.slug) == slug.as_ref())
            .map(|r| r.id);
        self.default_site = slug;
        self
    }

    /// Which version of the table this is.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// The route of one site.
    pub fn site(&self, id: SiteId) -> Option<&Arc<SiteRoute>> {
        self.sites.get(&id)
    }

    /// All routes, by id.
    pub fn sites(&self) -> impl Iterator<Item = &Arc<SiteRoute>> {
        self.sites.values()
    }

    /// The sites whose routes aren't those of an earlier table. Where this one was made of it, that costs
    /// as much as has changed, however many sites there are.
    pub fn changed_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = SiteId> + 'a {
        before.sites.diff(&self.sites).map(|change| match change {
            DiffItem::Add(id, _)
            | DiffItem::Remove(id, _)
            | DiffItem::Update { new: (id, _), .. } => *id,
        })
    }

    /// The route of whatever answers for a site: its own, or that of its pool. A table that comes in
    /// steps may not have the pool's yet, or not any more.
    pub fn vassal_of<'table>(
        &'table self,
        route: &'table Arc<SiteRoute>,
    ) -> Option<&'table Arc<SiteRoute>> {
        match route.service {
            Service::Pooled(pool) => self.sites.get(&pool),
            Service::Ready(_) | Service::Waiting | Service::Asleep | Service::Unavailable(_) => {
                Some(route)
            }
        }
    }

    /// Finds who answers for a host: the exact host, else the longest wildcard, else the default
    /// site.
    pub fn find(&self, host: &Hostname) -> Match<'_> {
        let entry = self
            .exact
            .get(host)
            .or_else(|| host.parents().find_map(|parent| self.wildcard.get(parent)));
        match entry {
            Some(HostEntry {
                site,
                role: HostRole::Serve,
            }) => Match::Site(&self.sites[site]),
            Some(HostEntry {
                site,
                role: HostRole::Redirect,
            }) => Match::Redirect(&self.sites[site]),
            None => self
                .default_id
                .and_then(|id| self.sites.get(&id))
                .map_or(Match::Unknown, Match::Site),
        }
    }

    /// The table after a change. On an error nothing of the change is taken.
    pub fn changed(&self, change: RouteChange) -> Result<Self, HostConflict> {
        let mut table = self.clone();
        table.generation = change.generation;
        // All that leave go first, so that a host may move from one site to another in one step.
        for id in &change.removals {
            table.remove(*id);
        }
        for route in &change.upserts {
            table.remove(route.id);
        }
        for route in change.upserts {
            table.insert(route)?;
        }
        Ok(table)
    }

    fn insert(&mut self, route: SiteRoute) -> Result<(), HostConflict> {
        self.lead_to(&route)?;
        if self.default_site.as_ref() == Some(&route.slug) {
            self.default_id = Some(route.id);
        }
        self.sites.insert(route.id, Arc::new(route));
        Ok(())
    }

    /// Its hosts lead to a site from now on.
    fn lead_to(&mut self, route: &SiteRoute) -> Result<(), HostConflict> {
        for (pattern, role) in &route.hosts {
            let entry = HostEntry {
                site: route.id,
                role: *role,
            };
            match self.lead(pattern, entry) {
                Some(before) if before.site != route.id => {
                    return Err(HostConflict {
                        host: pattern.clone(),
                        owner: before.site,
                        claimant: route.id,
                    });
                }
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: SiteId) {
        let Some(route) = self.sites.remove(&id) else {
            return;
        };
        for (pattern, _) in &route.hosts {
            match pattern {
                HostPattern::Exact(host) => self.exact.remove(host),
                HostPattern::Wildcard(parent) => drop(self.wildcard.remove(parent)),
            }
        }
        if self.default_id == Some(id) {
            self.default_id = None;
        }
    }

    /// Yields what the hosts led to before.
    fn lead(&mut self, pattern: &HostPattern, entry: HostEntry) -> Option<HostEntry> {
        match pattern {
            HostPattern::Exact(host) => self.exact.insert(host, entry),
            HostPattern::Wildcard(parent) => self.wildcard.insert(parent.clone(), entry),
        }
    }
}

#[cfg(test)]
mod tests;
