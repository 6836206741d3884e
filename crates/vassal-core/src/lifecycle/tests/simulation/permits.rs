//! Permits to start, given in the order of asking.

use std::collections::{BTreeSet, VecDeque};

use site_model::SiteId;

use crate::lifecycle::Ticket;

/// Those who wait for a permit, and those who have one.
pub(super) struct Queue {
    pub(super) asking: VecDeque<(SiteId, Ticket)>,
    pub(super) holding: BTreeSet<(SiteId, Ticket)>,
    permits: usize,
}

impl Queue {
    pub(super) const fn with_permits(permits: usize) -> Self {
        Self {
            asking: VecDeque::new(),
            holding: BTreeSet::new(),
            permits,
        }
    }

    /// The next one, which has a permit now.
    pub(super) fn next(&mut self) -> Option<(SiteId, Ticket)> {
        if self.holding.len() == self.permits {
            return None;
        }
        let next = self.asking.pop_front()?;
        self.holding.insert(next);
        Some(next)
    }
}
