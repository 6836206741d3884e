//! The little that the threads share: gauges, queues, whom to wake, whether anything has happened,
//! and how many connections are open. Everything else of a request stays on its thread.
//!
//! | shared | how it is kept in order | tried in every order of steps by `model` |
//! |---|---|---|
//! | a gauge's counts | a cell for each thread, which alone writes to it; whoever reads adds up | yes |
//! | an instance's places, a site's queue | an atomic and a lock, tied together by fences | yes |
//! | which gauge, queue belongs to what | a lock around a map | yes, for gauges |
//! | wishes to wake | a lock around a set, then a note to the link | yes, over a stand-in for the note |
//! | `stirred` | the same note, and nothing but it: what was noted is asked of the thread itself | as the wishes |
//! | `purged` | as `stirred` | as the wishes |
//! | stored pages, who fills one | the locks of the crate `page-cache`, which tries its own orders | there |
//! | what a site has of the cache | a lock around a map, taken once for each table, site and thread | no: an entry is made whole and never changed |
//! | open connections | one counter, added to and taken from; a bound that may be passed by one a thread needs no order | no: there is one step |
//! | table, settings | not shared: each thread is given its own by an order, which it takes between two polls | no: one thread |
//! | notes of load | not shared: plain cells, handed over by an order | no: one thread |

use std::sync::Arc;

use crate::gauge::Gauges;
use crate::pages::Clock;
use crate::queue::Queues;
use crate::sync::Notify;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::wakes::Wakes;

/// What the threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) gauges: Gauges,
    pub(crate) queues: Queues,
    pub(crate) wakes: Wakes,
    /// A path was purged by a client: the cache may want to be swept.
    pub(crate) purged: Notify,
    pub(crate) clock: Clock,
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
            purged: Notify::new(),
            clock: Clock::start(),
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
