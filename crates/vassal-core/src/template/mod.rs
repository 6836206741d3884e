//! Templates: files that say how a kind of site is run.
//!
//! [`schema`] has every key. A text is read into a layer, layers are laid over each other into a
//! draft, and `resolve` makes specifications of drafts. Nothing here opens a file: whoever finds a
//! template hands over its text.

mod bounds;
mod caching;
mod capabilities;
mod draft;
mod key;
mod kind;
mod layer;
mod lookup;
mod names;
mod piece;
pub mod schema;
mod site_tables;
mod vars;
mod words;

use site_model::TemplateName;

use crate::diagnostic::{Diagnostic, Diagnostics, Source};

pub(crate) use draft::{Draft, undeclared};
pub(crate) use kind::unknown_word;
pub(crate) use layer::{Layer, Permitted, read as read_layer};
pub use lookup::tables;
pub use names::RESERVED_ENV;
pub(crate) use names::is_reserved_env;
pub use piece::{LayerKind, Origin};
pub(crate) use piece::{Piece, ReachPieces, is_literal};
pub use site_tables::{SiteTables, UnknownTable};
pub use vars::VarValue;
pub(crate) use vars::{Assignment, VarEntry};
pub(crate) use words::Word;

/// A template's text and name.
#[derive(Debug, Clone)]
pub struct TemplateSource {
    /// What rows call it.
    pub name: TemplateName,
    /// Its text and the path of its file.
    pub source: Source,
}

/// Checks a template's text by itself: its keys, their values, and what is to be rendered in it.
///
/// Takes any text without panicking: the whole of it is a target of fuzzing.
pub fn check(source: &Source) -> Result<(), Diagnostics> {
    let draft = read(source)?;
    crate::resolve::check_names(draft)
}

/// A template laid over the built-in defaults.
pub(crate) fn read(source: &Source) -> Result<Draft, Diagnostics> {
    let (layer, mut found) = read_layer(source, LayerKind::Template, Permitted::All);
    let mut draft = Draft::built_in().clone();
    found.extend(draft.lay(&layer));
    if found.is_empty() && draft.command.is_empty() {
        let place = source.place(0..0);
        let help = "add a line like: command = [\"/usr/bin/program\", \"{{ vars.option }}\"]";
        found.push(Diagnostic::new(place, "a template needs a `command`").with_help(help));
    }
    if found.is_empty() {
        found.extend(draft.settings().err().into_iter().flatten());
    }
    found.or_else_ok(draft)
}
