//! Moments that outlive the process that noted them: on the clock that runs from the start of the
//! machine, which nobody sets and which means nothing after the next start.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Milliseconds on the machine's monotonic clock. What holds one holds the machine's
/// [`boot_id`](super::record::boot_id) too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment(i64);

impl Moment {
    pub(super) fn of(at: Instant) -> Self {
        let now = Instant::now();
        let ahead = milliseconds(at.saturating_duration_since(now));
        let behind = milliseconds(now.saturating_duration_since(at));
        Self(clock().saturating_add(ahead).saturating_sub(behind))
    }

    /// The same moment on this process's clock. One before that clock began is its beginning.
    pub(super) fn instant(self) -> Instant {
        let (now, from_now) = (Instant::now(), self.0.saturating_sub(clock()));
        let distance = Duration::from_millis(from_now.unsigned_abs());
        let instant = if from_now >= 0 {
            now.checked_add(distance)
        } else {
            now.checked_sub(distance)
        };
        instant.unwrap_or(now)
    }
}

fn clock() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec
        .saturating_mul(1000)
        .saturating_add(now.tv_nsec / 1_000_000)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_found_again_whether_it_was_or_is_to_come() {
        let now = Instant::now();
        let hour = Duration::from_hours(1);
        for at in [
            now,
            now + hour,
            now.checked_sub(Duration::from_millis(7)).unwrap(),
        ] {
            let again = Moment::of(at).instant();
            let apart = again.saturating_duration_since(at) + at.saturating_duration_since(again);
            // The two clocks are read one after the other, on a machine that may be busy.
            assert!(apart < hour / 2, "{apart:?}");
        }
        let end = Moment(i64::MAX).instant();
        assert!(end >= now);
    }
}
