//! For how many instances the emperor has descriptors.
//!
//! Where these run out, everything fails that needs one: a router that has died gets no successor, the
//! control socket takes no connection, the database can't be reached again. So instances leave some to
//! all of that, and one that would take from these isn't started, which concerns its site alone.

use std::sync::Arc;

use super::failure::SpawnFailure;

/// What the emperor holds open of each: its exit, its two outputs, its notifications.
const OF_AN_INSTANCE: u64 = 4;
/// What is left to everything else: sockets, sessions, files, and what starts hold for a moment.
const LEFT: u64 = 256;
/// Of a low limit no more than this part is left.
const PART_LEFT: u64 = 8;

/// What is given to instances.
#[derive(Debug)]
pub(super) struct Room {
    /// The limit of descriptors.
    nofile: u64,
    /// One reference for each instance.
    taken: Arc<()>,
}

/// The room of one instance, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken {
    _one: Arc<()>,
}

impl Room {
    /// For an emperor that may open so many descriptors.
    pub(super) fn new(nofile: u64) -> Self {
        let taken = Arc::default();
        Self { nofile, taken }
    }

    /// For an instance that is to be started. Starts beside each other may take a little more than
    /// there is, which is among what is left.
    pub(super) fn take(&self) -> Result<Taken, SpawnFailure> {
        if self.instances() < self.most() {
            return Ok(self.take_anyhow());
        }
        Err(SpawnFailure::Descriptors {
            running: self.instances(),
            nofile: self.nofile,
        })
    }

    /// For an instance that runs.
    pub(super) fn take_anyhow(&self) -> Taken {
        Taken {
            _one: Arc::clone(&self.taken),
        }
    }

    fn most(&self) -> u64 {
        let left = LEFT.min(self.nofile / PART_LEFT);
        (self.nofile - left) / OF_AN_INSTANCE
    }

    fn instances(&self) -> u64 {
        Arc::strong_count(&self.taken) as u64 - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_leave_some_to_everything_else_and_one_that_ends_makes_room() {
        for (nofile, most) in [(1024, 224), (20_000, 4936)] {
            let room = Room::new(nofile);
            let mut held: Vec<_> = (0..most).map(|_| room.take().unwrap()).collect();
            let refused = room.take().unwrap_err().to_string();
            let told = format!("{most} run and it may open {nofile} descriptors");
            assert!(refused.contains(&told), "{refused}");
            held.pop();
            let last = room.take().unwrap();
            // One that runs already has them.
            held.push(room.take_anyhow());
            drop(last);
            assert!(room.take().is_err());
        }
    }

    #[test]
    fn no_limit_is_room_for_all() {
        assert!(Room::new(u64::MAX).take().is_ok());
    }
}
