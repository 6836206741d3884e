//! Who is told of processes that were stopped, or go on: the kernel sends SIGCHLD for a child, and
//! says no more than that something is new. So each child is asked, at most so often, and nobody is as
//! long as nothing happens. (A pidfd becomes readable at an end alone.)
//!
//! Of a process that an earlier emperor started the kernel tells `init`. It is looked at when its
//! probe or its requests fail.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tracing::warn;

use super::child::Child;

/// The least time between two rounds: ends are told by the same signal, and thousands may end at once.
const PAUSE: Duration = Duration::from_millis(250);

/// The children to be asked.
#[derive(Debug, Default)]
pub(super) struct Halts {
    children: Mutex<Vec<Weak<Child>>>,
}

impl Halts {
    /// From now on this one is asked, as long as somebody holds it.
    pub(super) fn add(&self, child: &Arc<Child>) {
        let mut children = self.lock();
        children.push(Arc::downgrade(child));
    }

    /// Asks all whenever the kernel has told that something is new. Never ends.
    pub(super) async fn follow(self: Arc<Self>, mut sigchld: Signal) {
        while sigchld.recv().await.is_some() {
            let halts = Arc::clone(&self);
            // A microsecond for each: of ten thousand, not on the loop.
            if let Err(error) = spawn_blocking(move || halts.ask()).await {
                warn!(%error, "looking for stopped processes broke off");
            }
            sleep(PAUSE).await;
        }
    }

    fn ask(&self) {
        let children = {
            let mut children = self.lock();
            children.retain(|child| child.strong_count() > 0);
            children.clone()
        };
        for child in children.iter().filter_map(Weak::upgrade) {
            child.ask_whether_halted();
        }
    }

    /// Every holder leaves a whole list behind, also where it panics.
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Child>>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
