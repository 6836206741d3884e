//! Names of the schema: tables and keys by their paths.

use super::key::Key;
use super::schema::{KEYS, MAPS};

/// What `policy.site_may_set` can name: every table, and every key outside of one.
pub fn tables() -> Vec<&'static str> {
    let mut tables: Vec<_> = KEYS.iter().map(Key::table).collect();
    tables.dedup();
    tables.extend(MAPS.iter().map(|(name, _)| *name));
    tables
}

/// Finds a key by its path.
pub(crate) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path() == path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_table_stand_together_and_once() {
        let mut seen = tables();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "a table's keys are scattered");
        let mut paths: Vec<_> = KEYS.iter().map(Key::path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), KEYS.len());
    }
}
