//! Figures of the fastrouter, as the emperor asks for them.

use serde::{Deserialize, Serialize};

use crate::cache::CacheStats;

/// Counters since the router started, and gauges of this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStats {
    /// Client connections open now.
    pub connections: u64,
    /// Requests answered.
    pub requests: u64,
    /// Requests in flight now, waiting ones among them.
    pub in_flight: u64,
    /// The generation in force in every thread.
    pub generation: u64,
    /// Per instance that the table leads to or that still has requests in flight.
    pub instances: Vec<InstanceStats>,
    /// Per site with waiting requests.
    pub queues: Vec<QueueStats>,
    /// The page cache.
    #[serde(default)]
    pub cache: CacheStats,
}

/// Counters of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStats {
    /// The instance.
    pub incarnation: u64,
    /// Requests it was given.
    pub requests: u64,
    /// Requests it has now.
    pub in_flight: u64,
}

/// A site's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStats {
    /// The site.
    pub site_id: i64,
    /// How many wait.
    pub waiting: u64,
    /// How long the first of them has waited, in milliseconds.
    pub oldest_ms: u64,
}
