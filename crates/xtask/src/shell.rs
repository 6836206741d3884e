//! Starting other programs: the one place of this crate that does.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use thiserror::Error;

/// A program that could not be started, or ended badly.
#[derive(Debug, Error)]
pub(crate) enum CommandError {
    /// It could not be started.
    #[error("could not start `{command}`")]
    Start {
        command: String,
        #[source]
        source: io::Error,
    },
    /// It ended with a status other than 0.
    #[error("`{command}` failed: {status}")]
    Failed { command: String, status: ExitStatus },
}

/// A command that inherits the terminal and the environment.
#[expect(
    clippy::disallowed_methods,
    reason = "every program that xtask starts is made here"
)]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// The cargo that runs this command.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Result<(), CommandError> {
    let status = command
        .status()
        .map_err(|source| not_started(command, source))?;
    checked(command, status)
}

/// Starts it and leaves it running.
pub(crate) fn start(command: &mut Command) -> Result<Child, CommandError> {
    command
        .spawn()
        .map_err(|source| not_started(command, source))
}

/// Runs it to its end and takes what it said.
pub(crate) fn output(command: &mut Command) -> Result<String, CommandError> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|source| not_started(command, source))?;
    checked(command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it can be started and ends well; nobody sees what it says.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Becomes the program. Returns only where that failed.
pub(crate) fn become_program(command: &mut Command) -> CommandError {
    let source = command.exec();
    not_started(command, source)
}

/// Where a program is found among folders.
pub(crate) fn find_in<'a>(
    folders: impl IntoIterator<Item = &'a Path>,
    program: &str,
) -> Option<PathBuf> {
    let mut candidates = folders.into_iter().map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}

fn checked(command: &Command, status: ExitStatus) -> Result<(), CommandError> {
    if status.success() {
        return Ok(());
    }
    Err(CommandError::Failed {
        command: shown(command),
        status,
    })
}

fn not_started(command: &Command, source: io::Error) -> CommandError {
    CommandError::Start {
        command: shown(command),
        source,
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    words.join(" ")
}
