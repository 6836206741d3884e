//! Ends what an earlier emperor left and nobody takes over: what was being spawned when it died,
//! what can't be run any more, and what can't be taken over. In order, so that no site runs twice.

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::child::{KILLED_PATIENCE, kernel_signal};
use super::pidfd::Pidfd;
use super::record::Record;
use super::running::remove_folder;
use super::session::kill_orphans;

/// Ends every process that is written down in these folders, all at once, and removes what they
/// leave. Returns how many there were.
pub(super) async fn reclaim(folders: impl IntoIterator<Item = PathBuf>) -> usize {
    let mut ended = JoinSet::new();
    for folder in folders {
        ended.spawn(end_and_remove(folder));
    }
    let found = ended.join_all().await;
    found.iter().filter(|&&found| found == Found::Ended).count()
}

/// What was found in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing ran there any more.
    Nothing,
    /// A process, which has ended.
    Ended,
    /// A process that even SIGKILL does not end.
    Unending,
}

async fn end_and_remove(folder: PathBuf) -> Found {
    let found = match Record::read(&folder) {
        Some(record) => end(&record, &folder).await,
        None => Found::Nothing,
    };
    match found {
        Found::Nothing | Found::Ended => remove_folder(folder).await,
        // The next start finds it again.
        Found::Unending => {}
    }
    found
}

async fn end(record: &Record, folder: &Path) -> Found {
    let found = match Leader::held(record) {
        Some(leader) => leader.end(record, folder).await,
        None => Found::Nothing,
    };
    if let Some((session, uid)) = record.session() {
        let orphans = spawn_blocking(move || kill_orphans(session, uid)).await;
        if let Err(error) = orphans {
            warn!(%error, "looking for left-over processes broke off");
        }
    }
    found
}

/// The main process of a left-over instance, held so that nobody else can be meant.
struct Leader {
    pid: Pid,
    held: Pidfd,
}

impl Leader {
    /// Held first and compared then: what was compared is what is held.
    fn held(record: &Record) -> Option<Self> {
        let pid = record.living()?;
        let held = Pidfd::open(pid).ok()?;
        record.living().map(|pid| Self { pid, held })
    }

    async fn end(&self, record: &Record, folder: &Path) -> Found {
        let (pid, folder) = (self.pid.as_raw_nonzero(), folder.display());
        info!(%pid, %folder, "a process that an earlier emperor left is ended");
        let stop = record.stop();
        self.held.send(kernel_signal(stop.signal));
        if timeout(stop.grace, self.held.ended()).await.is_ok() {
            return Found::Ended;
        }
        // It lives, so the group's number is still its own.
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.held.send(Signal::KILL);
        if timeout(KILLED_PATIENCE, self.held.ended()).await.is_ok() {
            return Found::Ended;
        }
        error!(%pid, %folder, "a killed process does not end; its site will run twice");
        Found::Unending
    }
}
