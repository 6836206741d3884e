//! A file of assignments: which uid was given to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::read_to_string;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::failure::{Doing, PrepareError};

/// Who has which uid.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) router: Option<u32>,
    #[serde(default)]
    pub(super) sites: BTreeMap<i64, u32>,
}

impl Table {
    /// Every uid that is given.
    pub(super) fn taken(&self) -> BTreeSet<u32> {
        self.sites.values().copied().chain(self.router).collect()
    }
}

/// Reads a file of assignments, if there is one.
pub(super) fn read(file: &Path) -> Result<Option<Table>, PrepareError> {
    match read_to_string(file) {
        Ok(text) => parse(&text, file).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Ok(Err(error).doing("read", file)?),
    }
}

fn parse(text: &str, file: &Path) -> Result<Table, PrepareError> {
    let refused = |cause: String| PrepareError::Identities {
        path: file.to_path_buf(),
        cause,
    };
    let table: Table = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let given = table.sites.len() + usize::from(table.router.is_some());
    if table.taken().len() != given {
        return Err(refused("one uid has two owners".to_owned()));
    }
    Ok(table)
}
