//! Which tables and keys a row may have.

use std::collections::BTreeSet;

use thiserror::Error;

use super::lookup::tables;
use crate::diagnostic::nearest;

/// The tables and keys that a row's `extra_config` may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteTables(BTreeSet<&'static str>);

/// `site_may_set` names what no template has.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("policy.site_may_set: a template has no {name:?}{}", suggestion(*.nearest))]
pub struct UnknownTable {
    /// The name.
    pub name: String,
    /// The one that may have been meant.
    pub nearest: Option<&'static str>,
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest
        .map(|name| format!("; did you mean {name:?}?"))
        .unwrap_or_default()
}

impl SiteTables {
    /// What rows may set where the configuration doesn't say.
    pub const DEFAULT: &[&str] = &[
        "vars",
        "env",
        "instances",
        "idle",
        "recycle",
        "ready",
        "health",
        "restart",
        "stop",
        "queue",
        "cache",
    ];

    /// Takes the names of `policy.site_may_set`.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownTable> {
        let known = tables();
        let find = |name: &str| {
            let found = known.iter().copied().find(|table| *table == name);
            found.ok_or_else(|| UnknownTable {
                name: name.to_owned(),
                nearest: nearest(name, known.iter().copied()),
            })
        };
        names
            .into_iter()
            .map(find)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a row may have this table or key.
    pub fn contains(&self, table: &str) -> bool {
        self.0.contains(table)
    }
}

impl Default for SiteTables {
    fn default() -> Self {
        Self(Self::DEFAULT.iter().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_tables_of_a_template() {
        let tables = SiteTables::parse(["vars", "command"]).unwrap();
        assert!(tables.contains("command") && !tables.contains("env"));
        let unknown = SiteTables::parse(["vers"]).unwrap_err();
        assert_eq!(unknown.nearest, Some("vars"));
        let default = SiteTables::parse(SiteTables::DEFAULT.iter().copied());
        assert_eq!(default, Ok(SiteTables::default()));
        for kept in [
            "command",
            "listen",
            "protocol",
            "working_dir",
            "files",
            "limits",
            "sandbox",
        ] {
            assert!(!SiteTables::default().contains(kept), "{kept}");
        }
    }
}
