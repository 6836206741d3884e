//! A map that finds what others hold: its values live as long as somebody else does.
//!
//! The threads meet in such maps. Each asks once for what belongs to an instance or a site, and
//! keeps it; nobody has to say when it is no longer needed.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Weak};

/// Below so many entries, forgetting isn't worth a look.
const MIN_SWEEP: usize = 64;

/// Finds values by their keys as long as they are held elsewhere.
#[derive(Debug)]
pub(crate) struct WeakMap<K, V> {
    entries: HashMap<K, Weak<V>>,
    /// When there are so many, those that nobody holds any more are forgotten.
    sweep_at: usize,
}

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            sweep_at: MIN_SWEEP,
        }
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.entries.get(key).and_then(Weak::upgrade)
    }

    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> Arc<V> {
        if let Some(held) = self.get(&key) {
            return held;
        }
        let value = Arc::new(new());
        self.insert(key, &value);
        value
    }

    pub(crate) fn insert(&mut self, key: K, value: &Arc<V>) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| entry.strong_count() > 0);
            self.sweep_at = MIN_SWEEP.max(2 * self.entries.len());
        }
        self.entries.insert(key, Arc::downgrade(value));
    }

    /// All that are held, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, Arc<V>)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, entry)| Some((key, entry.upgrade()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_forgotten_and_made_anew() {
        let mut map = WeakMap::default();
        let kept = map.get_or_insert_with(0, || "kept");
        for key in 1..1000 {
            drop(map.get_or_insert_with(key, || "dropped"));
        }
        assert!(map.entries.len() <= MIN_SWEEP);
        assert!(Arc::ptr_eq(
            &kept,
            &map.get_or_insert_with(0, || unreachable!())
        ));
        assert_eq!(map.get(&999), None);
        assert_eq!(map.iter().count(), 1);
    }
}
