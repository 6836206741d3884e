//! What is wanted of a vassal: the one value that `plan` compares and a `Lifecycle` aims at.

use std::sync::Arc;

use site_model::{
    AliasKind, CacheSettings, HostPattern, HostRole, Hostname, QueueBounds, RejectionReason,
    SiteId, Slug,
};

use crate::{SiteHosts, VassalSpec};

/// What is wanted of a vassal, as its row, its template and the configuration have it. All of it is behind
/// a pointer: there may be very many, in more than one map.
#[derive(Debug, Clone)]
pub enum Want {
    /// It is to run like this.
    Run(Arc<VassalSpec>),
    /// It is known and not to run.
    Disabled(Arc<Address>),
    /// A pool is to answer for it.
    Pooled(Arc<Membership>),
    /// It can't be run.
    Rejected(Arc<Rejection>),
}

/// Why a vassal can't be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub reason: RejectionReason,
    /// Where it would be reached, as far as its row could be read.
    pub address: Option<Arc<Address>>,
}

/// Where a site is reached, whatever stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its slug.
    pub slug: Slug,
    /// Where redirects lead.
    pub canonical: Hostname,
    /// All hosts, the canonical one first.
    pub hosts: Box<[(HostPattern, HostRole)]>,
    /// How its requests wait.
    pub queue: QueueBounds,
}

/// A site as one of those that a pool answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The vassal of the pool.
    pub pool: SiteId,
    /// Where the site is reached.
    pub address: Arc<Address>,
    /// Paths that are no reason to wake the pool.
    pub check_paths: Arc<[String]>,
    /// What is kept of its pages; `None`: nothing.
    pub cache: Option<Arc<CacheSettings>>,
}

impl Want {
    /// The slug of its site; `None`: its row could not be read that far.
    pub fn slug(&self) -> Option<&Slug> {
        match self {
            Self::Run(spec) => Some(&spec.site.slug),
            Self::Disabled(address) => Some(&address.slug),
            Self::Pooled(membership) => Some(&membership.address.slug),
            Self::Rejected(rejection) => Some(&rejection.address.as_ref()?.slug),
        }
    }

    /// The hosts it claims.
    pub fn hosts(&self) -> Vec<HostPattern> {
        let of = |address: &Address| address.hosts.iter().map(|(host, _)| host.clone()).collect();
        match self {
            Self::Run(spec) if spec.site.id.is_pool() => Vec::new(),
            Self::Run(spec) => spec.hosts.patterns().collect(),
            Self::Disabled(address) => of(address),
            Self::Pooled(membership) => of(&membership.address),
            Self::Rejected(rejection) => {
                let address = rejection.address.as_deref();
                address.map(of).unwrap_or_default()
            }
        }
    }
}

/// Two are equal when a vassal that was told the one has nothing to do on being told the other:
/// specifications are compared by revision, and by what of them is the router's alone.
impl PartialEq for Want {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Run(a), Self::Run(b)) => {
                a.revision == b.revision
                    && a.site.slug == b.site.slug
                    && a.hosts == b.hosts
                    && a.settings.cache == b.settings.cache
                    && a.asked_as == b.asked_as
            }
            (Self::Disabled(a), Self::Disabled(b)) => a == b,
            (Self::Pooled(a), Self::Pooled(b)) => a == b,
            (Self::Rejected(a), Self::Rejected(b)) => a == b,
            (Self::Run(_) | Self::Disabled(_) | Self::Pooled(_) | Self::Rejected(_), _) => false,
        }
    }
}

impl From<Rejection> for Want {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(Arc::new(rejection))
    }
}

impl Address {
    /// The address of a site with these hosts.
    pub fn new(slug: Slug, hosts: &SiteHosts, queue: QueueBounds) -> Self {
        let canonical = HostPattern::Exact(hosts.canonical.clone());
        let aliases = hosts.aliases.iter().map(|alias| {
            let role = match alias.kind {
                AliasKind::Alias => HostRole::Serve,
                AliasKind::Redirect => HostRole::Redirect,
            };
            (alias.pattern.clone(), role)
        });
        Self {
            slug,
            canonical: hosts.canonical.clone(),
            hosts: std::iter::once((canonical, HostRole::Serve))
                .chain(aliases)
                .collect(),
            queue,
        }
    }
}

impl From<&VassalSpec> for Address {
    fn from(spec: &VassalSpec) -> Self {
        let slug = spec.site.slug.clone();
        let address = Self::new(slug, &spec.hosts, spec.settings.queue);
        if spec.site.id.is_pool() {
            // Its sites have the hosts.
            let hosts = Box::default();
            return Self { hosts, ..address };
        }
        address
    }
}
