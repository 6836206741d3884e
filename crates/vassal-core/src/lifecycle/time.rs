//! Moments that lie ahead.

use std::time::{Duration, Instant};

/// `now` and so much more. Durations are an operator's, and may be longer than a clock goes.
pub(super) fn later(now: Instant, wait: Duration) -> Instant {
    const A_YEAR: Duration = Duration::from_hours(24 * 365);
    now.checked_add(wait).unwrap_or(now + A_YEAR)
}
