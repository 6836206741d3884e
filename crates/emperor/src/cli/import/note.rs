//! What is told of a line that did not become part of a row as it stands. A value is never told: it may
//! be a secret.

use serde::Serialize;

use super::super::text::{printable, put_line};

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fate {
    /// It isn't needed any more.
    Dropped,
    /// It is in the row in another way, which is worth a look.
    Changed,
    /// It is not in the row, and something may be missing there.
    Lost,
    /// The file became no row.
    Failed,
}

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Spot {
    /// The file, as it was named.
    pub(super) file: String,
    /// Counted from 1; `null`: all of it.
    pub(super) line: Option<usize>,
}

/// What is told of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Note {
    #[serde(flatten)]
    pub(super) spot: Spot,
    pub(super) fate: Fate,
    /// The option; empty: the file.
    pub(super) key: String,
    pub(super) detail: String,
}

impl Note {
    pub(super) fn new(spot: &Spot, fate: Fate, key: &str, detail: impl Into<String>) -> Self {
        Self {
            spot: spot.clone(),
            fate,
            key: key.to_owned(),
            detail: detail.into(),
        }
    }
}

impl Fate {
    /// Whether the row is, for this, not what the file was.
    pub(super) fn is_amiss(self) -> bool {
        matches!(self, Self::Lost | Self::Failed)
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Dropped => "not needed",
            Self::Changed => "changed",
            Self::Lost => "not carried over",
            Self::Failed => "not imported",
        }
    }
}

/// The notes for people, a line each.
pub(super) fn text(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let line = note.spot.line.map(|line| format!(":{line}"));
        let key = match note.key.as_str() {
            "" => String::new(),
            key => format!("{key}: "),
        };
        let told = format!(
            "{}{}: {key}{}: {}",
            note.spot.file,
            line.unwrap_or_default(),
            note.fate.word(),
            note.detail
        );
        put_line!(text, "{}", printable(&told.replace('\n', " ")));
    }
    text
}
