//! Measurements that are programs of the end-to-end package.

use std::path::PathBuf;
use std::process::Command;

use crate::progress::say;
use crate::shell::{self, CommandError};
use crate::workspace::{Profile, Workspace};

/// They know how to start a PostgreSQL and an emperor. Built here, optimised like the programs that they start.
#[derive(Debug)]
pub(super) struct Measurements(PathBuf);

impl Measurements {
    pub(super) fn build(workspace: &Workspace) -> Result<Self, CommandError> {
        say("Building optimised programs");
        Ok(Self(workspace.build_all(Profile::Release)?))
    }

    /// One of them, by its name.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut measurement = shell::command(self.0.join(name));
        // What an operator has; the debug log of ten thousand rows would be measured otherwise.
        measurement.env("EMPEROR_LOG", "info");
        measurement
    }
}
