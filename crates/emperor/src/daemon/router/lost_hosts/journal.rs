//! The journal of hosts on disk. A line that is written outlives this process, since the kernel has it; only
//! one that was closed outlives the machine, and whoever reads another knows that it may lack its end.
//!
//! Where it can't be written, there is none: the next emperor then takes nothing for known.

use std::fs::{File, OpenOptions, read_to_string, remove_file};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use tracing::{debug, warn};

use super::line::{Lines, Replayed};
use crate::daemon::process::{boot_id, replace_file};

/// Until routers have a table, nothing hurries: so much is written at once.
const AT_ONCE_BYTES: usize = 64 * 1024;
/// A journal is written anew when it has grown by so much and has doubled.
const GROWN_BYTES: usize = 1024 * 1024;
/// One that is read is written anew where so many lines, and half of them, say nothing any more.
const IDLE_LINES: usize = 1_000;

/// The journal, open for more.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    started: String,
    /// `None`: it can't be written.
    file: Option<File>,
    unwritten: Lines,
    /// When it was written anew, and since.
    whole_bytes: usize,
    grown_bytes: usize,
}

impl Journal {
    /// Reads what there is, and goes on there. Blocks on the disk.
    pub(super) fn open(path: PathBuf) -> (Self, Replayed) {
        Self::open_since(path, boot_id())
    }

    fn open_since(path: PathBuf, started: String) -> (Self, Replayed) {
        let mut journal = Self {
            path,
            started,
            file: None,
            unwritten: Lines::default(),
            whole_bytes: 0,
            grown_bytes: 0,
        };
        let text = journal.read();
        let replayed = Replayed::of(&text, &journal.started);
        journal.whole_bytes = text.len();
        let idle = replayed.lines.saturating_sub(replayed.least_lines());
        let is_idle = idle > IDLE_LINES && idle > replayed.lines / 2;
        if text.is_empty() || replayed.torn || is_idle {
            journal.write_anew(&replayed);
        } else {
            journal.go_on(&replayed);
        }
        (journal, replayed)
    }

    /// Removes a journal that nobody keeps any more.
    pub(super) fn remove(path: &Path) {
        match remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => warn!(
                file = %path.display(), %error,
                "could not be removed; remove it before a [[purge.target]] is named again"
            ),
        }
    }

    /// Has lines written with others.
    pub(super) fn add(&mut self, lines: &Lines) {
        self.unwritten.0.push_str(&lines.0);
        if self.unwritten.0.len() >= AT_ONCE_BYTES {
            self.write();
        }
    }

    /// Returns once the kernel has what was added.
    pub(super) fn write(&mut self) {
        let lines = std::mem::take(&mut self.unwritten);
        let Some(file) = self.file.as_mut().filter(|_| !lines.0.is_empty()) else {
            return;
        };
        if let Err(error) = file.write_all(lines.0.as_bytes()) {
            return self.give_up(&error);
        }
        self.grown_bytes += lines.0.len();
        if self.grown_bytes > GROWN_BYTES.max(self.whole_bytes) {
            let replayed = Replayed::of(&self.read(), &self.started);
            self.write_anew(&replayed);
        }
    }

    /// Nothing is published any more. Returns once the disk has all of it.
    pub(super) fn close(mut self) {
        self.write();
        let mut closed = Lines::default();
        closed.closed();
        let closing = self.file.as_mut().map(|file| {
            // What it closes is there before it is.
            file.sync_data()?;
            file.write_all(closed.0.as_bytes())?;
            file.sync_data()
        });
        if let Some(Err(error)) = closing {
            self.give_up(&error);
        }
    }

    fn read(&self) -> String {
        match read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => {
                warn!(
                    file = %self.path.display(), %error,
                    "could not be read: nobody knows what the purge targets hold"
                );
                String::new()
            }
        }
    }

    fn go_on(&mut self, replayed: &Replayed) {
        self.open_for_more();
        if !replayed.is_of(&self.started) {
            self.unwritten.started(&self.started);
            self.write();
        }
    }

    fn open_for_more(&mut self) {
        match OpenOptions::new().append(true).open(&self.path) {
            Ok(file) => self.file = Some(file),
            Err(error) => self.give_up(&error),
        }
    }

    fn write_anew(&mut self, replayed: &Replayed) {
        let mut lines = Lines::first(&self.started, replayed.unknown);
        for way in &replayed.led {
            lines.leads(way);
        }
        for (site, hosts) in &replayed.lost {
            for host in hosts {
                lines.owed(*site, host);
            }
        }
        (self.whole_bytes, self.grown_bytes) = (lines.0.len(), 0);
        if let Err(failure) = replace_file(&self.path, &lines.0) {
            return self.give_up(&failure.error);
        }
        self.open_for_more();
    }

    /// What is there lacks something from here on, and must not be taken for whole.
    fn give_up(&mut self, error: &std::io::Error) {
        warn!(
            file = %self.path.display(), %error,
            "hosts that sites lose are noted in memory alone; the next emperor purges everything in every \
             target once"
        );
        // Either will do: an empty journal says as little as none.
        let emptied = self.file.take().map(|file| file.set_len(0));
        let removed = remove_file(&self.path);
        debug!(?emptied, ?removed, "the journal of hosts is gone");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn lines(ways: &[&str]) -> Lines {
        let mut lines = Lines::default();
        for way in ways {
            lines.leads(way);
        }
        lines
    }

    fn led(replayed: &Replayed) -> Vec<&str> {
        let led: BTreeSet<_> = replayed.led.iter().map(|way| &**way).collect();
        led.into_iter().collect()
    }

    fn open(path: &Path, started: &str) -> (Journal, Replayed) {
        Journal::open_since(path.to_owned(), started.to_owned())
    }

    #[test]
    fn what_was_written_outlives_a_kill_and_what_was_closed_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.journal");
        let (mut first, found) = open(&path, "monday");
        assert!(found.unknown, "there was none");
        first.add(&lines(&["1 a"]));
        let mut known = Lines::default();
        known.known();
        first.add(&known);
        first.write();
        // As after a kill.
        drop(first);
        let (mut second, found) = open(&path, "monday");
        assert_eq!((led(&found), found.unknown), (vec!["1 a"], false));
        second.add(&lines(&["2 b"]));
        second.close();
        let (third, found) = open(&path, "tuesday");
        assert_eq!((led(&found), found.unknown), (vec!["1 a", "2 b"], false));
        drop(third);
        let (fourth, found) = open(&path, "tuesday");
        assert!(!found.unknown);
        drop(fourth);
        let (_, found) = open(&path, "wednesday");
        assert!(found.unknown, "nobody closed it");
    }

    #[test]
    fn one_that_was_torn_goes_on_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.journal");
        std::fs::write(&path, "@monday\n+1 a\n-1 a\n+2 b\n+3 c").unwrap();
        let (mut journal, found) = open(&path, "monday");
        assert_eq!(led(&found), ["2 b"]);
        journal.add(&lines(&["4 d"]));
        journal.write();
        let (_, found) = open(&path, "monday");
        assert_eq!((led(&found), found.lost.len()), (vec!["2 b", "4 d"], 1));
        assert!(!found.unknown && !found.torn);
    }

    #[test]
    fn one_that_grows_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.journal");
        let (mut journal, _) = open(&path, "monday");
        let host: site_model::HostPattern = "a.example".parse().unwrap();
        let site = site_model::SiteId::new(1).unwrap();
        let mut moves = Lines::default();
        for _ in 0..1_000 {
            moves.leads("1 a.example");
            moves.lost("1 a.example");
            moves.purged(site, &host);
        }
        moves.leads("2 a.example");
        let rounds = 2 * GROWN_BYTES / moves.0.len();
        for _ in 0..rounds {
            journal.add(&moves);
            journal.write();
        }
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes < GROWN_BYTES as u64 + 100_000, "{bytes}");
        drop(journal);
        let (_, found) = open(&path, "monday");
        assert_eq!((led(&found), found.lost.len()), (vec!["2 a.example"], 0));
        let bytes = std::fs::metadata(&path).unwrap().len();
        assert!(bytes < 100, "{bytes}");
    }

    #[test]
    fn one_that_can_t_be_written_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/hosts.journal");
        let (mut journal, _) = open(&path, "monday");
        journal.add(&lines(&["1 a"]));
        journal.write();
        std::fs::create_dir(folder.path().join("gone")).unwrap();
        journal.add(&lines(&["2 b"]));
        journal.write();
        journal.close();
        let (_, found) = open(&path, "monday");
        assert!(found.unknown && found.led.is_empty());
    }
}
