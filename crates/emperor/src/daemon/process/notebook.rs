//! Writes small files for the next emperor, off the loop: whoever has something to remember doesn't
//! wait for the disk. Who may go on only when it is written awaits [`Notebook::write_all`].
//!
//! A level, not a journal: only the last text for each file counts, so there are at most as many
//! pages as instances and sites. Nothing is made durable against a loss of power, since no process
//! survives that either; each file is replaced whole, so a reader never finds a half.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tracing::{debug, warn};

use super::stretch::Stretch;

/// The pages that are still to be written.
#[derive(Debug, Default)]
pub(super) struct Notebook {
    pages: Mutex<Pages>,
    changed: Notify,
    /// Held while pages are being written, also where whoever has that done is gone by then.
    turn: Arc<tokio::sync::Mutex<()>>,
    failures: Arc<Stretch>,
}

/// By file; `None`: the file is to go.
type Pages = BTreeMap<PathBuf, Option<String>>;

impl Notebook {
    /// Has a file replaced, or removed.
    pub(super) fn note(&self, file: PathBuf, text: Option<String>) {
        self.pages().insert(file, text);
        self.changed.notify_one();
    }

    /// Writes what comes, for as long as it is polled.
    pub(super) async fn keep(&self) {
        loop {
            self.changed.notified().await;
            self.write_all().await;
        }
    }

    /// Returns once everything that was noted before is on the disk, whoever writes it.
    ///
    /// Cancel safe: what has begun to be written is written.
    pub(super) async fn write_all(&self) {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let pages = std::mem::take(&mut *self.pages());
        if pages.is_empty() {
            return;
        }
        let failures = Arc::clone(&self.failures);
        let write = move || {
            for (file, text) in &pages {
                write(file, text.as_deref(), &failures);
            }
            drop(turn);
        };
        if let Err(error) = spawn_blocking(write).await {
            warn!(%error, "writing for the next emperor broke off");
        }
    }

    /// Returns once this file is written no more: its folder is to go.
    pub(super) async fn forget(&self, file: &Path) {
        self.pages().remove(file);
        drop(self.turn.lock().await);
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(file: &Path, text: Option<&str>, failures: &Stretch) {
    let written = match text {
        Some(text) => replace(file, text),
        None => remove_file(file),
    };
    match written {
        Ok(()) if text.is_some() => failures.went_well(),
        Ok(()) => {}
        // Its folder is gone, and with it whoever it was about; or there was no file.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            debug!(file = %file.display(), "there is nothing left to write about");
        }
        Err(error) if failures.failed() => warn!(
            file = %file.display(), %error,
            "could not be written; an emperor that follows on a crash would know less"
        ),
        Err(error) => debug!(file = %file.display(), %error, "could not be written either"),
    }
}

fn replace(file: &Path, text: &str) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&beside)?.write_all(text.as_bytes())?;
    rename(&beside, file)
}

#[cfg(test)]
mod tests {
    use std::fs::read_to_string;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_a_page_waits_for_those_that_another_writes() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::default();
        let turn = notebook.turn.lock().await;
        // As the other has it: taken out of the book, and not on the disk yet.
        let mut waiting = Box::pin(notebook.write_all());
        assert!((&mut waiting).now_or_never().is_none());
        let file = folder.path().join("a.json");
        write(&file, Some("1"), &notebook.failures);
        drop(turn);
        waiting.await;
        assert_eq!(read_to_string(&file).unwrap(), "1");
    }

    #[tokio::test]
    async fn the_last_text_counts_and_a_file_can_go() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::default();
        let file = folder.path().join("a.json");
        notebook.note(file.clone(), Some("1".into()));
        notebook.note(file.clone(), Some("2".into()));
        notebook.write_all().await;
        assert_eq!(read_to_string(&file).unwrap(), "2");
        notebook.note(file.clone(), None);
        notebook.write_all().await;
        assert!(!file.exists());
    }

    #[tokio::test]
    async fn nothing_is_written_about_what_was_forgotten_or_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::default();
        let file = folder.path().join("a.json");
        notebook.note(file.clone(), Some("1".into()));
        notebook.forget(&file).await;
        notebook.note(folder.path().join("gone/b.json"), Some("1".into()));
        notebook.write_all().await;
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
