//! Moments as HTTP counts them: on the calendar, since `Date` and `Expires` are.
//!
//! The crate reads no clock. Who calls it takes the wall clock once and counts on from there with the
//! monotonic one, so that a machine whose clock is set doesn't make pages younger.

use std::time::{Duration, UNIX_EPOCH};

/// The last second that the form of dates in HTTP can write: the end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

/// A moment, in milliseconds since the beginning of 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(u64);

impl Moment {
    /// So many milliseconds after the beginning of 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// So many seconds after the beginning of 1970.
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the beginning of 1970.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds from `earlier` to this, and 0 where `earlier` is later.
    pub const fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1000
    }

    /// The moment that comes so much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// Reads a date in any of the three forms of RFC 9110 §5.6.7.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let time = httpdate::parse_http_date(text).ok()?;
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::from_seconds(since.as_secs()))
    }

    /// The form that RFC 9110 §5.6.7 wants written.
    pub fn to_http(self) -> String {
        let seconds = (self.0 / 1000).min(LAST_SECOND);
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_5_6_7_dates_are_read_in_three_forms_and_written_in_one() {
        let written = "Sun, 06 Nov 1994 08:49:37 GMT";
        for form in [
            written,
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            let moment = Moment::parse(form.as_bytes()).unwrap();
            assert_eq!(moment, Moment::from_seconds(784_111_777), "{form}");
            assert_eq!(moment.to_http(), written);
        }
        for wrong in ["", "0", "-1", "tomorrow", "Sun, 06 Nov 1994 08:49:37 CET"] {
            assert_eq!(Moment::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_moment_is_too_far_away_to_be_written() {
        let far = Moment::from_millis(u64::MAX).after(Duration::MAX);
        assert_eq!(far.to_http(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(Moment::default().seconds_since(far), 0);
    }
}
