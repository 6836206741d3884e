//! Hosts by which no route leads to a site any more, or another way: what caches in front hold of them is
//! to be purged, since their pages were the site's and nothing else would ever name them again.
//!
//! | module | what it is |
//! |---|---|
//! | `book` | what was lost, and what of it isn't purged yet |
//! | `line` | how that is written down, and read again |
//! | `journal` | the file |
//!
//! A level: what is not purged yet is at most each host of each site once, however long the router or the
//! database is away. Kept where there is a purge target, and nowhere else.

mod book;
mod journal;
mod line;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use site_model::{Generation, HostPattern, SiteId, SiteRoute};
use tokio::sync::Notify;

use super::posted::Posted;
use book::Book;
pub(in crate::daemon) use book::Lost;
use journal::Journal;
use line::Lines;

/// What sites have lost.
#[derive(Debug, Default)]
pub(in crate::daemon) struct LostHosts {
    kept: Mutex<Option<Kept>>,
    stirred: Notify,
}

#[derive(Debug)]
struct Kept {
    book: Book,
    journal: Journal,
    /// Targets may hold what the journal doesn't name.
    unknown: bool,
    /// Routers have a table: what they are told is written down before.
    settled: bool,
}

/// While this is held, routes change, and nobody else sees what they led by.
#[derive(Debug)]
pub(in crate::daemon) struct Recording<'hosts> {
    kept: MutexGuard<'hosts, Option<Kept>>,
    stirred: &'hosts Notify,
    /// Hosts that a site is about to have, and under which another has answered.
    owed: Vec<HostPattern>,
}

impl LostHosts {
    /// From now on routes are recorded in this file. `present` tells those there are, and, where routers have
    /// a table, the generation that carries all of them. Blocks on the disk.
    pub(in crate::daemon) fn keep(
        &self,
        file: &Path,
        present: impl FnOnce() -> (OrdMap<SiteId, Posted>, Option<Generation>),
    ) {
        let mut recording = self.recording();
        if recording.is_kept() {
            return;
        }
        let (journal, replayed) = Journal::open(file.to_owned());
        let unknown = replayed.unknown;
        *recording.kept = Some(Kept {
            book: Book::after(replayed),
            journal,
            unknown,
            settled: false,
        });
        let (routes, carrier) = present();
        for route in routes.values().filter_map(Posted::route) {
            recording.leads(None, Some(&route), |_| false);
        }
        if let Some(carrier) = carrier {
            recording.settle(carrier);
        }
    }

    /// Nothing in front keeps pages. What stands in the file would be too old where something does again.
    pub(in crate::daemon) fn let_go(&self, file: &Path) {
        *self.recording().kept = None;
        Journal::remove(file);
    }

    /// The emperor ends: the routes that go now lead nowhere else. Blocks on the disk.
    pub(in crate::daemon) fn close(&self) {
        let kept = self.recording().kept.take();
        if let Some(kept) = kept {
            kept.journal.close();
        }
    }

    /// To be held while a route changes.
    pub(in crate::daemon) fn recording(&self) -> Recording<'_> {
        // Whoever panicked with it left lines that are true.
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Recording {
            kept,
            stirred: &self.stirred,
            owed: Vec::new(),
        }
    }

    /// Whether targets may hold what nobody has a note of.
    pub(in crate::daemon) fn are_unknown(&self) -> bool {
        self.recording()
            .kept
            .as_ref()
            .is_some_and(|kept| kept.unknown)
    }

    /// It is recorded that every target is to get everything purged.
    pub(in crate::daemon) fn started_over(&self) {
        if let Some(kept) = self.recording().kept.as_mut().filter(|kept| kept.unknown) {
            kept.unknown = false;
            let mut lines = Lines::default();
            lines.known();
            kept.note(&lines);
        }
    }

    /// Waits until hosts were lost, and returns the last generation that took one. Cancel safe, for one who
    /// waits.
    pub(in crate::daemon) async fn newest(&self) -> Generation {
        loop {
            let newest = self
                .recording()
                .kept
                .as_ref()
                .and_then(|kept| kept.book.newest());
            match newest {
                Some(newest) => return newest,
                None => self.stirred.notified().await,
            }
        }
    }

    /// What was lost in this generation or before.
    pub(in crate::daemon) fn lost(&self, generation: Generation) -> Lost {
        let recording = self.recording();
        let kept = recording.kept.as_ref();
        kept.map(|kept| kept.book.lost(generation))
            .unwrap_or_default()
    }

    /// Purges of what was lost in this generation or before are recorded, for the first time.
    pub(in crate::daemon) fn recorded(&self, lost: &Lost, generation: Generation) {
        if let Some(kept) = self.recording().kept.as_mut() {
            kept.book.recorded(lost, generation);
        }
    }

    /// Somebody else records from now on.
    pub(in crate::daemon) fn begin_anew(&self) {
        if let Some(kept) = self.recording().kept.as_mut() {
            kept.book.begin_anew();
        }
    }

    /// Purges of what was lost in this generation or before are recorded for the last time.
    pub(in crate::daemon) fn purged(&self, lost: &Lost, generation: Generation) {
        if let Some(kept) = self.recording().kept.as_mut() {
            let lines = kept.book.purged(lost, generation);
            kept.note(&lines);
        }
    }
}

impl Recording<'_> {
    /// Whether anybody wants to know.
    pub(in crate::daemon) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// A site's route is about to become another; `answered` tells whether another site has answered under a
    /// host without its being its own.
    pub(in crate::daemon) fn leads(
        &mut self,
        before: Option<&Arc<SiteRoute>>,
        after: Option<&Arc<SiteRoute>>,
        answered: impl Fn(&HostPattern) -> bool,
    ) {
        if let (Some(kept), Some(after)) = (self.kept.as_mut(), after) {
            // Of all that, nobody knows anything: whoever was known starts over.
            let answered = |host: &HostPattern| (kept.settled || !kept.unknown) && answered(host);
            let before = before.map(|before| &**before);
            let (lines, owed) = kept.book.leads(before, after, answered);
            kept.note(&lines);
            self.owed = owed;
        }
    }

    /// A site's route became another in this generation; `None`: it has none any more.
    pub(in crate::daemon) fn left(
        &mut self,
        before: Option<&Arc<SiteRoute>>,
        after: Option<&Arc<SiteRoute>>,
        generation: Generation,
    ) {
        let (Some(kept), Some(any)) = (self.kept.as_mut(), before.or(after)) else {
            return;
        };
        let owed = std::mem::take(&mut self.owed);
        kept.book.owe(any.id, owed, generation);
        if let Some(before) = before {
            let after = after.map(|after| &**after);
            let lines = kept.book.left(before, after, generation);
            kept.note(&lines);
        }
        self.stirred.notify_one();
    }

    /// Routers get their first table, with every route that the rows want, in this generation or before.
    pub(in crate::daemon) fn settle(&mut self, generation: Generation) {
        if let Some(kept) = self.kept.as_mut().filter(|kept| !kept.settled) {
            kept.settled = true;
            let lines = kept.book.settle(generation);
            kept.note(&lines);
            self.stirred.notify_one();
        }
    }
}

impl Kept {
    fn note(&mut self, lines: &Lines) {
        self.journal.add(lines);
        if self.settled {
            self.journal.write();
        }
    }
}

#[cfg(test)]
mod tests;
