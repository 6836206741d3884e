//! What the router tells of requests.

use std::collections::BTreeMap;
use std::time::Duration;

use site_model::Incarnation;

/// What the router tells of a site's requests. A level: all counts run on from one to the next, so
/// whoever hears the latest alone has missed nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that came.
    pub requests: u64,
    /// Requests that wait in its queue now.
    pub waiting: u64,
    /// How long the first of them has waited.
    pub oldest: Duration,
    /// Its instances, those apart of which there is nothing to tell.
    pub instances: BTreeMap<Incarnation, InstanceLoad>,
}

/// What the router tells of one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InstanceLoad {
    /// Requests it was given.
    pub requests: u64,
    /// Requests it has now, open tunnels among them.
    pub in_flight: u64,
    /// Tunnels among those. An open one is no sign of life, and none of a hang.
    pub tunnels: u64,
    /// Requests it answered.
    pub answered: u64,
    /// Connections that it didn't take.
    pub refused: u64,
    /// Connections that it broke off before an answer was whole.
    pub broken: u64,
    /// Answers that didn't begin in time.
    pub late: u64,
}

impl Load {
    /// A request waits or is in flight.
    pub fn is_busy(&self) -> bool {
        let mut instances = self.instances.values();
        self.waiting > 0 || instances.any(|instance| instance.in_flight > 0)
    }
}
