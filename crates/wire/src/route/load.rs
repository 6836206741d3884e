//! What became of requests, as the fastrouter tells it by itself.

use serde::{Deserialize, Serialize};

/// The load of one site, over all threads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteLoad {
    /// The site.
    pub site_id: i64,
    /// Requests that came since it was last said, those of health checkers apart
    /// ([`SiteRoute::check_paths`](site_model::SiteRoute::check_paths)): they are no reason to keep a site awake.
    pub requests: u64,
    /// Requests that wait in its queue now.
    pub waiting: u64,
    /// How long the first of them has waited, in milliseconds.
    pub oldest_ms: u64,
    /// Its instances that have requests, had some since, or failed some.
    pub instances: Vec<InstanceLoad>,
}

/// The load of one instance, over all threads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLoad {
    /// The instance.
    pub incarnation: u64,
    /// Requests it was given since the router knows it.
    pub requests: u64,
    /// Requests it has now, open tunnels among them, and those of health checkers apart.
    pub in_flight: u64,
    /// Tunnels that are open now. A router of an earlier version doesn't tell.
    #[serde(default)]
    pub tunnels: u64,
    /// Requests it answered since it was last said: signs of life.
    pub answered: u64,
    /// Connections that it didn't take since it was last said.
    pub refused: u64,
    /// Connections that it broke off before an answer was whole, since it was last said. One that was
    /// kept for a next request may end as it waits, and isn't counted.
    pub broken: u64,
    /// Answers that didn't begin in time, and connections that waited in vain for room in its
    /// backlog, since it was last said.
    pub late: u64,
}
