//! The little that the threads share: gauges, queues, whom to wake, whether anything has happened,
//! and how many connections are open. Everything else of a request stays on its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::gauge::Gauges;
use crate::queue::Queues;
use crate::wakes::Wakes;

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gauges: Gauges,
    pub(crate) queues: Queues,
    pub(crate) wakes: Wakes,
    /// A thread has noted something since it was last asked for its load.
    pub(crate) stirred: Notify,
    /// Open client connections over all threads.
    connections: AtomicU64,
}

impl Shared {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            gauges: Gauges::new(threads),
            queues: Queues::default(),
            wakes: Wakes::default(),
            stirred: Notify::new(),
            connections: AtomicU64::new(0),
        }
    }

    /// Client connections open now.
    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a client connection for as long as the result lives.
    pub(crate) fn open(self: &Arc<Self>) -> Open {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Open(Arc::clone(self))
    }
}

/// One open client connection.
#[derive(Debug)]
pub(crate) struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
