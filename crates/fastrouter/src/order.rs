//! What the control thread asks of the serving threads, and what they answer.
//!
//! A serving thread keeps its table, its settings and its counters to itself; this is the only way
//! to them. It takes orders between two polls of its requests, so an order that is answered was
//! taken after everything that thread had begun before it.

use std::collections::BTreeMap;
use std::sync::Arc;

use site_model::{Incarnation, RouteTable, SiteId};
use tokio::sync::oneshot;

use crate::gauge::InstanceFigures;
use crate::pages::SitesPages;
use crate::settings::Settings;
use crate::tally::ThreadLoad;

/// How many orders may wait at a thread. The control thread has at most a few under way: one table
/// or settings at a time, and questions, each from a frame of the link. A thread that is this far
/// behind makes the control thread wait, and the emperor with it.
pub(crate) const ORDER_BOUND: usize = 64;

/// One order.
#[derive(Debug)]
pub(crate) enum Order {
    /// From now on this table is in force.
    Table {
        /// The table.
        table: Arc<RouteTable>,
        /// What its sites have of the page cache.
        pages: SitesPages,
        /// Told once no request of this thread begins with an older one any more.
        in_force: oneshot::Sender<()>,
    },
    /// From now on these settings are.
    Settings(Arc<Settings>),
    /// Tell once this thread's table doesn't lead to that instance and no request of it is there.
    AwaitIdle {
        /// The instance's site.
        site: SiteId,
        /// The instance.
        incarnation: Incarnation,
        /// Told then.
        idle: oneshot::Sender<()>,
    },
    /// Tell what was noted since this was last asked.
    Load {
        /// Whether to tell of all instances that have requests too.
        whole: bool,
        /// Told at once.
        load: oneshot::Sender<ThreadLoad>,
    },
    /// Tell the thread's figures.
    Stats(oneshot::Sender<ThreadStats>),
    /// Accept no more, end what is in flight, and return.
    Drain(Backlog),
}

/// What becomes of the connections that wait to be accepted when a router drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backlog {
    /// Nobody comes after this router: it accepts and answers them.
    Take,
    /// Another router accepts on the same sockets: they are for that one.
    Leave,
}

/// Figures of one thread.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ThreadStats {
    /// Client connections open now.
    pub(crate) connections: u64,
    /// Requests answered.
    pub(crate) requests: u64,
    /// Requests in flight, waiting ones among them.
    pub(crate) in_flight: u64,
    /// Per instance that was given a request and that the table leads to or that still has some.
    pub(crate) instances: BTreeMap<Incarnation, InstanceFigures>,
}
