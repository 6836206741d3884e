//! Durations and sizes as people write them: `30s`, `1h30m`, `256MiB`. A number without a unit is
//! an error, but for `0`. Every setting that has a unit, in whatever file, is read here.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use thiserror::Error;

/// The longest duration that is taken: ten years. A longer one is a slip, and far from overflowing
/// any clock.
const MAX_DURATION: Duration = Duration::from_hours(10 * 365 * 24);
/// The largest size that is taken: what a signed 64-bit number holds, in JSON and in SQL.
const MAX_BYTES: u64 = i64::MAX.cast_unsigned();

const DURATION_UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
    ("TB", 1_000_000_000_000),
    ("TiB", 1 << 40),
];
const DURATION_EXAMPLE: &str = "a duration is written \"500ms\", \"30s\", \"5m\", \"2h\" or \"7d\"";
const SIZE_EXAMPLE: &str = "a size is written \"64KiB\", \"256MiB\" or \"2GiB\"";

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Nothing is there.
    #[error("it is empty; {example}")]
    Empty {
        /// How one is written.
        example: &'static str,
    },
    /// A number stands alone.
    #[error("{number} of what? {example}")]
    NoUnit {
        /// The number.
        number: String,
        /// How one is written.
        example: &'static str,
    },
    /// What follows a number is no unit.
    #[error("{unit:?} is no unit here; {example}")]
    UnknownUnit {
        /// What stands there.
        unit: String,
        /// How one is written.
        example: &'static str,
    },
    /// A unit without a whole number before it: a sign, a fraction, a letter.
    #[error("{found:?} is no whole number; {example}")]
    NoNumber {
        /// What stands there.
        found: String,
        /// How one is written.
        example: &'static str,
    },
    /// More than can be meant.
    #[error("it is too much; at most {most} is taken")]
    TooMuch {
        /// The bound.
        most: &'static str,
    },
}

/// A duration in a document: deserialises from `"30s"`, displays as the shortest such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct DurationText(pub Duration);

/// A size in bytes in a document: deserialises from `"256MiB"`, displays as the shortest such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

/// A duration that is told to a person: `340ms`, `1.2s`, `42s`, `1m 42s`, `2h`, `3d 4h`. Rounded down,
/// to its two largest units; what is to be read back is a [`DurationText`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Humane(pub Duration);

/// Reads a duration: whole numbers, each with its unit (`ms`, `s`, `m` or `min`, `h`, `d`), summed.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let too_much = UnitError::TooMuch { most: "3650d" };
    let millis = sum(text, DURATION_UNITS, DURATION_EXAMPLE)?;
    millis
        .map(Duration::from_millis)
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or(too_much)
}

/// Reads a size in bytes: a whole number with its unit (`B`, `kB`, `KiB`, … `TiB`).
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let too_much = UnitError::TooMuch { most: "8388607TiB" };
    let bytes = sum(text, SIZE_UNITS, SIZE_EXAMPLE)?;
    bytes.filter(|bytes| *bytes <= MAX_BYTES).ok_or(too_much)
}

/// `None`: it is more than a `u64` holds.
fn sum(text: &str, units: &[(&str, u64)], example: &'static str) -> Result<Option<u64>, UnitError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(UnitError::Empty { example });
    }
    if rest == "0" {
        return Ok(Some(0));
    }
    let mut total = Some(0_u64);
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after.trim_start(), |c| {
            c.is_ascii_digit() || c.is_whitespace()
        });
        let part = part(number, unit, units, example)?;
        total = total
            .zip(part)
            .and_then(|(sum, part)| sum.checked_add(part));
        rest = after.trim_start();
    }
    Ok(total)
}

fn part(
    number: &str,
    unit: &str,
    units: &[(&str, u64)],
    example: &'static str,
) -> Result<Option<u64>, UnitError> {
    if number.is_empty() {
        let found = unit.to_owned();
        return Err(UnitError::NoNumber { found, example });
    }
    if unit.is_empty() {
        let number = number.to_owned();
        return Err(UnitError::NoUnit { number, example });
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let unit = unit.to_owned();
        return Err(UnitError::UnknownUnit { unit, example });
    };
    let number = number.parse::<u64>().ok();
    Ok(number.and_then(|number| number.checked_mul(*factor)))
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

impl FromStr for DurationText {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_duration(text).map(Self)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse_bytes(text).map(Self)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
        ];
        let whole = |(_, factor): &(&str, u128)| millis > 0 && millis.is_multiple_of(*factor);
        match units.into_iter().find(whole) {
            Some((unit, factor)) => write!(f, "{}{unit}", millis / factor),
            None if millis == 0 => f.write_str("0s"),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl fmt::Display for Humane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let (large, small) = match seconds {
            0 if millis > 0 => return write!(f, "{millis}ms"),
            1..10 if millis >= 100 => return write!(f, "{seconds}.{}s", millis / 100),
            0..60 => return write!(f, "{seconds}s"),
            60..3_600 => ((seconds / 60, "m"), (seconds % 60, "s")),
            3_600..86_400 => ((seconds / 3_600, "h"), (seconds / 60 % 60, "m")),
            86_400.. => ((seconds / 86_400, "d"), (seconds / 3_600 % 24, "h")),
        };
        write!(f, "{}{}", large.0, large.1)?;
        match small {
            (0, _) => Ok(()),
            (count, unit) => write!(f, " {count}{unit}"),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [
            ("TiB", 1_u64 << 40),
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
        ];
        let whole = |(_, factor): &(&str, u64)| self.0 > 0 && self.0.is_multiple_of(*factor);
        match units.into_iter().find(whole) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None if self.0 == 0 => f.write_str("0"),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            parse: |text| parse_duration(text).map(Self),
            example: DURATION_EXAMPLE,
        })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnitVisitor {
            parse: |text| parse_bytes(text).map(Self),
            example: SIZE_EXAMPLE,
        })
    }
}

struct UnitVisitor<T> {
    parse: fn(&str) -> Result<T, UnitError>,
    example: &'static str,
}

impl<T> Visitor<'_> for UnitVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.example)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        Err(E::custom(bare_number(number.to_string(), self.example)))
    }
}

/// What to say of a number where a duration is due.
pub(crate) fn bare_duration(number: String) -> UnitError {
    bare_number(number, DURATION_EXAMPLE)
}

/// What to say of a number where a size is due.
pub(crate) fn bare_size(number: String) -> UnitError {
    bare_number(number, SIZE_EXAMPLE)
}

fn bare_number(number: String, example: &'static str) -> UnitError {
    UnitError::NoUnit { number, example }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check_duration(text: &str, expected_millis: u64) {
        let expected = Ok(Duration::from_millis(expected_millis));
        assert_eq!(parse_duration(text), expected, "{text:?}");
    }

    fn check_bytes(text: &str, expected: u64) {
        assert_eq!(parse_bytes(text), Ok(expected), "{text:?}");
    }

    fn check_refused(text: &str, duration: &str, size: &str) {
        let message = |error: UnitError| error.to_string();
        let found = parse_duration(text).map_err(message).unwrap_err();
        assert!(found.contains(duration), "{text:?}: {found}");
        let found = parse_bytes(text).map_err(message).unwrap_err();
        assert!(found.contains(size), "{text:?}: {found}");
    }

    #[test]
    fn durations_are_sums_of_numbers_with_units() {
        check_duration("0", 0);
        check_duration("0s", 0);
        check_duration("500ms", 500);
        check_duration(" 30 s ", 30_000);
        check_duration("5m", 300_000);
        check_duration("5min", 300_000);
        check_duration("1h30m", 5_400_000);
        check_duration("1d 2h", 93_600_000);
        check_duration("3650d", 315_360_000_000);
    }

    #[test]
    fn people_are_told_the_two_largest_units() {
        let check = |millis, text: &str| {
            assert_eq!(Humane(Duration::from_millis(millis)).to_string(), text);
        };
        check(0, "0s");
        check(7, "7ms");
        check(999, "999ms");
        check(1_000, "1s");
        check(1_250, "1.2s");
        check(9_999, "9.9s");
        check(59_999, "59s");
        check(102_000, "1m 42s");
        check(120_000, "2m");
        check(3_600_000, "1h");
        check(100_000_000, "1d 3h");
    }

    #[test]
    fn sizes_are_numbers_with_units() {
        check_bytes("0", 0);
        check_bytes("12B", 12);
        check_bytes("1kB", 1000);
        check_bytes("1KiB", 1024);
        check_bytes("256MiB", 268_435_456);
        check_bytes("2GB", 2_000_000_000);
    }

    #[test]
    fn what_has_no_unit_or_makes_no_sense_is_refused() {
        check_refused("", "it is empty", "it is empty");
        check_refused("30", "30 of what?", "30 of what?");
        check_refused("-1", "\"-\" is no whole", "\"-\" is no whole");
        check_refused("-30s", "\"-\" is no whole", "\"-\" is no whole");
        check_refused("1.5s", "\".\" is no unit", "\".\" is no unit");
        check_refused("s", "\"s\" is no whole", "\"s\" is no whole");
        check_refused("5y", "\"y\" is no unit", "\"y\" is no unit");
        check_refused("1M", "\"M\" is no unit", "\"M\" is no unit");
        check_refused("99999999999999999999", "of what?", "of what?");
        let overflow = parse_duration("99999999999999999999s").unwrap_err();
        assert_eq!(overflow, UnitError::TooMuch { most: "3650d" });
        assert!(parse_duration("3651d").is_err());
        assert!(parse_bytes("8388607TiB").is_ok());
        assert!(parse_bytes("8388608TiB").is_err());
    }

    #[test]
    fn a_bare_number_in_a_document_is_told_what_it_lacks() {
        #[derive(Debug, serde::Deserialize)]
        struct Document {
            #[expect(dead_code, reason = "it never gets a value")]
            grace: DurationText,
        }
        let error = toml::from_str::<Document>("grace = 30").unwrap_err();
        assert!(error.message().starts_with("30 of what?"), "{error}");
        assert_eq!(error.span(), Some(8..10));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,24}") {
            let _ = (parse_duration(&text), parse_bytes(&text));
        }

        #[test]
        fn numbers_and_units_in_any_order_never_panic(text in "([0-9]{0,22}(ms|s|d|MiB|TiB| |-)?){0,4}") {
            let _ = (parse_duration(&text), parse_bytes(&text));
        }

        #[test]
        fn what_is_displayed_is_read_back(millis in 0_u64..315_360_000_000, bytes in 0..=MAX_BYTES) {
            let duration = DurationText(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            let size = ByteSize(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
