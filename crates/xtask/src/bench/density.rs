//! `cargo xtask bench density`: what a site of a Django project costs, beside uWSGI's emperor.

use clap::Args;

use super::document;
use super::measurements::Measurements;
use crate::progress::say;
use crate::workspace::Workspace;
use crate::{TaskError, provision, shell};

/// Where the figures are kept.
const DOCUMENT: &str = "docs/PERFORMANCE.md";
const SECTION: &str = "bench density";

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Write the figures into docs/PERFORMANCE.md
    #[arg(long)]
    write: bool,
    /// Handed on: `-- --sites 1,20 --only gunicorn`, or `-- --help`
    #[arg(value_name = "ARGUMENT", last = true)]
    measurement: Vec<String>,
}

/// Builds and runs it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    let python = provision::for_density(workspace)?;
    let mut bench = Measurements::build(workspace)?.command("bench-density");
    bench.env(provision::PYTHON_VARIABLE, python);
    bench.args(&arguments.measurement);
    if !arguments.write {
        return Ok(shell::run(&mut bench)?);
    }
    let table = shell::output(&mut bench)?;
    say(&format!("Writing into {DOCUMENT}"));
    document::replace_section(&workspace.path(DOCUMENT), SECTION, &table)?;
    Ok(())
}
