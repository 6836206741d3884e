//! `cargo xtask chaos`: faults under load, and what visitors notice of them.
//!
//! The harness is a program of the end-to-end package, which knows how to start a PostgreSQL and an
//! emperor; here it is built and run. `docs/RELIABILITY.md` says how to read its table.

use std::path::PathBuf;
use std::{fs, io};

use clap::Args;
use thiserror::Error;

use crate::progress::say;
use crate::workspace::{Profile, Workspace};
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The short form, as the tests have it: seconds for each fault instead of minutes
    #[arg(long)]
    short: bool,
    /// Requests per second over all sites
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Only the faults whose names hold this word; can be given several times
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Build optimised programs: a longer build for latencies that mean something
    #[arg(long)]
    release: bool,
}

/// Why it could not run.
#[derive(Debug, Error)]
pub(crate) enum ChaosError {
    /// The folder for the broken requests can't be made.
    #[error("could not make {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Builds and runs it; fails where a bound was broken.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    provision::for_quickstart()?;
    say("Building every program");
    let profile = if arguments.release {
        Profile::Release
    } else {
        Profile::Dev
    };
    let programs = workspace.build_all(profile)?;
    let folder = workspace.target.join("chaos");
    fs::create_dir_all(&folder).map_err(|source| ChaosError::Folder {
        path: folder.clone(),
        source,
    })?;
    let mut chaos = shell::command(programs.join("chaos"));
    chaos.arg("--broken").arg(folder.join("broken.jsonl"));
    chaos.args(["--rate", &arguments.rate.to_string()]);
    if arguments.short {
        chaos.arg("--short");
    }
    for word in &arguments.only {
        chaos.args(["--only", word]);
    }
    Ok(shell::run(&mut chaos)?)
}
