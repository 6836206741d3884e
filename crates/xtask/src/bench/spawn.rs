//! `cargo xtask bench spawn`: how long a row takes to become a process.

use clap::Args;

use super::measurements::Measurements;
use crate::workspace::Workspace;
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many rows are inserted, one after the other
    #[arg(long, default_value_t = 200)]
    rows: u32,
    /// With this many descriptors at most, as soft and as hard limit, of everything that it starts
    #[arg(long)]
    nofile: Option<u64>,
}

/// Builds and runs it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    provision::for_quickstart()?;
    let mut bench = Measurements::build(workspace)?.command("bench-spawn");
    bench.arg(arguments.rows.to_string());
    if let Some(nofile) = arguments.nofile {
        bench.arg(nofile.to_string());
    }
    Ok(shell::run(&mut bench)?)
}
