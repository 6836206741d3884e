//! What changed since the snapshot was written whole: a file beside it, one line for each time that
//! something was written down. So one edit among 100,000 rows costs a line and not all rows.
//!
//! A line names the edition that it is laid over. What was left beside a newer edition, by a death
//! between two steps, says nothing; of a line that a death broke off, what stands before it counts.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use serde::{Deserialize, Serialize};
use site_model::SiteId;

use super::entry::Entry;
use crate::desired::Row;

/// One line.
#[derive(Serialize, Deserialize)]
pub(super) struct Step {
    /// Which whole it is laid over, after the lines before it.
    pub(super) edition: u64,
    pub(super) read_at: SystemTime,
    set: Vec<Entry>,
    gone: Vec<i64>,
}

impl Step {
    /// From one reading to another; looks at what differs alone.
    pub(super) fn between(
        edition: u64,
        before: &OrdMap<SiteId, Row>,
        (after, read_at): (&OrdMap<SiteId, Row>, SystemTime),
    ) -> Self {
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for change in before.diff(after) {
            match change {
                DiffItem::Add(_, row) | DiffItem::Update { new: (_, row), .. } => {
                    set.push(Entry::from(row));
                }
                DiffItem::Remove(id, _) => gone.push(id.get()),
            }
        }
        Self {
            edition,
            read_at,
            set,
            gone,
        }
    }

    /// How many rows it changes.
    pub(super) fn len(&self) -> usize {
        self.set.len() + self.gone.len()
    }

    /// Adds it to a file that is there already.
    pub(super) fn append(&self, path: &Path) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(&line)?;
        file.sync_data()
    }

    /// Changes the rows as it says.
    pub(super) fn apply(self, rows: &mut OrdMap<SiteId, Row>) {
        rows.extend(self.set.into_iter().filter_map(Entry::into_row));
        for id in self.gone.into_iter().filter_map(|id| SiteId::new(id).ok()) {
            rows.remove(&id);
        }
    }
}

/// The lines that are laid over an edition, as far as they are whole.
pub(super) fn read(text: &[u8], edition: u64) -> impl Iterator<Item = Step> {
    let lines = text.split(|byte| *byte == b'\n');
    let steps = lines.map_while(|line| serde_json::from_slice::<Step>(line).ok());
    steps.take_while(move |step| step.edition == edition)
}
