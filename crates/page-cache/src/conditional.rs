//! Conditional requests, answered from what is stored (RFC 9110 §13, RFC 9111 §4.3.2).

use http::header::{
    DATE, ETAG, HeaderMap, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED,
};

use crate::directives::members;
use crate::moment::Moment;

/// An entity tag as RFC 9110 §8.8.3 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntityTag<'a> {
    weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one. What isn't quoted is taken as it is: applications write such tags, and clients send
    /// them back.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let (weak, opaque) = match text.strip_prefix(b"W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        (!opaque.is_empty()).then_some(Self { weak, opaque })
    }

    /// §8.8.3.2: the same, weak or not.
    pub(crate) fn matches_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }

    /// §8.8.3.2: the same, and neither is weak.
    pub(crate) fn matches_strongly(self, other: Self) -> bool {
        self.opaque == other.opaque && !self.weak && !other.weak
    }
}

/// The validators of a stored answer.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Validators<'a> {
    /// Its `ETag`.
    pub etag: Option<&'a [u8]>,
    /// Its `Last-Modified`.
    pub last_modified: Option<&'a [u8]>,
    /// Its `Date`.
    pub date: Option<&'a [u8]>,
}

impl<'a> Validators<'a> {
    /// Those of a head.
    pub(crate) fn of(headers: &'a HeaderMap) -> Self {
        let value = |name| headers.get(name).map(http::HeaderValue::as_bytes);
        Self {
            etag: value(ETAG),
            last_modified: value(LAST_MODIFIED),
            date: value(DATE),
        }
    }
}

/// Whether a client has what is stored already: then it gets a 304. The order is that of §13.2.2:
/// `If-Modified-Since` counts only where there is no `If-None-Match`.
pub(crate) fn is_unmodified(request: &HeaderMap, stored: Validators<'_>) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let lines = request.get_all(IF_NONE_MATCH).iter();
        let mut tags = lines.flat_map(|line| members(line.as_bytes()));
        let stored = stored.etag.and_then(EntityTag::parse);
        return tags.any(|tag| {
            let known = EntityTag::parse(tag);
            tag == b"*"
                || known
                    .zip(stored)
                    .is_some_and(|(one, other)| one.matches_weakly(other))
        });
    }
    let Some(since) = date_of(request, IF_MODIFIED_SINCE) else {
        return false;
    };
    // RFC 9111 §4.3.2: without `Last-Modified`, the date of the answer.
    let changed = stored.last_modified.or(stored.date).and_then(Moment::parse);
    changed.is_some_and(|changed| changed <= since)
}

/// Whether a part may be given of what is stored (§13.1.5): the tag the same and strong, or the date
/// exactly that of the last change, and old enough to be a strong one (§8.8.2.2).
pub(crate) fn permits_part(request: &HeaderMap, stored: Validators<'_>) -> bool {
    let Some(condition) = request.get(IF_RANGE) else {
        return true;
    };
    let condition = condition.as_bytes().trim_ascii();
    let Some(date) = Moment::parse(condition) else {
        let (wanted, stored) = (
            EntityTag::parse(condition),
            stored.etag.and_then(EntityTag::parse),
        );
        return wanted
            .zip(stored)
            .is_some_and(|(one, other)| one.matches_strongly(other));
    };
    let changed = stored.last_modified.and_then(Moment::parse);
    let answered = stored.date.and_then(Moment::parse);
    let is_strong = changed
        .zip(answered)
        .is_some_and(|(changed, answered)| changed < answered);
    is_strong && changed == Some(date)
}

fn date_of(headers: &HeaderMap, name: http::HeaderName) -> Option<Moment> {
    let mut lines = headers.get_all(name).iter();
    let line = lines.next()?;
    // §13.1.3: a date that can't be read, or two of them, is no condition.
    lines
        .next()
        .is_none()
        .then(|| Moment::parse(line.as_bytes()))
        .flatten()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const CHANGED: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn stored<'a>(etag: Option<&'a [u8]>, last_modified: Option<&'a [u8]>) -> Validators<'a> {
        Validators {
            etag,
            last_modified,
            date: Some(b"Mon, 07 Nov 1994 08:49:37 GMT"),
        }
    }

    fn request(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn rfc9110_8_8_3_2_tags_compare_weakly_and_strongly() {
        let check = |one: &str, other: &str, strong: bool, weak: bool| {
            let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).unwrap();
            let (one, other) = (tag(leak(one)), tag(leak(other)));
            assert_eq!(one.matches_strongly(other), strong);
            assert_eq!(one.matches_weakly(other), weak);
        };
        check("W/\"1\"", "W/\"1\"", false, true);
        check("W/\"1\"", "W/\"2\"", false, false);
        check("W/\"1\"", "\"1\"", false, true);
        check("\"1\"", "\"1\"", true, true);
        check("\"1\"", "\"2\"", false, false);
    }

    fn leak(text: &str) -> &'static str {
        Box::leak(text.to_owned().into_boxed_str())
    }

    #[test]
    fn rfc9110_13_1_2_if_none_match_compares_weakly() {
        let check = |line: &str, etag: Option<&str>, expected: bool| {
            let stored = stored(etag.map(str::as_bytes), None);
            let request = request(&[("if-none-match", line)]);
            assert_eq!(is_unmodified(&request, stored), expected, "{line} {etag:?}");
        };
        check("\"a\"", Some("\"a\""), true);
        check("W/\"a\"", Some("\"a\""), true);
        check("\"b\", \"a\"", Some("W/\"a\""), true);
        check("\"x, y\"", Some("\"x, y\""), true);
        check("\"b\"", Some("\"a\""), false);
        check("a", Some("a"), true);
        check("*", None, true);
        check("\"a\"", None, false);
    }

    #[test]
    fn rfc9110_13_2_2_if_none_match_comes_before_if_modified_since() {
        let both = request(&[("if-none-match", "\"b\""), ("if-modified-since", LATER)]);
        assert!(!is_unmodified(&both, stored(Some(b"\"a\""), Some(CHANGED))));
    }

    #[test]
    fn rfc9110_13_1_3_if_modified_since_compares_with_the_last_change_or_the_date() {
        let at = |line: &str, last_modified: Option<&[u8]>| {
            let request = request(&[("if-modified-since", line)]);
            is_unmodified(&request, stored(None, last_modified))
        };
        assert!(at(LATER, Some(CHANGED)));
        assert!(at("Sunday, 06-Nov-94 08:49:37 GMT", Some(CHANGED)));
        assert!(!at("Sun, 06 Nov 1994 08:49:36 GMT", Some(CHANGED)));
        assert!(!at("yesterday", Some(CHANGED)));
        assert!(!at(LATER, None) && at("Mon, 07 Nov 1994 08:49:37 GMT", None));
        assert!(!is_unmodified(&request(&[]), stored(None, Some(CHANGED))));
    }

    #[test]
    fn rfc9110_13_1_5_if_range_compares_strongly() {
        let permits = |line: &str, etag: Option<&'static [u8]>| {
            let request = request(&[("if-range", line)]);
            permits_part(&request, stored(etag, Some(CHANGED)))
        };
        assert!(permits("\"a\"", Some(b"\"a\"")));
        assert!(!permits("W/\"a\"", Some(b"W/\"a\"")));
        assert!(!permits("\"b\"", Some(b"\"a\"")) && !permits("\"b\"", None));
        assert!(permits("Sun, 06 Nov 1994 08:49:37 GMT", None));
        assert!(!permits(LATER, None), "only the very date");
        assert!(permits_part(&request(&[]), stored(None, None)));
    }
}
