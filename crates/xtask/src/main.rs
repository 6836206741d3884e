//! Developer commands: `cargo xtask quickstart | test | ci | bench | chaos | fuzz |
//! package`.
//!
//! Each command has a module of its own; what a machine must have for one is in [`provision`], and
//! processes are started in [`shell`] alone. Nothing of Emperor itself is linked in, so that these
//! commands build in seconds on a fresh clone.

mod bench;
mod chaos;
mod ci;
mod error;
mod fuzz;
mod package;
mod progress;
mod provision;
mod quickstart;
mod shell;
mod test;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::TaskError;
use workspace::Workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Developer commands of Emperor")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// A private PostgreSQL, three demo sites and the daemon, in the foreground
    Quickstart(quickstart::Arguments),
    /// Every test, over real parts; what they need is installed first
    Test(test::Arguments),
    /// What CI runs: fmt, clippy, doc, deny, test
    Ci,
    /// Measurements, printed as tables
    #[command(subcommand)]
    Bench(bench::Arguments),
    /// Faults under load: which requests fail, and whether they may
    Chaos(chaos::Arguments),
    /// Every parser of outside bytes under a fuzzer
    Fuzz(fuzz::Arguments),
    /// The Debian package
    Package,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), TaskError> {
    let workspace = Workspace::find()?;
    match task {
        Task::Quickstart(arguments) => quickstart::run(&workspace, &arguments),
        Task::Test(arguments) => test::run(&workspace, &arguments),
        Task::Ci => ci::run(&workspace),
        Task::Bench(arguments) => bench::run(&workspace, &arguments),
        Task::Chaos(arguments) => chaos::run(&workspace, &arguments),
        Task::Fuzz(arguments) => fuzz::run(&workspace, &arguments),
        Task::Package => package::run(&workspace),
    }
}
