//! What readers have to say to the database, until it is written: the latest mark of each, and the
//! last dead letters. Never full, so nobody who purges waits for a database.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::event::{DeadLetter, Mark};
use super::news::Reader;

/// Letters that wait to be written. Beyond, the oldest is dropped: its target and reason were logged.
const MAX_LETTERS: usize = 1_000;

/// Shared by the handles and the task that writes.
#[derive(Debug, Default)]
pub(super) struct Post {
    outgoing: Mutex<Outgoing>,
    arrived: Notify,
}

/// What is to be written.
#[derive(Debug, Default, Clone)]
pub(super) struct Outgoing {
    pub(super) marks: BTreeMap<Reader, Mark>,
    pub(super) letters: VecDeque<DeadLetter>,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.letters.is_empty()
    }

    fn note(&mut self, reader: Reader, mark: Mark) {
        let known = self.marks.entry(reader).or_insert_with(|| mark.clone());
        if known.number < mark.number {
            *known = mark;
        }
    }

    fn post(&mut self, letter: DeadLetter) {
        if self.letters.len() == MAX_LETTERS {
            self.letters.pop_front();
        }
        self.letters.push_back(letter);
    }
}

impl Post {
    /// Everything up to a mark is done.
    pub(super) fn acknowledge(&self, reader: Reader, mark: Mark) {
        self.with(|outgoing| outgoing.note(reader, mark));
        self.arrived.notify_one();
    }

    pub(super) fn dead_letter(&self, letter: DeadLetter) {
        self.with(|outgoing| outgoing.post(letter));
        self.arrived.notify_one();
    }

    /// Waits until there is something to write. Cancel safe.
    pub(super) async fn waiting(&self) {
        while self.with(|outgoing| outgoing.is_empty()) {
            self.arrived.notified().await;
        }
    }

    pub(super) fn take(&self) -> Outgoing {
        self.with(std::mem::take)
    }

    /// What could not be written goes back; what came meanwhile counts.
    pub(super) fn put_back(&self, unwritten: Outgoing) {
        self.with(|outgoing| {
            for (reader, mark) in unwritten.marks {
                outgoing.note(reader, mark);
            }
            let newer = std::mem::take(&mut outgoing.letters);
            for letter in unwritten.letters.into_iter().chain(newer) {
                outgoing.post(letter);
            }
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Outgoing) -> T) -> T {
        act(&mut self.outgoing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
