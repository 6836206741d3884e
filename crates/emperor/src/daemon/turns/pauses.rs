//! How long the place of a start that failed stays empty.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tracing::warn;

/// So many times as long as the start took: starts that fail take a quarter of the time of their places.
const REST: u32 = 3;

/// After so many failures without a success in between, pauses are twice as long, and so on.
const DOUBLING: u32 = 32;

/// The most that comes of it: starts that fail take a fiftieth of the time then.
const LONGEST_REST: u32 = REST * 16;

/// No pause gets longer than this by doubling: who needs seconds to fail, or hangs, mostly waits.
const LONGEST_DOUBLED: Duration = Duration::from_secs(5);

/// The pauses of a lane.
#[derive(Debug)]
pub(super) struct Pauses {
    /// Since the last success, over all sites.
    failures: AtomicU32,
    longest_rest: u32,
}

impl Pauses {
    /// Those of starts that visitors wait for: they stay the same.
    pub(super) fn even() -> Self {
        Self::up_to(REST)
    }

    /// Where a thousand sites fail in a row it's hardly the fault of each, and the next most likely fails
    /// as well.
    pub(super) fn growing() -> Self {
        Self::up_to(LONGEST_REST)
    }

    fn up_to(longest_rest: u32) -> Self {
        Self {
            failures: AtomicU32::new(0),
            longest_rest,
        }
    }

    pub(super) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// The pause after a start that failed after so long.
    pub(super) fn after_failure(&self, took: Duration) -> Duration {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed);
        if failures == DOUBLING && self.longest_rest > REST {
            warn!(
                failures,
                "starts fail one after the other and none succeeds: until one does, sites that nobody asks for \
                 are started more and more slowly; `emperor status` tells why they fail"
            );
        }
        let doublings = (failures / DOUBLING).min(LONGEST_REST.ilog2());
        let rest = (REST << doublings).min(self.longest_rest);
        let doubled = (took * rest).min(LONGEST_DOUBLED);
        doubled.max(took * REST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_millis(10);
    const HOURS: Duration = Duration::from_hours(2);

    fn fail(pauses: &Pauses, times: u32) -> Duration {
        let last = (0..times).map(|_| pauses.after_failure(SPAN)).last();
        last.unwrap_or_default()
    }

    #[test]
    fn many_failures_in_a_row_make_pauses_longer_up_to_a_bound() {
        let pauses = Pauses::growing();
        assert_eq!(fail(&pauses, DOUBLING), SPAN * REST);
        assert_eq!(fail(&pauses, DOUBLING), SPAN * REST * 2);
        assert_eq!(fail(&pauses, 100 * DOUBLING), SPAN * LONGEST_REST);
    }

    #[test]
    fn a_success_ends_that() {
        let pauses = Pauses::growing();
        assert!(fail(&pauses, 3 * DOUBLING) > SPAN * REST);
        pauses.succeeded();
        assert_eq!(fail(&pauses, 1), SPAN * REST);
    }

    #[test]
    fn visitors_wait_no_longer_however_many_fail() {
        assert_eq!(fail(&Pauses::even(), 100 * DOUBLING), SPAN * REST);
    }

    #[test]
    fn what_takes_long_to_fail_pauses_no_longer() {
        let pauses = Pauses::growing();
        fail(&pauses, 100 * DOUBLING);
        let second = Duration::from_secs(1);
        assert_eq!(pauses.after_failure(second), LONGEST_DOUBLED);
        assert_eq!(pauses.after_failure(HOURS), HOURS * REST);
    }
}
