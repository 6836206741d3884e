//! `cargo xtask bench supervision`: what happens by the thousands, and how soon it is dealt with.
//!
//! The measurement itself is a program of the end-to-end package, as that of `spawn` is.

use clap::Args;

use crate::progress::say;
use crate::workspace::{Profile, Workspace};
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
    say("Building optimised programs");
    let programs = workspace.build_all(Profile::Release)?;
    let mut bench = shell::command(programs.join("bench-supervision"));
    // What an operator has; the debug log of ten thousand rows would be measured otherwise.
    bench.env("EMPEROR_LOG", "info");
    Ok(shell::run(bench.args(&arguments.measurement))?)
}
