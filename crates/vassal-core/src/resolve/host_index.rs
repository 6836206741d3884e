//! Which site has a host, among all sites.
//!
//! Whoever claims a host with the lowest id has it, whatever else is wrong with that site: the
//! owner of a host doesn't change because a template broke. A persistent map, so that one edited
//! row among 100,000 costs what one row costs.

use std::collections::BTreeSet;

use imbl::HashMap;
use site_model::{HostPattern, SiteId};

/// Who claims which host.
#[derive(Debug, Clone, Default)]
pub struct HostIndex {
    /// Sorted; never empty.
    claims: HashMap<HostPattern, Vec<SiteId>>,
    sites: HashMap<SiteId, Vec<HostPattern>>,
}

impl HostIndex {
    /// The site that has this host.
    pub fn owner(&self, host: &HostPattern) -> Option<SiteId> {
        self.claims.get(host)?.first().copied()
    }

    /// The first of a site's hosts that another has, and who that is.
    pub fn conflict(&self, site: SiteId) -> Option<(HostPattern, SiteId)> {
        let hosts = self.sites.get(&site)?;
        hosts.iter().find_map(|host| {
            let owner = self.owner(host).filter(|owner| *owner != site)?;
            Some((host.clone(), owner))
        })
    }

    /// Sets what a site claims; nothing: it is gone. Yields the other sites for which
    /// [`conflict`](Self::conflict) may answer differently now.
    pub fn claim(
        &mut self,
        site: SiteId,
        hosts: impl IntoIterator<Item = HostPattern>,
    ) -> BTreeSet<SiteId> {
        let wanted: Vec<_> = hosts.into_iter().collect();
        let had = self.sites.get(&site).cloned().unwrap_or_default();
        let mut touched = BTreeSet::new();
        for host in had.iter().filter(|host| !wanted.contains(host)) {
            touched.extend(self.give_up(site, host));
        }
        for host in wanted.iter().filter(|host| !had.contains(host)) {
            touched.extend(self.take(site, host));
        }
        if wanted.is_empty() {
            self.sites.remove(&site);
        } else {
            self.sites.insert(site, wanted);
        }
        touched.remove(&site);
        touched
    }

    /// Those who hold the host in common with a site that comes or goes; only where it is the
    /// first of them does anything change for the others.
    fn take(&mut self, site: SiteId, host: &HostPattern) -> Vec<SiteId> {
        let mut claimants = self.claims.get(host).cloned().unwrap_or_default();
        let Err(at) = claimants.binary_search(&site) else {
            return Vec::new();
        };
        claimants.insert(at, site);
        let others = if at == 0 {
            claimants[1..].to_vec()
        } else {
            Vec::new()
        };
        self.claims.insert(host.clone(), claimants);
        others
    }

    fn give_up(&mut self, site: SiteId, host: &HostPattern) -> Vec<SiteId> {
        let mut claimants = self.claims.get(host).cloned().unwrap_or_default();
        let Ok(at) = claimants.binary_search(&site) else {
            return Vec::new();
        };
        claimants.remove(at);
        if claimants.is_empty() {
            self.claims.remove(host);
            return Vec::new();
        }
        let others = if at == 0 {
            claimants.clone()
        } else {
            Vec::new()
        };
        self.claims.insert(host.clone(), claimants);
        others
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: i64) -> SiteId {
        SiteId::new(number).unwrap()
    }

    fn host(text: &str) -> HostPattern {
        text.parse().unwrap()
    }

    fn claim(index: &mut HostIndex, site: i64, hosts: &[&str]) -> Vec<i64> {
        let hosts = hosts.iter().map(|text| host(text));
        let touched = index.claim(id(site), hosts);
        touched.into_iter().map(SiteId::get).collect()
    }

    fn check(index: &HostIndex, site: i64, expected: Option<(&str, i64)>) {
        let expected = expected.map(|(text, owner)| (host(text), id(owner)));
        assert_eq!(index.conflict(id(site)), expected, "site {site}");
    }

    #[test]
    fn the_lower_id_keeps_a_host_whenever_it_comes() {
        let mut index = HostIndex::default();
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
        let mut index = HostIndex::default();
        claim(&mut index, 1, &["*.example.com"]);
        claim(&mut index, 2, &["www.example.com"]);
        check(&index, 2, None);
    }

    proptest! {
        #[test]
        fn what_is_reported_as_touched_is_all_that_changed(
            steps in prop::collection::vec((1_i64..6, prop::collection::btree_set(0_u8..4, 0..3)), 1..30)
        ) {
            let mut index = HostIndex::default();
            for (site, hosts) in steps {
                let verdicts = |index: &HostIndex| {
                    (1..6).map(|site| index.conflict(id(site))).collect::<Vec<_>>()
                };
                let before = verdicts(&index);
                let hosts = hosts.iter().map(|n| host(&format!("h{n}.example")));
                let touched = index.claim(id(site), hosts.collect::<Vec<_>>());
                let after = verdicts(&index);
                for (at, number) in (1..6).enumerate() {
                    let told = touched.contains(&id(number)) || number == site;
                    prop_assert!(told || before[at] == after[at], "site {number}");
                }
            }
        }
    }
}
