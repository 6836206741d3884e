//! Which site has a host, among all sites.
//!
//! Whoever claims a host with the lowest id has it, whatever else is wrong with that site: the
//! owner of a host doesn't change because a template broke. A persistent map, so that one edited
//! row among 100,000 costs what one row costs; an ordered one, which holds them in a fifth of the memory that
//! a hashed one takes.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use site_model::{HostPattern, SiteId};

/// Who claims which host. What a site claims stands in its row, and isn't kept here once more.
#[derive(Debug, Clone, Default)]
pub struct HostIndex {
    claims: OrdMap<HostPattern, Claimants>,
}

/// Those who claim one host; nearly always it is one site.
#[derive(Debug, Clone, PartialEq)]
enum Claimants {
    One(SiteId),
    /// Sorted, two at least.
    Several(Arc<[SiteId]>),
}

/// Somebody else has a host now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move<'index> {
    /// The host.
    pub host: &'index HostPattern,
    /// Who had it.
    pub from: Option<SiteId>,
    /// Who has it now.
    pub to: Option<SiteId>,
}

impl HostIndex {
    /// The site that has this host.
    pub fn owner(&self, host: &HostPattern) -> Option<SiteId> {
        self.claimants(host).first().copied()
    }

    /// Which hosts have gone from one to another since an earlier index that this one was made from.
    pub fn moves_since<'index>(
        &'index self,
        earlier: &'index Self,
    ) -> impl Iterator<Item = Move<'index>> {
        let changes = earlier.claims.diff(&self.claims);
        let moves = changes.map(|change| match change {
            DiffItem::Add(host, now) => Move {
                host,
                from: None,
                to: now.first(),
            },
            DiffItem::Update {
                old: (_, before),
                new: (host, now),
            } => Move {
                host,
                from: before.first(),
                to: now.first(),
            },
            DiffItem::Remove(host, before) => Move {
                host,
                from: before.first(),
                to: None,
            },
        });
        moves.filter(|change| change.from != change.to)
    }

    /// The first of a site's hosts that another has, and who that is.
    pub fn conflict(
        &self,
        site: SiteId,
        hosts: impl IntoIterator<Item = HostPattern>,
    ) -> Option<(HostPattern, SiteId)> {
        hosts.into_iter().find_map(|host| {
            let owner = self.owner(&host).filter(|owner| *owner != site)?;
            Some((host, owner))
        })
    }

    /// Sets what a site claims, from what it claimed before. Yields the other sites for which
    /// [`conflict`](Self::conflict) may answer differently now.
    pub fn claim(
        &mut self,
        site: SiteId,
        had: &[HostPattern],
        wanted: &[HostPattern],
    ) -> BTreeSet<SiteId> {
        let mut touched = BTreeSet::new();
        for host in had.iter().filter(|host| !wanted.contains(host)) {
            touched.extend(self.give_up(site, host));
        }
        for host in wanted.iter().filter(|host| !had.contains(host)) {
            touched.extend(self.take(site, host));
        }
        touched.remove(&site);
        touched
    }

    /// Those who hold the host in common with a site that comes or goes; only where it is the
    /// first of them does anything change for the others.
    fn take(&mut self, site: SiteId, host: &HostPattern) -> Vec<SiteId> {
        let mut claimants = self.claimants(host).to_vec();
        let Err(at) = claimants.binary_search(&site) else {
            return Vec::new();
        };
        claimants.insert(at, site);
        let others = if at == 0 {
            claimants[1..].to_vec()
        } else {
            Vec::new()
        };
        self.set(host, claimants);
        others
    }

    fn give_up(&mut self, site: SiteId, host: &HostPattern) -> Vec<SiteId> {
        let mut claimants = self.claimants(host).to_vec();
        let Ok(at) = claimants.binary_search(&site) else {
            return Vec::new();
        };
        claimants.remove(at);
        let others = if at == 0 {
            claimants.clone()
        } else {
            Vec::new()
        };
        self.set(host, claimants);
        others
    }

    fn claimants(&self, host: &HostPattern) -> &[SiteId] {
        self.claims.get(host).map_or(&[], Claimants::sites)
    }

    fn set(&mut self, host: &HostPattern, claimants: Vec<SiteId>) {
        match *claimants {
            [] => self.claims.remove(host),
            [site] => self.claims.insert(host.clone(), Claimants::One(site)),
            [_, _, ..] => {
                let several = Claimants::Several(claimants.into());
                self.claims.insert(host.clone(), several)
            }
        };
    }
}

impl Claimants {
    fn sites(&self) -> &[SiteId] {
        match self {
            Self::One(site) => std::slice::from_ref(site),
            Self::Several(sites) => sites,
        }
    }

    fn first(&self) -> Option<SiteId> {
        self.sites().first().copied()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(number: i64) -> SiteId {
        SiteId::new(number).unwrap()
    }

    fn host(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    /// An index, and what each site claims.
    #[derive(Default)]
    struct House {
        index: HostIndex,
        rows: BTreeMap<i64, Vec<HostPattern>>,
    }

    impl House {
        fn claim(&mut self, site: i64, hosts: &[HostPattern]) -> BTreeSet<SiteId> {
            let had = self.rows.insert(site, hosts.to_vec()).unwrap_or_default();
            self.index.claim(id(site), &had, hosts)
        }

        fn conflict(&self, site: i64) -> Option<(HostPattern, SiteId)> {
            let hosts = self.rows.get(&site).cloned().unwrap_or_default();
            self.index.conflict(id(site), hosts)
        }
    }

    fn claim(house: &mut House, site: i64, hosts: &[&str]) -> Vec<i64> {
        let hosts: Vec<_> = hosts.iter().map(|text| host(text)).collect();
        let touched = house.claim(site, &hosts);
        touched.into_iter().map(SiteId::get).collect()
    }

    fn check(house: &House, site: i64, expected: Option<(&str, i64)>) {
        let expected = expected.map(|(text, owner)| (host(text), id(owner)));
        assert_eq!(house.conflict(site), expected, "site {site}");
    }

    #[test]
    fn the_lower_id_keeps_a_host_whenever_it_comes() {
        let mut index = House::default();
        assert!(claim(&mut index, 9, &["a.example", "b.example"]).is_empty());
        check(&index, 9, None);
        assert_eq!(claim(&mut index, 5, &["b.example"]), [9]);
        check(&index, 9, Some(("b.example", 5)));
        check(&index, 5, None);
        assert!(claim(&mut index, 7, &["b.example"]).is_empty());
        check(&index, 7, Some(("b.example", 5)));
        assert_eq!(claim(&mut index, 5, &[]), [7, 9]);
        check(&index, 7, None);
        check(&index, 9, Some(("b.example", 7)));
        check(&index, 5, None);
    }

    #[test]
    fn a_wildcard_and_a_host_below_it_are_two() {
        let mut index = House::default();
        claim(&mut index, 1, &["*.example.com"]);
        claim(&mut index, 2, &["www.example.com"]);
        check(&index, 2, None);
    }

    #[test]
    fn a_host_has_moved_when_another_has_it_and_not_when_one_more_claims_it() {
        let mut house = House::default();
        claim(&mut house, 5, &["a.example", "b.example"]);
        let before = house.index.clone();
        claim(&mut house, 5, &["b.example"]);
        claim(&mut house, 3, &["b.example", "c.example"]);
        claim(&mut house, 9, &["c.example"]);
        let moves = house.index.moves_since(&before);
        let moves = moves.map(|it| (it.host.to_string(), it.from, it.to));
        let moves: Vec<_> = moves.collect();
        let expected = [
            ("a.example", Some(id(5)), None),
            ("b.example", Some(id(5)), Some(id(3))),
            ("c.example", None, Some(id(3))),
        ];
        assert_eq!(
            moves,
            expected.map(|(host, from, to)| (host.to_owned(), from, to))
        );
    }

    proptest! {
        #[test]
        fn what_is_reported_as_touched_is_all_that_changed(
            steps in prop::collection::vec((1_i64..6, prop::collection::btree_set(0_u8..4, 0..3)), 1..30)
        ) {
            let mut index = House::default();
            for (site, hosts) in steps {
                let verdicts = |index: &House| {
                    (1..6).map(|site| index.conflict(site)).collect::<Vec<_>>()
                };
                let before = verdicts(&index);
                let hosts = hosts.iter().map(|n| host(&format!("h{n}.example")));
                let touched = index.claim(site, &hosts.collect::<Vec<_>>());
                let after = verdicts(&index);
                for (at, number) in (1..6).enumerate() {
                    let told = touched.contains(&id(number)) || number == site;
                    prop_assert!(told || before[at] == after[at], "site {number}");
                }
            }
        }
    }
}
