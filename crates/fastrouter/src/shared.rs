//! The little that the threads share: gauges, the depth of queues, and how many connections are
//! open. Everything else of a request stays on its thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::gauge::Gauges;
use crate::waiting::Depths;

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gauges: Gauges,
    pub(crate) depths: Arc<Depths>,
    /// Open client connections over all threads.
    connections: AtomicU64,
}

impl Shared {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            gauges: Gauges::new(threads),
            depths: Arc::default(),
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
