//! Cargo subcommands that are built from source where they are missing.

use super::error::ProvisionError;
use crate::progress::say;
use crate::shell;

/// Installs a subcommand, unless cargo has it.
pub(super) fn require(subcommand: &str, package: &str) -> Result<(), ProvisionError> {
    if shell::succeeds(shell::cargo().args([subcommand, "--version"])) {
        return Ok(());
    }
    say(&format!("Building {package} (cargo install; some minutes)"));
    shell::run(shell::cargo().args(["install", "--locked", package]))?;
    Ok(())
}
