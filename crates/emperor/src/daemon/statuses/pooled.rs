//! What is told of a site that a pool answers for: how the pool fares, and where the site is on its way
//! into it or out of it.
//!
//! A pool has no row, so its own status is told of nobody but its sites.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use site_model::{SiteId, SiteState, SiteStatus};
use vassal_core::StatusTold;

/// Which pool the status of a site depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// It is in this pool, whose instances are its own.
    Member {
        /// The pool.
        of: SiteId,
        /// Where it moves once that serves.
        moves_to: Option<SiteId>,
    },
    /// Its own vassal serves until this pool does.
    MovesTo(SiteId),
    /// This pool serves until its own vassal does.
    Leaves(SiteId),
}

/// A pool, for whoever looks.
#[derive(Debug, Clone)]
pub(crate) struct PoolTold {
    /// Its vassal.
    pub(crate) id: SiteId,
    /// Its name.
    pub(crate) name: String,
    /// How it is.
    pub(crate) status: Arc<SiteStatus>,
    /// The sites whose status depends on it.
    pub(crate) sites: Vec<(SiteId, Stay)>,
}

/// Statuses of pools, and of the sites whose status depends on one.
#[derive(Debug, Default)]
pub(super) struct Pooled {
    /// With what each site's own vassal last said.
    sites: BTreeMap<SiteId, (Stay, Option<StatusTold>)>,
    pools: BTreeMap<SiteId, Arc<SiteStatus>>,
    names: BTreeMap<SiteId, String>,
    /// The sites that depend on each pool.
    concerned: BTreeMap<SiteId, BTreeSet<SiteId>>,
}

impl Stay {
    fn pools(self) -> impl Iterator<Item = SiteId> {
        let (one, other) = match self {
            Self::Member { of, moves_to } => (of, moves_to),
            Self::MovesTo(pool) | Self::Leaves(pool) => (pool, None),
        };
        [Some(one), other].into_iter().flatten()
    }
}

impl Pooled {
    /// Takes in what a vassal says, and yields what that tells of sites.
    pub(super) fn report(&mut self, told: StatusTold) -> Vec<StatusTold> {
        let id = told.id();
        if id.is_pool() {
            self.pools.insert(id, told.status());
            let sites = self.concerned.get(&id).into_iter().flatten();
            return sites.filter_map(|site| self.told(*site)).collect();
        }
        match self.sites.get_mut(&id) {
            Some((_, own)) => {
                *own = Some(told);
                self.told(id).into_iter().collect()
            }
            None => vec![told],
        }
    }

    /// Takes in which pool a site depends on, where `shown` is what is told of it so far, and yields
    /// what is to be told of it.
    pub(super) fn set_stay(
        &mut self,
        site: SiteId,
        stay: Option<Stay>,
        shown: Option<StatusTold>,
    ) -> Option<StatusTold> {
        let known = self.sites.remove(&site);
        let was = known.as_ref().map(|(stay, _)| *stay);
        for pool in was.into_iter().flat_map(Stay::pools) {
            if let Some(sites) = self.concerned.get_mut(&pool) {
                sites.remove(&site);
            }
        }
        self.concerned.retain(|_, sites| !sites.is_empty());
        let own = match known {
            Some((_, own)) => own,
            None => shown,
        };
        let Some(stay) = stay else {
            return own;
        };
        for pool in stay.pools() {
            self.concerned.entry(pool).or_default().insert(site);
        }
        self.sites.insert(site, (stay, own));
        self.told(site)
    }

    /// A vassal is gone.
    pub(super) fn forget(&mut self, id: SiteId) {
        self.pools.remove(&id);
        self.set_stay(id, None, None);
    }

    /// These are called so.
    pub(super) fn name(&mut self, pools: impl IntoIterator<Item = (String, SiteId)>) {
        let named = pools.into_iter().map(|(name, pool)| (pool, name));
        self.names.extend(named);
    }

    /// The pool with this name.
    pub(super) fn named(&self, name: &str) -> Option<SiteId> {
        let mut names = self.names.iter();
        names.find_map(|(pool, known)| (known == name).then_some(*pool))
    }

    /// The pool that answers for a site.
    pub(super) fn pool_of(&self, site: SiteId) -> Option<SiteId> {
        match self.sites.get(&site)?.0 {
            Stay::Member { of, .. } => Some(of),
            Stay::MovesTo(_) | Stay::Leaves(_) => None,
        }
    }

    /// Every pool, by name.
    pub(super) fn all(&self) -> Vec<PoolTold> {
        let pools = self.pools.keys().filter_map(|pool| self.pool(*pool));
        let mut pools: Vec<_> = pools.collect();
        pools.sort_by(|one, other| one.name.cmp(&other.name));
        pools
    }

    /// One of them.
    pub(super) fn pool(&self, id: SiteId) -> Option<PoolTold> {
        let sites = self.concerned.get(&id).into_iter().flatten();
        let sites = sites.filter_map(|site| Some((*site, self.sites.get(site)?.0)));
        Some(PoolTold {
            id,
            name: self.names.get(&id)?.clone(),
            status: Arc::clone(self.pools.get(&id)?),
            sites: sites.collect(),
        })
    }

    fn told(&self, site: SiteId) -> Option<StatusTold> {
        let (stay, own) = self.sites.get(&site)?;
        let own = &*own.as_ref()?.status();
        let status = match *stay {
            Stay::Member { of, moves_to } => {
                let inside = self.inside(own, of);
                match moves_to {
                    Some(to) => self.on_the_way(&inside, to),
                    None => inside,
                }
            }
            Stay::MovesTo(to) => self.on_the_way(own, to),
            Stay::Leaves(pool) => self.leaving(own, pool),
        };
        Some(status.into())
    }

    /// In a pool: as the pool is.
    fn inside(&self, own: &SiteStatus, pool: SiteId) -> SiteStatus {
        let Some(of) = self.pools.get(&pool) else {
            let (state, detail) = (SiteState::Starting, "its pool is about to start".to_owned());
            return SiteStatus {
                state,
                detail,
                ..own.clone()
            };
        };
        let instances = of.instances.iter().chain(&own.instances);
        SiteStatus {
            id: own.id,
            hosts: own.hosts.clone(),
            detail: of_pool(&self.called(pool), &of.detail),
            instances: instances.cloned().collect(),
            ..SiteStatus::clone(of)
        }
    }

    /// As before, until a pool serves.
    fn on_the_way(&self, before: &SiteStatus, pool: SiteId) -> SiteStatus {
        let name = self.called(pool);
        let of = self.pools.get(&pool);
        let state = of.map_or(SiteState::Starting, |of| of.state);
        let cause = of.map(|of| of.detail.as_str()).unwrap_or_default();
        let (state, detail) = match state {
            SiteState::BackingOff | SiteState::Failed | SiteState::Rejected => (
                before.state,
                format!(
                    "{name} can't take over: {cause}{}what was before it serves on",
                    separator(cause)
                ),
            ),
            SiteState::Starting
            | SiteState::Ready
            | SiteState::Reloading
            | SiteState::Sleeping
            | SiteState::Waking
            | SiteState::Disabled
            | SiteState::Stopping => (SiteState::Reloading, format!("{name} takes over")),
        };
        SiteStatus {
            state,
            detail,
            ..before.clone()
        }
    }

    /// A pool serves until its own vassal does.
    fn leaving(&self, own: &SiteStatus, pool: SiteId) -> SiteStatus {
        let (name, cause) = (self.called(pool), &own.detail);
        let (state, detail) = match own.state {
            SiteState::Starting | SiteState::Waking => (
                SiteState::Reloading,
                format!("{cause}{}{name} serves until then", separator(cause)),
            ),
            SiteState::BackingOff | SiteState::Failed => (
                SiteState::Ready,
                format!(
                    "its own worker failed: {cause}{}{name} serves on",
                    separator(cause)
                ),
            ),
            SiteState::Rejected => (
                SiteState::Rejected,
                format!("{cause}{}{name} serves on", separator(cause)),
            ),
            // It serves by itself, or rests by itself.
            SiteState::Ready
            | SiteState::Reloading
            | SiteState::Sleeping
            | SiteState::Disabled
            | SiteState::Stopping => return own.clone(),
        };
        SiteStatus {
            state,
            detail,
            ..own.clone()
        }
    }

    fn called(&self, pool: SiteId) -> String {
        self.names
            .get(&pool)
            .map_or_else(|| "its pool".to_owned(), |name| format!("pool {name}"))
    }
}

fn of_pool(name: &str, detail: &str) -> String {
    match detail {
        "" => format!("in {name}"),
        detail => format!("in {name}: {detail}"),
    }
}

/// Before what is added to a detail: a diagnostic ends with its marks, below which nothing may be
/// written on.
fn separator(detail: &str) -> &'static str {
    match detail {
        "" => "",
        detail if detail.contains('\n') => "\n",
        _ => "; ",
    }
}
