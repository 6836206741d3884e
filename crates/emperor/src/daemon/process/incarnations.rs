//! Numbers for spawns, never given twice for as long as a state folder lives.
//!
//! The file says which numbers may have been given; blocks of them are claimed ahead, so that a
//! daemon that is killed skips a few hundred numbers and reuses none, and a spawn waits for no
//! disk. Where nothing can be claimed (a full disk), numbers go on from the milliseconds since 1970:
//! far above any number that was counted, and above those of an earlier emergency, since nobody
//! spawns a thousand processes a second for long.

use std::fs::read_to_string;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use site_model::Incarnation;
use tracing::warn;

use super::durable;
use super::stretch::Stretch;

/// How many numbers are claimed at once.
const BLOCK: u64 = 1000;
/// With fewer left than this, more are claimed: far more than are spawned while that happens.
const LOW: u64 = BLOCK / 2;

/// The numbers of one state folder.
#[derive(Debug)]
pub(super) struct Incarnations {
    file: PathBuf,
    state: Mutex<State>,
    /// Held by whoever writes the file.
    claiming: Mutex<()>,
    failures: Stretch,
}

#[derive(Debug, Clone, Copy)]
struct State {
    next: u64,
    /// The first number that is not claimed.
    limit: u64,
}

impl Incarnations {
    /// Goes on where the file says, and claims the first block. Blocks on the disk.
    pub(super) fn open(file: PathBuf) -> Self {
        let next = match read_to_string(&file) {
            Ok(text) => text.trim().parse().ok(),
            Err(error) if error.kind() == ErrorKind::NotFound => Some(1),
            Err(_) => None,
        };
        // What can't be read may hold any count: only the clock is surely above it.
        let next = next.unwrap_or_else(|| {
            warn!(file = %file.display(), "the spawns counted so far can't be read; numbers go on from the clock");
            milliseconds_since_1970()
        });
        let incarnations = Self {
            file,
            state: Mutex::new(State { next, limit: next }),
            claiming: Mutex::default(),
            failures: Stretch::default(),
        };
        incarnations.claim_ahead();
        incarnations
    }

    /// The next number. Touches no disk.
    pub(super) fn next(&self) -> Incarnation {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.next >= state.limit {
            state.next = state.next.max(milliseconds_since_1970());
        }
        let given = state.next;
        state.next += 1;
        Incarnation::new(given)
    }

    /// Claims the next block if few numbers are left. Blocks on the disk; a failure is logged, and
    /// tried again at the next call.
    pub(super) fn claim_ahead(&self) {
        // Somebody else is about it, and nobody waits for a disk.
        let Ok(_claiming) = self.claiming.try_lock() else {
            return;
        };
        let State { next, limit } = *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if next + LOW < limit {
            return;
        }
        let limit = next.max(limit) + BLOCK;
        match durable::replace(&self.file, &format!("{limit}\n")) {
            Ok(()) => {
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                self.failures.went_well();
                // In the meantime the clock may have been asked: then this claim is too low.
                if limit > state.next {
                    state.limit = state.limit.max(limit);
                }
            }
            Err(error) if self.failures.failed() => {
                warn!(%error, "no numbers for further spawns could be claimed");
            }
            Err(_) => {}
        }
    }
}

fn milliseconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        since.as_secs() * 1000 + u64::from(since.subsec_millis())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn take(incarnations: &Incarnations, count: usize) -> Vec<u64> {
        (0..count).map(|_| incarnations.next().get()).collect()
    }

    #[test]
    fn numbers_count_up_from_one_and_a_restart_reuses_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("incarnations");
        let first = Incarnations::open(file.clone());
        assert_eq!(take(&first, 3), [1, 2, 3]);
        // As after a kill: nothing was written at the end.
        let second = Incarnations::open(file);
        assert_eq!(take(&second, 1), [1001]);
    }

    #[test]
    fn blocks_are_claimed_before_they_are_used_up() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("incarnations");
        let incarnations = Incarnations::open(file.clone());
        for _ in 0..10 {
            take(&incarnations, 300);
            incarnations.claim_ahead();
        }
        let claimed: u64 = read_to_string(&file).unwrap().trim().parse().unwrap();
        assert_eq!(take(&incarnations, 1), [3001]);
        assert!(claimed > 3001);
    }

    #[test]
    fn without_a_disk_numbers_go_on_above_all_that_were_counted() {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = folder.path().join("gone/incarnations");
        let incarnations = Incarnations::open(nowhere);
        let first = take(&incarnations, 2);
        assert!(first[0] > 1_000_000_000_000 && first[1] > first[0]);
        let again = Incarnations::open(folder.path().join("gone/incarnations"));
        std::thread::yield_now();
        assert!(take(&again, 1)[0] >= first[0]);
    }

    #[test]
    fn a_file_that_says_nothing_is_not_taken_for_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("incarnations");
        fs::write(&file, "").unwrap();
        let incarnations = Incarnations::open(file.clone());
        let first = take(&incarnations, 1)[0];
        assert!(first > 1_000_000_000_000);
        let restarted = Incarnations::open(file);
        assert_eq!(take(&restarted, 1), [first + BLOCK]);
    }
}
