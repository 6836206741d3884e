//! Host names in the one form in which they are compared, and the patterns that match them.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// The most bytes a host name may have without its trailing dot (RFC 1035 section 2.3.4).
const MAX_LENGTH: usize = 253;
/// The most bytes one label may have.
const MAX_LABEL: usize = 63;

/// A host name: lower-cased, IDNA-encoded, without port and trailing dot.
///
/// Two spellings of one host are equal. An IP address is a host name too (`[::1]` keeps its
/// brackets), since sites are reached by address on a laptop.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Arc<str>);

/// Why a string names no host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostnameError {
    /// Nothing is left of it.
    #[error("a host name can't be empty")]
    Empty,
    /// It, or one of its labels, is longer than DNS allows.
    #[error("a host name has at most {MAX_LENGTH} bytes, {MAX_LABEL} between two dots")]
    TooLong,
    /// Two dots follow each other, or it begins with one.
    #[error("a host name can't have an empty part between dots")]
    EmptyLabel,
    /// A character that no host name has.
    #[error("{0:?} can't stand in a host name")]
    Character(char),
    /// A label begins or ends with a hyphen.
    #[error("a part of a host name can't begin or end with '-'")]
    OuterHyphen,
    /// What follows the colon is no port.
    #[error("{0:?} is no port")]
    Port(String),
    /// The name in letters beyond ASCII has no encoding.
    #[error("{0:?} can't be IDNA-encoded")]
    Idna(String),
    /// Brackets without an IPv6 address in them.
    #[error("{0:?} is no IPv6 address in brackets")]
    Ipv6(String),
    /// A `*` elsewhere than alone in the first place of a pattern.
    #[error("'*' can only stand alone before the first dot, as in *.example.com")]
    Wildcard,
}

impl Hostname {
    /// Parses a host as a client or an operator writes it: any case, a trailing dot, a port, and
    /// letters beyond ASCII are taken and normalised away.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        let host = without_port(text)?;
        if host.starts_with('[') {
            return parse_ipv6(host);
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_ascii() {
            check_labels(host)?;
            return Ok(Self(host.to_ascii_lowercase().into()));
        }
        let encoded =
            idna::domain_to_ascii_strict(host).map_err(|_| HostnameError::Idna(host.to_owned()))?;
        check_labels(&encoded)?;
        Ok(Self(encoded.into()))
    }

    /// The normalised text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names of the parents, nearest first: `a.b.c` yields `b.c`, then `c`.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('.').map(|(dot, _)| &self.0[dot + 1..])
    }
}

impl FromStr for Hostname {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        Self::parse(text)
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn without_port(text: &str) -> Result<&str, HostnameError> {
    let port_from = match text.strip_prefix('[') {
        Some(_) => text
            .find(']')
            .ok_or_else(|| HostnameError::Ipv6(text.to_owned()))?,
        None => 0,
    };
    let Some(colon) = text[port_from..].find(':') else {
        return Ok(text);
    };
    let (host, port) = (&text[..port_from + colon], &text[port_from + colon + 1..]);
    // RFC 3986 section 3.2.2 lets the port be empty.
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    if digits && (port.is_empty() || port.parse::<u16>().is_ok()) {
        Ok(host)
    } else {
        Err(HostnameError::Port(port.to_owned()))
    }
}

fn parse_ipv6(text: &str) -> Result<Hostname, HostnameError> {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .and_then(|inner| inner.parse::<std::net::Ipv6Addr>().ok())
        .map(|address| Hostname(format!("[{address}]").into()))
        .ok_or_else(|| HostnameError::Ipv6(text.to_owned()))
}

fn check_labels(host: &str) -> Result<(), HostnameError> {
    if host.is_empty() {
        return Err(HostnameError::Empty);
    }
    if host.len() > MAX_LENGTH {
        return Err(HostnameError::TooLong);
    }
    host.split('.').try_for_each(check_label)
}

fn check_label(label: &str) -> Result<(), HostnameError> {
    if label.is_empty() {
        return Err(HostnameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(HostnameError::TooLong);
    }
    // The underscore is no letter of a host name in DNS, but real hosts of intranets have it.
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(wrong) = label.chars().find(|c| !allowed(*c)) {
        return Err(if wrong == '*' {
            HostnameError::Wildcard
        } else {
            HostnameError::Character(wrong)
        });
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(HostnameError::OuterHyphen);
    }
    Ok(())
}

/// What a site answers to: one host, or every host below one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// This host alone.
    Exact(Hostname),
    /// `*.parent`: every host below `parent` at any depth, and not `parent` itself.
    Wildcard(Hostname),
}

impl HostPattern {
    /// Parses `www.example.com` or `*.example.com`, normalised as a [`Hostname`] is.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        match text.strip_prefix("*.") {
            Some(parent) => Hostname::parse(parent).map(Self::Wildcard),
            None => Hostname::parse(text).map(Self::Exact),
        }
    }
}

impl FromStr for HostPattern {
    type Err = HostnameError;

    fn from_str(text: &str) -> Result<Self, HostnameError> {
        Self::parse(text)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.pad(host.as_str()),
            Self::Wildcard(parent) => f.pad(&format!("*.{parent}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<&str, HostnameError>) {
        let parsed = Hostname::parse(text).map(|host| host.to_string());
        assert_eq!(parsed, expected.map(str::to_owned), "{text:?}");
    }

    #[test]
    fn spellings_of_one_host_are_one_host() {
        check("www.Example.COM", Ok("www.example.com"));
        check("www.example.com.", Ok("www.example.com"));
        check("www.example.com:8080", Ok("www.example.com"));
        check("www.example.com.:", Ok("www.example.com"));
        check("bücher.example", Ok("xn--bcher-kva.example"));
        check("127.0.0.1:80", Ok("127.0.0.1"));
        check("[::1]:80", Ok("[::1]"));
        check("[0:0::1]", Ok("[::1]"));
    }

    #[test]
    fn what_is_no_host_is_refused_with_its_cause() {
        check("", Err(HostnameError::Empty));
        check(".", Err(HostnameError::Empty));
        check("a..b", Err(HostnameError::EmptyLabel));
        check("a b", Err(HostnameError::Character(' ')));
        check("../x.sock", Err(HostnameError::EmptyLabel));
        check("a/b", Err(HostnameError::Character('/')));
        check("-a.example", Err(HostnameError::OuterHyphen));
        check("*", Err(HostnameError::Wildcard));
        check("a:b", Err(HostnameError::Port("b".into())));
        check("a:99999", Err(HostnameError::Port("99999".into())));
        check("[::1", Err(HostnameError::Ipv6("[::1".into())));
        check(
            &format!("{}.example", "a".repeat(64)),
            Err(HostnameError::TooLong),
        );
        check(&["a"; 128].join("."), Err(HostnameError::TooLong));
    }

    #[test]
    fn a_wildcard_stands_first_and_alone() {
        let pattern = HostPattern::parse("*.Example.com").unwrap();
        assert_eq!(pattern.to_string(), "*.example.com");
        for wrong in ["*", "*.", "a.*.com", "*a.example.com", "*.*.com"] {
            assert!(
                HostPattern::parse(wrong).is_err(),
                "{wrong:?} was taken for a pattern"
            );
        }
    }

    #[test]
    fn parents_come_nearest_first() {
        let host = Hostname::parse("a.b.example.com").unwrap();
        assert_eq!(
            host.parents().collect::<Vec<_>>(),
            ["b.example.com", "example.com", "com"]
        );
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent(text in "\\PC{0,40}") {
            if let Ok(host) = Hostname::parse(&text) {
                prop_assert_eq!(Hostname::parse(host.as_str()), Ok(host));
            }
        }
    }
}
