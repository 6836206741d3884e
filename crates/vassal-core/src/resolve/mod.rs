//! From a row to a specification: [`Catalog::resolve`] for one, [`Resolution`] for all, and [`Pooling`]
//! where several share a vassal.
//!
//! The catalog holds everything but the rows, made once per configuration: each template with the
//! configuration's overlays laid over it, its texts compiled and their names checked. Resolving a
//! row lays its `extra_config` over that, renders everything once on trial, and hashes the result.

mod catalog;
mod engine;
mod explain;
mod host_index;
mod hosts;
mod names;
mod pooling;
mod prepared;
mod rendering;
mod resolution;
mod revision;
mod run_as;
mod site;
mod text;
mod uwsgi_options;

pub use catalog::{Catalog, CatalogInput, TemplateInfo, VariableInfo};
pub use explain::{ExplainedSetting, Rendering};
pub use host_index::HostIndex;
pub use hosts::{Domains, FormatError, Rewrite};
pub use names::{NamesTold, RENDER_NAMES};
pub use pooling::{PoolReloads, Pooling};
pub use prepared::Recipe;
pub use resolution::Resolution;
pub use run_as::Privilege;
pub use uwsgi_options::uwsgi_line_refusal;

use crate::diagnostic::Diagnostics;
use crate::overlay::SiteTables;
use crate::template::Draft;

/// Checks what is to be rendered in a template by itself.
pub(crate) fn check_names(draft: Draft) -> Result<(), Diagnostics> {
    prepared::Prepared::new(draft, SiteTables::default()).map(drop)
}
