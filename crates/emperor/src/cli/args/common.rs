//! The grammar of what many commands take.

use std::str::FromStr;

use clap::Args;
use site_model::{Slug, SlugError};

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A slug, an id, or `pool.NAME`, as it was typed. Every id has the form of a slug too; which is meant is
/// the daemon's to say: the slug if a site has it, else the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SiteRef(String);

impl SiteRef {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SiteRef {
    type Err = SlugError;

    fn from_str(text: &str) -> Result<Self, SlugError> {
        Slug::of_vassal(text).map(|slug| Self(slug.to_string()))
    }
}
