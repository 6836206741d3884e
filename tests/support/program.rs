//! Starting programs: the one place of this package that does.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A command whose processes go where this test goes.
#[expect(
    clippy::disallowed_methods,
    reason = "every program that a test starts is made here"
)]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end and takes what it says; its failure is the test's.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Starts it with its output in a file.
pub fn start_logged(command: &mut Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

/// Where the three programs and the tiny worker are: all in the folder that cargo builds into.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    let folder = match folder.file_name() {
        Some(deps) if deps == "deps" => folder.parent().unwrap(),
        Some(_) | None => folder,
    };
    let program = folder.join(name);
    assert!(
        program.is_file(),
        "{} was not built; `cargo xtask test` builds it",
        program.display()
    );
    program
}

/// Waits for the end of a child; `None` when it goes on for longer.
pub fn wait_for_end(child: &mut Child, within: Duration) -> Option<std::process::ExitStatus> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() > deadline {
            return None;
        }
        pause();
    }
}

/// For cleaning up in `drop`, where nothing can be awaited.
#[expect(
    clippy::disallowed_methods,
    reason = "`drop` can't await, and a child has no event that std could wait for with a limit"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
