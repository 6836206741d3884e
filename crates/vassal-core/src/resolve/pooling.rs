//! From what is wanted of each site by itself to what is wanted of vassals: the sites of a pool share
//! one.
//!
//! A pool has no row. What its worker is like, its sites say, all the same: it stays what it is as long
//! as one of them says so, and one that says something else is rejected alone. Which sites are in it, and
//! where they are reached, is no part of what runs: a site comes and goes without its worker noticing.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use site_model::{RejectionReason, Site, SiteId, Slug};

use super::Catalog;
use crate::{Address, Membership, Rejection, VassalSpec, Want};

/// What is wanted of every vassal, kept up to date with what is wanted of every site.
#[derive(Debug, Clone, Default)]
pub struct Pooling {
    /// What was taken in.
    sites: OrdMap<SiteId, Want>,
    /// The sites that are to run in each pool.
    pools: BTreeMap<String, BTreeSet<SiteId>>,
    /// Pools whose sites differ from what was found out of them.
    touched: BTreeSet<String>,
    wants: OrdMap<SiteId, Want>,
    reloads: BTreeMap<SiteId, PoolReloads>,
    /// Pools of whose reloads something else is to be remembered.
    to_remember: BTreeSet<SiteId>,
}

/// How often new instances of a pool were asked for by the rows of its sites. It has no row that could
/// count, so this has to be remembered for as long as one of its instances lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolReloads {
    /// So often: a part of the pool's revision.
    pub count: u64,
    /// What the row of each of its sites counted then.
    pub of_sites: BTreeMap<SiteId, u64>,
}

impl Pooling {
    /// One that goes on from what was remembered of pools.
    pub fn after(reloads: BTreeMap<SiteId, PoolReloads>) -> Self {
        Self {
            reloads,
            ..Self::default()
        }
    }

    /// What would be wanted of the vassals of these sites, for whoever only looks: pools are numbered in
    /// the order of their names.
    pub fn to_look_at(sites: &OrdMap<SiteId, Want>, catalog: &Catalog) -> Self {
        let mut pooling = Self::default();
        pooling.take_in(sites);
        let numbers = (1..=u32::MAX)
            .filter_map(NonZeroU32::new)
            .map(SiteId::of_pool);
        let numbers = pooling.touched().into_iter().zip(numbers).collect();
        pooling.form(catalog, &Ok(numbers));
        pooling
    }

    /// What is wanted of vassals, for `plan`.
    pub fn wants(&self) -> &OrdMap<SiteId, Want> {
        &self.wants
    }

    /// The sites that a pool's vassal answers for.
    pub fn sites_of(&self, pool: SiteId) -> impl Iterator<Item = SiteId> {
        let name = self.wants.get(&pool).and_then(Want::slug);
        let sites = name.and_then(|name| self.pools.get(name.pool()?));
        let sites = sites.into_iter().flatten().copied();
        sites.filter(move |site| self.pool_of(*site) == Some(pool))
    }

    /// The vassal that is to answer for a site, where that is a pool's.
    pub fn pool_of(&self, site: SiteId) -> Option<SiteId> {
        match self.wants.get(&site)? {
            Want::Pooled(membership) => Some(membership.pool),
            Want::Run(_) | Want::Disabled(_) | Want::Rejected(_) => None,
        }
    }

    /// Takes in what is wanted of sites now. What that means for pools is found out by
    /// [`form`](Self::form).
    pub fn take_in(&mut self, sites: &OrdMap<SiteId, Want>) {
        let before = std::mem::replace(&mut self.sites, sites.clone());
        // Without pools the vassals are the sites, and both are held as one map.
        let without_pools = self.pools.is_empty() && self.touched.is_empty();
        if without_pools {
            self.wants = sites.clone();
        }
        for change in before.diff(sites) {
            let (id, old, new) = match change {
                DiffItem::Add(id, new) => (*id, None, Some(new)),
                DiffItem::Update {
                    old: (_, old),
                    new: (id, new),
                } => (*id, Some(old), Some(new)),
                DiffItem::Remove(id, old) => (*id, Some(old), None),
            };
            if let Some(pool) = old.and_then(pool_name) {
                self.leave(pool, id);
                self.touched.insert(pool.to_owned());
            }
            match (new, new.and_then(pool_name)) {
                (Some(_), Some(pool)) => {
                    self.pools.entry(pool.to_owned()).or_default().insert(id);
                    self.touched.insert(pool.to_owned());
                }
                (Some(_) | None, None) if without_pools => {}
                (Some(want), None) => drop(self.wants.insert(id, want.clone())),
                (None, _) => drop(self.wants.remove(&id)),
            }
        }
    }

    /// The pools of which something else may be wanted, as far as their names are names: each has to
    /// have a number.
    pub fn touched(&self) -> Vec<String> {
        let names = self.touched.iter().cloned();
        names.filter(|name| Slug::of_pool(name).is_ok()).collect()
    }

    /// Finds out anew what is wanted of the pools that were touched, and of their sites. `numbers`: the
    /// vassal of each of them, always the same; or why that can't be told, which is asked again.
    pub fn form(&mut self, catalog: &Catalog, numbers: &Result<BTreeMap<String, SiteId>, String>) {
        for name in std::mem::take(&mut self.touched) {
            let specs = self.specs(&name);
            match vassal(&name, numbers) {
                Ok((pool, slug)) => self.form_one(&name, (pool, slug), &specs, catalog),
                Err(Unnumbered { detail, may_pass }) => {
                    for spec in &specs {
                        let want = rejected(spec, "pool", detail.clone());
                        self.wants.insert(spec.site.id, want);
                    }
                    if may_pass {
                        self.touched.insert(name);
                    }
                }
            }
        }
    }

    /// What is to be remembered of pools other than before; nothing, where a pool is no more.
    pub fn take_to_remember(&mut self) -> Vec<(SiteId, PoolReloads)> {
        let pools = std::mem::take(&mut self.to_remember).into_iter();
        let known = pools.map(|pool| {
            let reloads = self.reloads.get(&pool).cloned();
            (pool, reloads.unwrap_or_default())
        });
        known.collect()
    }

    fn leave(&mut self, pool: &str, site: SiteId) {
        if let Some(sites) = self.pools.get_mut(pool) {
            sites.remove(&site);
            if sites.is_empty() {
                self.pools.remove(pool);
            }
        }
    }

    /// The sites of a pool, as each would run alone.
    fn specs(&self, name: &str) -> Vec<Arc<VassalSpec>> {
        let sites = self.pools.get(name).into_iter().flatten();
        let specs = sites.filter_map(|site| match self.sites.get(site) {
            Some(Want::Run(spec)) => Some(Arc::clone(spec)),
            Some(Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_)) | None => None,
        });
        specs.collect()
    }

    fn form_one(
        &mut self,
        name: &str,
        (pool, slug): (SiteId, Slug),
        specs: &[Arc<VassalSpec>],
        catalog: &Catalog,
    ) {
        let incumbent = incumbent(self.wants.get(&pool), specs);
        let Some(first) = incumbent.or_else(|| most_agreed(specs)) else {
            self.wants.remove(&pool);
            self.count(pool, None);
            return;
        };
        let mut inside = BTreeMap::new();
        for spec in specs {
            let want = match differs(first, spec) {
                None => {
                    inside.insert(spec.site.id, spec.site.reloads);
                    Want::Pooled(Arc::new(Membership::new(pool, spec)))
                }
                Some(column) => rejected(spec, column, disagreement(name, &first.site)),
            };
            self.wants.insert(spec.site.id, want);
        }
        let before = self.reloads.get(&pool).cloned().unwrap_or_default();
        let reloads = before.follow(inside);
        let want = want_of_pool(pool, slug, reloads.count, first, catalog);
        self.count(pool, Some(reloads));
        self.wants.insert(pool, want);
    }

    fn count(&mut self, pool: SiteId, now: Option<PoolReloads>) {
        if self.reloads.get(&pool) == now.as_ref() {
            return;
        }
        match now {
            Some(now) => drop(self.reloads.insert(pool, now)),
            None => drop(self.reloads.remove(&pool)),
        }
        self.to_remember.insert(pool);
    }
}

impl PoolReloads {
    /// With these sites inside. A site that counts other than it did while it was inside asks for new
    /// instances; several that do so together ask once, and one that is new asks for nothing.
    fn follow(self, of_sites: BTreeMap<SiteId, u64>) -> Self {
        let asks = |(site, count): (&SiteId, &u64)| {
            let before = self.of_sites.get(site);
            before.is_some_and(|before| before != count)
        };
        let count = self.count + u64::from(of_sites.iter().any(asks));
        Self { count, of_sites }
    }
}

/// Why a pool has no vassal.
struct Unnumbered {
    detail: String,
    may_pass: bool,
}

fn vassal(
    name: &str,
    numbers: &Result<BTreeMap<String, SiteId>, String>,
) -> Result<(SiteId, Slug), Unnumbered> {
    let slug = Slug::of_pool(name).map_err(|error| Unnumbered {
        detail: format!("a pool is called what a site could be: {error}"),
        may_pass: false,
    })?;
    let known = numbers.as_ref().map(|known| known.get(name).copied());
    let unnumbered = |cause: &str| Unnumbered {
        detail: format!("the pool {name:?} can't be given a number: {cause}"),
        may_pass: true,
    };
    let pool = known.map_err(|cause| unnumbered(cause))?;
    pool.map(|pool| (pool, slug))
        .ok_or_else(|| unnumbered("it has none yet"))
}

impl Membership {
    fn new(pool: SiteId, spec: &VassalSpec) -> Self {
        let settings = &spec.settings;
        Self {
            pool,
            address: Arc::new(Address::from(spec)),
            check_paths: Arc::clone(&settings.idle.answered),
            cache: (!settings.cache.is_off()).then(|| Arc::clone(&settings.cache)),
        }
    }
}

fn pool_name(want: &Want) -> Option<&str> {
    match want {
        Want::Run(spec) => spec.site.pool.as_deref(),
        // What isn't to run is no pool's to answer for.
        Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_) => None,
    }
}

/// The pool as its first site has it.
fn want_of_pool(
    pool: SiteId,
    slug: Slug,
    reloads: u64,
    first: &VassalSpec,
    catalog: &Catalog,
) -> Want {
    let site = Arc::new(Site {
        id: pool,
        slug: slug.clone(),
        domain: Some(first.hosts.canonical.clone()),
        aliases: Box::default(),
        reloads,
        ..Site::clone(&first.site)
    });
    match catalog.resolve(&site) {
        Ok(spec) => Want::Run(Arc::new(VassalSpec {
            asked_as: Some(first.site.id),
            ..spec
        })),
        Err(reason) => Rejection {
            reason,
            address: Some(Arc::new(Address {
                slug,
                hosts: Box::default(),
                ..Address::from(first)
            })),
        }
        .into(),
    }
}

/// The first that says what the pool is already.
fn incumbent<'a>(pool: Option<&Want>, specs: &'a [Arc<VassalSpec>]) -> Option<&'a Arc<VassalSpec>> {
    match pool? {
        Want::Run(known) => specs.iter().find(|spec| differs(known, spec).is_none()),
        Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_) => None,
    }
}

/// The first of those who are the most to say the same.
fn most_agreed(specs: &[Arc<VassalSpec>]) -> Option<&Arc<VassalSpec>> {
    let mut said: Vec<(&Arc<VassalSpec>, usize)> = Vec::new();
    for spec in specs {
        let mut known = said.iter_mut();
        match known.find(|(first, _)| differs(first, spec).is_none()) {
            Some((_, count)) => *count += 1,
            None => said.push((spec, 1)),
        }
    }
    // The last of the greatest is found, so the first has to be the last.
    let most = said.into_iter().rev().max_by_key(|(_, count)| *count);
    most.map(|(first, _)| first)
}

/// The first column by which two sites can't share a worker.
fn differs(first: &VassalSpec, other: &VassalSpec) -> Option<&'static str> {
    let (one, two) = (&first.site, &other.site);
    let same_text = |a: &str, b: &str| a.trim() == b.trim();
    let columns = [
        ("template", first.template == other.template),
        ("run_as", first.run_as == other.run_as),
        (
            "extra_config",
            same_text(&one.extra_config, &two.extra_config),
        ),
        (
            "extra_uwsgi_ini",
            !first.recipe.uses_uwsgi_options()
                || same_text(&one.extra_uwsgi_ini, &two.extra_uwsgi_ini),
        ),
    ];
    columns
        .into_iter()
        .find_map(|(column, same)| (!same).then_some(column))
}

fn disagreement(pool: &str, first: &Site) -> String {
    let Site { id, slug, .. } = first;
    format!(
        "it isn't that of site {id} ({slug}), which is what pool {pool:?} runs; make the two equal, or take \
         this site out of the pool"
    )
}

fn rejected(spec: &VassalSpec, column: &'static str, detail: String) -> Want {
    Rejection {
        reason: RejectionReason::Column { column, detail },
        address: Some(Arc::new(Address::from(spec))),
    }
    .into()
}
