//! A key: where its value belongs, and what is told of it.

use super::kind::Kind;

/// A key with a value of its own.
#[derive(Debug)]
pub struct Key {
    pub(super) path: &'static str,
    pub(crate) kind: Kind,
    default: &'static str,
    meaning: &'static str,
}

impl Key {
    /// The key, `table.name` where it stands in a table.
    pub fn path(&self) -> &'static str {
        self.path
    }

    /// What its values look like.
    pub fn value(&self) -> String {
        self.kind.description()
    }

    /// The value that holds where nothing is said, in TOML; empty: there is none.
    pub fn default(&self) -> &'static str {
        self.default
    }

    /// What it is for.
    pub fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// The table it stands in, or itself: the name that `policy.site_may_set` has for it.
    pub fn table(&self) -> &'static str {
        self.path
            .split_once('.')
            .map_or(self.path, |(table, _)| table)
    }
}

pub(super) const fn new(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        meaning,
    }
}
