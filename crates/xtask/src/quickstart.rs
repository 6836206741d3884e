//! `cargo xtask quickstart`: from a fresh clone to three sites that answer.

use std::path::PathBuf;

use clap::Args;

use crate::progress::say;
use crate::workspace::{Profile, Workspace};
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where it keeps its data; what is there is used again
    #[arg(long, value_name = "DIR", default_value = "./.emperor")]
    dir: PathBuf,
    /// Where it accepts requests
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Build optimised programs: a longer build for faster answers
    #[arg(long)]
    release: bool,
}

/// Installs what is missing, builds, and becomes `emperor quickstart`.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    provision::for_quickstart()?;
    let profile = if arguments.release {
        say("Building optimised programs; the first time takes some minutes");
        Profile::Release
    } else {
        say("Building (unoptimised, which is sooner; --release for speed)");
        Profile::Dev
    };
    let programs = workspace.build_programs(profile)?;
    say("Starting emperor quickstart");
    let failure = shell::become_program(
        shell::command(programs.join("emperor"))
            .arg("quickstart")
            .arg("--dir")
            .arg(&arguments.dir)
            .args(["--listen", &arguments.listen]),
    );
    Err(failure.into())
}
