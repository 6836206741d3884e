//! Parts of a stored whole (RFC 9110 §14).
//!
//! One part is given as 206. Several are first joined where they touch or overlap; what then still is
//! several is answered by the whole page, as §14.2 permits: no browser asks for several parts, and
//! `multipart/byteranges` is a known way to make servers send a page many times over.

use http::header::{HeaderMap, RANGE};

use crate::conditional::{Validators, permits_part};

/// More parts than this are no request but an attack (§17.15).
const MOST_PARTS: usize = 16;

/// What is sent of a body, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it, with 200.
    Whole,
    /// From `first` to `last`, both included, with 206.
    One {
        /// The first byte.
        first: usize,
        /// The last byte.
        last: usize,
    },
    /// Nothing: no part that was asked for exists. 416.
    Unsatisfiable,
}

/// What of a body of so many bytes a GET is answered with.
pub(crate) fn part(request: &HeaderMap, stored: Validators<'_>, length: usize) -> Part {
    let mut lines = request.get_all(RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Part::Whole;
    };
    if !permits_part(request, stored) {
        return Part::Whole;
    }
    match parse(line.as_bytes(), length) {
        // §14.2: what can't be read is ignored.
        None => Part::Whole,
        Some(parts) if parts.is_empty() => Part::Unsatisfiable,
        Some(parts) => match joined(parts)[..] {
            [(first, last)] => Part::One { first, last },
            _ => Part::Whole,
        },
    }
}

/// The value of `Content-Range` (§14.4).
pub(crate) fn content_range(part: Part, length: usize) -> Option<String> {
    match part {
        Part::Whole => None,
        Part::One { first, last } => Some(format!("bytes {first}-{last}/{length}")),
        Part::Unsatisfiable => Some(format!("bytes */{length}")),
    }
}

/// The parts that exist, or `None` where the header can't be read.
fn parse(line: &[u8], length: usize) -> Option<Vec<(usize, usize)>> {
    let line = std::str::from_utf8(line).ok()?;
    let (unit, set) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs: Vec<&str> = set
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty())
        .collect();
    if specs.is_empty() || specs.len() > MOST_PARTS {
        return None;
    }
    let parts: Option<Vec<_>> = specs
        .into_iter()
        .map(|spec| parse_one(spec, length))
        .collect();
    parts.map(|parts| parts.into_iter().flatten().collect())
}

/// `Some(None)`: it can be read, and there is no such part.
#[expect(
    clippy::option_option,
    reason = "unreadable and absent are told apart by one caller"
)]
fn parse_one(spec: &str, length: usize) -> Option<Option<(usize, usize)>> {
    let (first, last) = spec.split_once('-')?;
    let end = length.checked_sub(1);
    if first.is_empty() {
        let suffix = number(last)?;
        let part = end
            .filter(|_| suffix > 0)
            .map(|end| (length.saturating_sub(suffix), end));
        return Some(part);
    }
    let first = number(first)?;
    let last = match last {
        "" => usize::MAX,
        last => number(last)?,
    };
    if last < first {
        return None;
    }
    Some(
        end.filter(|end| first <= *end)
            .map(|end| (first, last.min(end))),
    )
}

fn number(digits: &str) -> Option<usize> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // What overflows lies beyond every page.
    Some(digits.parse().unwrap_or(usize::MAX))
}

fn joined(mut parts: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    parts.sort_unstable();
    let mut joined: Vec<(usize, usize)> = Vec::with_capacity(parts.len());
    for (first, last) in parts {
        match joined.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => joined.push((first, last)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(line: &str, length: usize) -> Part {
        let mut request = HeaderMap::new();
        request.insert(RANGE, HeaderValue::from_str(line).unwrap());
        part(&request, Validators::default(), length)
    }

    #[test]
    fn rfc9110_14_1_2_parts_are_counted_from_both_ends() {
        let one = |first, last| Part::One { first, last };
        assert_eq!(of("bytes=0-0", 10), one(0, 0));
        assert_eq!(of("bytes=2-", 10), one(2, 9));
        assert_eq!(of("bytes=2-100", 10), one(2, 9));
        assert_eq!(of("bytes=-3", 10), one(7, 9));
        assert_eq!(of("bytes=-30", 10), one(0, 9));
        assert_eq!(of("Bytes=1-99999999999999999999999", 10), one(1, 9));
    }

    #[test]
    fn rfc9110_15_5_17_parts_that_do_not_exist_are_refused() {
        for line in ["bytes=10-", "bytes=-0", "bytes=20-30, 40-"] {
            assert_eq!(of(line, 10), Part::Unsatisfiable, "{line}");
        }
        assert_eq!(of("bytes=0-", 0), Part::Unsatisfiable);
        assert_eq!(
            content_range(Part::Unsatisfiable, 10).as_deref(),
            Some("bytes */10")
        );
    }

    #[test]
    fn rfc9110_14_2_what_cannot_be_read_is_ignored() {
        for line in [
            "bytes",
            "bytes=",
            "bytes=a-b",
            "bytes=3-2",
            "lines=1-2",
            "bytes=1-2,x",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(of(line, 10), Part::Whole, "{line}");
        }
    }

    #[test]
    fn rfc9110_17_15_parts_are_joined_or_the_whole_is_sent() {
        assert_eq!(
            of("bytes=0-3, 4-5, 2-6", 10),
            Part::One { first: 0, last: 6 }
        );
        assert_eq!(of("bytes=0-1, 5-6", 10), Part::Whole);
        assert_eq!(of("bytes=0-1, 50-60", 10), Part::One { first: 0, last: 1 });
        let many = format!("bytes={}", vec!["0-1"; 100].join(","));
        assert_eq!(of(&many, 10), Part::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_body(line in "(bytes=)?[0-9,\\- ]{0,12}", length in 0usize..20) {
            if let Part::One { first, last } = of(&line, length) {
                prop_assert!(first <= last && last < length);
            }
        }
    }
}
