//! `cargo xtask bench supervision`: what happens by the thousands, and how soon it is dealt with.

use clap::Args;

use super::measurements::Measurements;
use crate::workspace::Workspace;
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `kills`, `router`, `cold`, `sleep`, `storm`, `asleep` or `update`, and what it takes: `storm --rows 1000`
    #[arg(
        value_name = "MEASUREMENT",
        required = true,
        num_args = 1..,
        allow_hyphen_values = true
    )]
    measurement: Vec<String>,
}

/// Builds and runs it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    provision::for_quickstart()?;
    let mut bench = Measurements::build(workspace)?.command("bench-supervision");
    Ok(shell::run(bench.args(&arguments.measurement))?)
}
