//! A persistent map of hosts, for a table that changes host by host and is read with every request.
//!
//! Hosts are kept in the order of their hashes: found by comparing numbers, as in a hash map, and held
//! side by side, as in an ordered one. A persistent hash map takes four times the memory.

use std::hash::{BuildHasher as _, RandomState};

use imbl::OrdMap;

use crate::Hostname;

/// The map. Changing a clone costs no copy of the rest.
#[derive(Debug, Clone)]
pub(crate) struct HostMap<V> {
    /// Its keys are random: nobody can make up hosts that all lie in one place.
    hasher: RandomState,
    entries: OrdMap<Hashed, V>,
}

/// Compared by its hash, and where that is equal by the whole name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Hashed {
    hash: u64,
    host: Hostname,
}

impl<V: Clone> HostMap<V> {
    /// What is kept for this host.
    pub(crate) fn get(&self, host: &Hostname) -> Option<&V> {
        self.entries.get(&self.hashed(host))
    }

    /// Keeps something for a host, and yields what was kept before.
    pub(crate) fn insert(&mut self, host: &Hostname, value: V) -> Option<V> {
        self.entries.insert(self.hashed(host), value)
    }

    /// Keeps nothing for a host any more.
    pub(crate) fn remove(&mut self, host: &Hostname) {
        self.entries.remove(&self.hashed(host));
    }

    /// What hosts are in order of.
    pub(crate) fn place_of(&self, host: &Hostname) -> u64 {
        self.hasher.hash_one(host)
    }

    fn hashed(&self, host: &Hostname) -> Hashed {
        Hashed {
            hash: self.place_of(host),
            host: host.clone(),
        }
    }
}

impl<V> Default for HostMap<V> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            entries: OrdMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: usize) -> Hostname {
        format!("h{number}.example").parse().unwrap()
    }

    #[test]
    fn every_host_is_found_under_its_own_name_and_a_clone_is_left_as_it_was() {
        const HOSTS: usize = 1000;
        let mut map = HostMap::default();
        for number in 0..HOSTS {
            assert_eq!(map.insert(&host(number), number), None);
        }
        let before = map.clone();
        for number in (0..HOSTS).step_by(2) {
            map.remove(&host(number));
        }
        assert_eq!(map.insert(&host(1), HOSTS), Some(1));
        for number in 0..HOSTS {
            assert_eq!(before.get(&host(number)), Some(&number));
            let expected = match number {
                1 => Some(HOSTS),
                other => (other % 2 == 1).then_some(other),
            };
            assert_eq!(map.get(&host(number)).copied(), expected);
        }
        assert_eq!(map.get(&host(HOSTS)), None);
    }
}
