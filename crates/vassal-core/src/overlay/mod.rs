//! What a site's row may say about how it is run: `extra_config`, its policy and its bounds.
//!
//! A row is written by people who may edit rows and no more. So its texts are held to stricter
//! rules than a template's: only the tables that `policy.site_may_set` names; names in braces but
//! no expressions, which could be made to eat time and memory; and no control characters in
//! variables, which templates put into files where a line break would begin another setting.

mod plain;
mod policy;

use std::sync::Arc;

use site_model::SiteId;

pub use crate::template::{SiteTables, UnknownTable};
pub use policy::Policy;

use crate::diagnostic::{Diagnostic, Diagnostics, Source};
use crate::template::{Assignment, Layer, LayerKind, Permitted, VarEntry, read_layer};

/// A row's `extra_config` as a text with an origin.
pub fn row_source(id: SiteId, extra_config: &str) -> Source {
    Source::new(format!("site {id} extra_config"), Arc::from(extra_config))
}

/// Reads a row's `extra_config` against the policy. Whether its variables exist is known only once
/// it is laid over a template.
pub(crate) fn read_row(source: &Source, tables: &SiteTables) -> Result<Layer, Diagnostics> {
    let (layer, mut found) = read_layer(source, LayerKind::Row, Permitted::Only(tables));
    found.extend(not_plain(&layer));
    found.extend(layer.vars.values().filter_map(control_character));
    found.or_else_ok(layer)
}

/// Checks a row's `extra_config` by itself, as far as that can be done without its template.
///
/// Takes any text without panicking: the whole of it is a target of fuzzing.
pub fn check_row(source: &Source, tables: &SiteTables) -> Result<(), Diagnostics> {
    read_row(source, tables).map(drop)
}

/// Texts in which something else than names stands between braces.
fn not_plain(layer: &Layer) -> impl Iterator<Item = Diagnostic> {
    let pieces = layer.env.values().chain(layer.files.values());
    let pieces = pieces.map(|piece| (&piece.text, &piece.origin.place));
    let assigned = layer.vars.values().filter_map(assignment);
    let variables = assigned.flat_map(|assignment| {
        let texts = assignment.value.texts().iter();
        texts.map(|text| (text, &assignment.origin.place))
    });
    pieces
        .chain(variables)
        .filter_map(|(text, place)| plain::check(text, place).err())
}

fn assignment(entry: &VarEntry) -> Option<&Assignment> {
    match entry {
        VarEntry::Assigned(assignment) => Some(assignment),
        VarEntry::Declared(_) => None,
    }
}

fn control_character(entry: &VarEntry) -> Option<Diagnostic> {
    let assignment = assignment(entry)?;
    let mut texts = assignment.value.texts().iter();
    let has_one = texts.any(|text| text.chars().any(char::is_control));
    has_one.then(|| {
        Diagnostic::new(
            assignment.origin.place.clone(),
            "a variable in a row can't have line breaks or other control characters",
        )
        .with_help(
            "templates put variables into files, where a line break would begin another setting",
        )
    })
}
