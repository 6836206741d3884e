//! Whose turn it is to start an instance. A house has only so many cores and so much memory, so
//! starts take turns: whoever asked first is first. What is to be started, and when to ask, is the
//! vassals' matter.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Gives turns to the vassals of a house.
#[derive(Debug)]
pub(super) struct Turns {
    starts: Arc<Semaphore>,
}

/// A turn. Dropped, it lets the next one start.
#[derive(Debug)]
pub(super) struct Permit {
    _start: OwnedSemaphorePermit,
}

impl Turns {
    /// With so many instances that may be on their way at once.
    pub(super) fn new(max_starting: usize) -> Self {
        Self {
            starts: Arc::new(Semaphore::new(max_starting)),
        }
    }

    /// Resolves once an instance may start. Dropped before, it leaves the queue.
    pub(super) fn start(&self) -> impl Future<Output = Permit> + Send + 'static {
        let starts = Arc::clone(&self.starts);
        async move {
            match starts.acquire_owned().await {
                Ok(start) => Permit { _start: start },
                // It is never closed.
                Err(_) => std::future::pending().await,
            }
        }
    }
}
