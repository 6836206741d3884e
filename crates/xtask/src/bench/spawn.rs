//! `cargo xtask bench spawn`: how long a row takes to become a process.
//!
//! The measurement itself is a program of the end-to-end package, which knows how to start a
//! PostgreSQL and an emperor; here it is built, optimised like the programs that it starts.

use clap::Args;

use crate::progress::say;
use crate::workspace::{Profile, Workspace};
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
    say("Building optimised programs");
    let programs = workspace.build_programs(Profile::Release)?;
    // The measurement and the worker that it starts.
    let mut build = workspace.cargo("build");
    shell::run(build.args(["--release", "-p", "end-to-end", "--bins"]))?;
    let mut bench = shell::command(programs.join("bench-spawn"));
    bench.arg(arguments.rows.to_string());
    if let Some(nofile) = arguments.nofile {
        bench.arg(nofile.to_string());
    }
    Ok(shell::run(&mut bench)?)
}
