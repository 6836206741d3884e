//! One daemon per `state_dir` and per `runtime_dir`: two would start every site twice, write over each
//! other's files, and take each other's workers for ones that a killed daemon left behind.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;

/// The held lock. The kernel lets go of it when the process ends, however it ends, so that a lock
/// never has to be removed by hand.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// The lock can't be had.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error(
        "another emperor{} runs on {}; stop it, or give this one a state_dir and a runtime_dir \
         of its own", pid_text(*.pid), folder.display()
    )]
    Held { folder: PathBuf, pid: Option<u32> },
    #[error("could not lock {}: {source}; the emperor's user has to be able to write there", path.display())]
    Io { path: PathBuf, source: io::Error },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

impl FolderLock {
    /// Takes the lock at once or not at all.
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let failed = |source| LockError::Io {
            path: path.clone(),
            source,
        };
        // Not truncated before it is held: what is in it is the holder's.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Whoever can open it can lock it, and keep the daemon from starting.
        options.mode(0o600);
        let mut file = options.open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = read_pid(&mut file);
                return Err(LockError::Held {
                    folder: folder.to_owned(),
                    pid,
                });
            }
            Err(error) => return Err(failed(error.into())),
        }
        if let Err(error) = write_pid(&mut file) {
            // Only the message of a second emperor would name it; a full disk must stop nothing.
            tracing::warn!(path = %path.display(), %error, "could not write the pid into the lock");
        }
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::let_go::once_let_go;

    #[test]
    fn a_second_emperor_is_told_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let held = FolderLock::take(folder.path()).unwrap();
        let error = FolderLock::take(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(&format!("(pid {})", std::process::id())),
            "{error}"
        );
        drop(held);
        once_let_go(|| FolderLock::take(folder.path()));
    }
}
