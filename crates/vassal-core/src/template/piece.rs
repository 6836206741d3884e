//! Texts that are rendered, and where every value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::diagnostic::Place;

/// One of the layers that a specification is made of, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// What holds where nothing is said.
    BuiltIn,
    /// The template's file.
    Template,
    /// `[vassal]`
    Vassal,
    /// `[templates.NAME]`
    TemplateOverlay,
    /// The row's `extra_config`.
    Row,
}

impl LayerKind {
    /// Keys that are right beside these and that the reader of `emperor.toml` keeps for itself: to
    /// be suggested where one of them was misspelt.
    pub(super) fn keys_read_elsewhere(self) -> &'static [&'static str] {
        match self {
            Self::Vassal => &["template", "run_as"],
            Self::BuiltIn | Self::Template | Self::TemplateOverlay | Self::Row => &[],
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Which layer.
    pub layer: LayerKind,
    /// Where in its text.
    pub place: Place,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.layer {
            LayerKind::BuiltIn => f.write_str("built-in default"),
            LayerKind::Template
            | LayerKind::Vassal
            | LayerKind::TemplateOverlay
            | LayerKind::Row => self.place.fmt(f),
        }
    }
}

/// Entries of a table of names. A map that differs from another in one entry shares the others with
/// it: of 100,000 sites most set one variable of ten.
pub(crate) type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

/// A text that is rendered on its own, once the instance is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) text: Arc<str>,
    pub(crate) origin: Origin,
}

impl Piece {
    /// True: rendering it changes nothing.
    pub(crate) fn is_literal(&self) -> bool {
        is_literal(&self.text)
    }
}

/// The paths of `[sandbox]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReachPieces {
    pub(crate) writable: Arc<Vec<Piece>>,
    pub(crate) readable: Arc<Vec<Piece>>,
    pub(crate) inaccessible: Arc<Vec<Piece>>,
}

impl ReachPieces {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Piece> {
        let lists = [&self.writable, &self.readable, &self.inaccessible];
        lists.into_iter().flat_map(|list| list.iter())
    }
}

/// True: there is nothing to render in this text.
pub(crate) fn is_literal(text: &str) -> bool {
    !["{{", "{%", "{#"]
        .iter()
        .any(|opening| text.contains(opening))
}
