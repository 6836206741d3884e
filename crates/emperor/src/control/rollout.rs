//! How far the starts and replacements of the whole house are, and what each site waits for. Counts change with
//! every site, so they are told when somebody asks and stand in no site's own status.

use std::collections::HashMap;

use site_model::{SiteId, SiteState};
use wire::control::{RolloutStatus, StartsStatus};

use crate::daemon::{LaneStatus, Overview, RolloutQueue};

/// Starts that nobody waits for; `None`: all that are wanted are on their way.
pub(super) fn starts(lane: LaneStatus) -> Option<StartsStatus> {
    let interval = lane.interval.map(|interval| interval.as_millis());
    (lane.waiting > 0).then(|| StartsStatus {
        waiting: lane.waiting,
        failures: lane.failures,
        interval_ms: interval.map(|span| u64::try_from(span).unwrap_or(u64::MAX)),
    })
}

/// The progress; `None`: nothing is being replaced.
pub(super) fn progress(overview: &Overview) -> Option<RolloutStatus> {
    let replacing = &overview.replacing;
    if replacing.replacing == 0 && replacing.waiting.is_empty() {
        return None;
    }
    let statuses = overview.sites.iter().map(|site| &site.status);
    let serving = statuses.filter(|status| status.wanted.is_some() && status.revision.is_some());
    let as_wanted = serving
        .clone()
        .filter(|status| status.revision == status.wanted && status.state != SiteState::Reloading);
    let shortage = replacing.shortage.map(|shortage| shortage.to_string());
    Some(RolloutStatus {
        sites: serving.count(),
        as_wanted: as_wanted.count(),
        replacing: replacing.replacing,
        max_replacing: replacing.max,
        waiting: replacing.waiting.len(),
        detail: shortage.unwrap_or_default(),
    })
}

/// What each site that waits for its turn waits for.
pub(super) struct Waits(HashMap<SiteId, String>);

impl Waits {
    pub(super) fn new(replacing: &RolloutQueue) -> Self {
        let shortage = replacing.shortage.map(|shortage| format!("; {shortage}"));
        let shortage = shortage.unwrap_or_default();
        let waits = replacing.waiting.iter().enumerate();
        let waits = waits.map(|(before, site)| {
            let queue = match before {
                0 => "it is the next".to_owned(),
                1 => "1 other is before it".to_owned(),
                others => format!("{others} others are before it"),
            };
            (*site, format!("; {queue}{shortage}"))
        });
        // Of a site with several, the first counts.
        Self(waits.rev().collect())
    }

    /// The end of a sentence that says that the site waits; empty where it doesn't.
    pub(super) fn of(&self, site: SiteId) -> &str {
        self.0.get(&site).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_how_many_are_before_it() {
        let site = |id| SiteId::new(id).unwrap();
        let replacing = RolloutQueue {
            replacing: 2,
            max: 2,
            waiting: [7, 3, 3, 9].map(site).to_vec(),
            shortage: None,
        };
        let waits = Waits::new(&replacing);
        assert_eq!(waits.of(site(7)), "; it is the next");
        assert_eq!(waits.of(site(3)), "; 1 other is before it");
        assert_eq!(waits.of(site(9)), "; 3 others are before it");
        assert_eq!(waits.of(site(1)), "");
    }
}
