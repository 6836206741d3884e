//! The grammar of what concerns cached pages: `purge`, `cache`, `db watches`.

use clap::{Args, Subcommand};

use super::common::{Format, SiteRef};

pub(super) const PURGE_EXAMPLES: &str = "\
Examples:
  emperor purge portal --path / --path /posts/hello/
  emperor purge portal --prefix /blog/ --tag navigation
  emperor purge portal --all               every page of the site
  emperor purge --all                      every page of every site";

/// `emperor purge`
#[derive(Debug, Args)]
#[group(required = true, multiple = true, args = ["path", "prefix", "tag", "all"])]
pub(crate) struct Purge {
    /// Its slug or id; left out: every site, with --all
    #[arg(required_unless_present = "all")]
    pub(crate) site: Option<SiteRef>,
    /// Pages with this path, whatever their query
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Vec<String>,
    /// Pages whose paths begin so
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Vec<String>,
    /// Pages whose answers carried this tag
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// Every page
    #[arg(long, conflicts_with_all = ["path", "prefix", "tag"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `emperor cache`
#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Show what is stored of a site, and what was counted
    Show(CacheShow),
}

/// `emperor cache show`
#[derive(Debug, Args)]
pub(crate) struct CacheShow {
    /// Its slug or id
    pub(crate) site: SiteRef,
    /// Pages with this path alone; a whole URL will do
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,
    #[command(flatten)]
    pub(crate) format: Format,
}

/// `emperor db watches`
#[derive(Debug, Args)]
pub(crate) struct Watches {
    /// One table alone
    pub(crate) table: Option<String>,
    /// What a change of the rows with these columns would do, as JSON: '{"id": 7}'; nothing is done
    #[arg(long, value_name = "ROW", requires = "table", value_parser = json_object)]
    pub(crate) explain: Option<serde_json::Value>,
    #[command(flatten)]
    pub(crate) format: Format,
}

fn json_object(text: &str) -> Result<serde_json::Value, String> {
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    match value {
        serde_json::Value::Object(_) => Ok(value),
        _ => Err("columns with their values are due: '{\"id\": 7}'".to_owned()),
    }
}
