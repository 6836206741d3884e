//! `Cache-Control` and its like: lists of directives, read as leniently as is safe.
//!
//! Whatever can't be read of a lifetime makes a page stale, never fresh (RFC 9111 §4.2.1).

mod request;
mod response;
mod targeted;

pub(crate) use request::RequestDirectives;
pub(crate) use response::{Fields, ResponseDirectives};

use http::HeaderMap;
use http::header::AsHeaderName;

/// Seconds, as RFC 9111 §1.2.2 counts them: what is larger than this is this.
pub(crate) const MOST_SECONDS: u32 = 1 << 31;

/// One directive as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Directive<'a> {
    name: &'a [u8],
    argument: Option<Argument<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument<'a> {
    Token(&'a [u8]),
    /// Without its quotes; what is escaped in it stays so, since no directive's value needs escapes.
    Quoted(&'a [u8]),
}

impl<'a> Argument<'a> {
    fn text(self) -> &'a [u8] {
        match self {
            Self::Token(text) | Self::Quoted(text) => text,
        }
    }
}

impl Directive<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }

    /// A number of seconds; `None` where it is none.
    fn seconds(&self) -> Option<u32> {
        seconds(self.argument?.text())
    }
}

/// Reads `1*DIGIT`; what overflows is the greatest number of seconds.
pub(crate) fn seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0_u64, |number, digit| {
        (number * 10 + u64::from(digit - b'0')).min(u64::from(MOST_SECONDS))
    });
    u32::try_from(number).ok()
}

/// The directives of all lines of a header.
fn directives(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = Directive<'_>> {
    let lines = headers.get_all(name).into_iter();
    lines
        .flat_map(|line| members(line.as_bytes()))
        .map(directive)
}

/// The members of a comma-separated list. A comma within quotes separates nothing.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    let separates = move |byte: &u8| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return true,
            _ => {}
        }
        false
    };
    let members = line.split(separates).map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

fn directive(member: &[u8]) -> Directive<'_> {
    let Some(equals) = member.iter().position(|byte| *byte == b'=') else {
        return Directive {
            name: member,
            argument: None,
        };
    };
    let (name, value) = (&member[..equals], &member[equals + 1..]);
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""));
    Directive {
        name,
        argument: Some(inner.map_or(Argument::Token(value), Argument::Quoted)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rfc9110_5_6_1_lists_are_split_outside_of_quotes() {
        let check = |line: &str, expected: &[&str]| {
            let found: Vec<_> = members(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(found, expected, "{line:?}");
        };
        check("a, b ,,c", &["a", "b", "c"]);
        check("a=\"x, y\", b", &["a=\"x, y\"", "b"]);
        check("a=\"x\\\", y\", b", &["a=\"x\\\", y\"", "b"]);
        check("", &[]);
    }

    #[test]
    fn rfc9111_1_2_2_seconds_are_digits_and_never_overflow() {
        assert_eq!(seconds(b"60"), Some(60));
        assert_eq!(seconds(b"0060"), Some(60));
        assert_eq!(seconds(b"99999999999999999999999"), Some(MOST_SECONDS));
        for wrong in ["", "-1", "+1", "1.5", " 1", "1s", "\u{661}"] {
            assert_eq!(seconds(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..64)) {
            for member in members(&line) {
                let read = directive(member);
                prop_assert!(member.starts_with(read.name));
            }
        }
    }
}
