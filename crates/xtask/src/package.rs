//! `cargo xtask package`: the Debian package, of optimised programs.

use crate::progress::say;
use crate::workspace::{Profile, Workspace};
use crate::{TaskError, provision, shell};

/// Builds the programs and makes the package, whose path is the last line.
pub(crate) fn run(workspace: &Workspace) -> Result<(), TaskError> {
    provision::for_packages()?;
    say("Building optimised programs; the first time takes some minutes");
    workspace.build_programs(Profile::Release)?;
    say("Making the package; `apt install` takes its path");
    let mut deb = workspace.cargo("deb");
    deb.args(["--package", "emperor", "--no-build"]);
    Ok(shell::run(&mut deb)?)
}
