//! Heads that ask for a page and for nothing else, read where they lie.
//!
//! No body, no condition, no part, no credentials, nothing about caches or the connection: what is left of
//! such a head is its target, its host, its cookies and what it prefers. A cache that has the page needs no header map to
//! find it, and making one costs more than the page does.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::{Memchr, memchr, memchr_iter};

/// GET or HEAD of HTTP/1.1 for a path, and nothing in its headers that asks for more than a stored page.
#[derive(Debug, Clone)]
pub struct PlainHead<'a> {
    /// Whether only the head of the answer is wanted.
    pub head_only: bool,
    /// Path and query as the client wrote them.
    pub target: &'a str,
    /// The `Host` as the client wrote it.
    pub host: &'a str,
    /// Whether there is a `Cookie` among its lines.
    pub has_cookies: bool,
    lines: Lines<'a>,
}

/// Names and values of a head, in their order, without the space around values.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    text: &'a [u8],
    begin: usize,
    ends: Memchr<'a>,
}

impl<'a> PlainHead<'a> {
    /// Reads a whole head, with the empty line at its end, that the guard has let through. `None`: it asks
    /// for more, or it may.
    pub fn read(head: &'a [u8]) -> Option<Self> {
        let line_feed = memchr(b'\n', head)?;
        let line = head[..line_feed].strip_suffix(b" HTTP/1.1\r")?;
        let (head_only, target) = match line {
            [b'G', b'E', b'T', b' ', target @ ..] => (false, target),
            [b'H', b'E', b'A', b'D', b' ', target @ ..] => (true, target),
            _ => return None,
        };
        let lines = Lines::of(&head[line_feed + 1..]);
        let (mut host, mut has_cookies) = (None, false);
        for (name, value) in lines.clone() {
            match kind(name, value) {
                Line::Plain => {}
                Line::Host => host = Some(value),
                Line::Cookie => has_cookies = true,
                Line::AsksForMore => return None,
            }
        }
        Some(Self {
            head_only,
            target: std::str::from_utf8(target)
                .ok()
                .filter(|target| target.starts_with('/'))?,
            host: visible(host?).filter(|host| !host.is_empty())?,
            has_cookies,
            lines,
        })
    }

    /// What stands before the first `?`.
    pub fn path(&self) -> &'a str {
        self.parts().0
    }

    /// What follows it, if there is one.
    pub fn query(&self) -> Option<&'a str> {
        self.parts().1
    }

    fn parts(&self) -> (&'a str, Option<&'a str>) {
        match memchr(b'?', self.target.as_bytes()) {
            Some(mark) => (&self.target[..mark], Some(&self.target[mark + 1..])),
            None => (self.target, None),
        }
    }

    /// All of its headers.
    pub fn lines(&self) -> Lines<'a> {
        self.lines.clone()
    }

    /// A header as text; empty where there is none, or one beyond ASCII.
    pub fn text(&self, name: &HeaderName) -> &'a str {
        let mut lines = self.lines();
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name.as_ref()));
        found
            .and_then(|(_, value)| visible(value))
            .unwrap_or_default()
    }

    /// What a proxy says of its own client, and of the request's id.
    pub fn forwarding(&self) -> HeaderMap {
        let says = self.lines().filter(|(name, _)| {
            let begins_with = |start: &[u8]| {
                let beginning = name.get(..start.len());
                beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(start))
            };
            begins_with(b"x-forwarded-") || begins_with(b"x-request-id")
        });
        let mut headers = HeaderMap::new();
        for (name, value) in says {
            let line = HeaderName::from_bytes(name)
                .ok()
                .zip(HeaderValue::from_bytes(value).ok());
            // The guard lets nothing through that can't be read here.
            if let Some((name, value)) = line {
                headers.append(name, value);
            }
        }
        headers
    }
}

impl<'a> Lines<'a> {
    fn of(text: &'a [u8]) -> Self {
        Self {
            text,
            begin: 0,
            ends: memchr_iter(b'\n', text),
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.ends.next()?;
        let line = self.text[self.begin..end].trim_ascii_end();
        self.begin = end + 1;
        // The empty line at the end has none.
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii_start()))
    }
}

/// What a header is to a plain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Plain,
    Host,
    Cookie,
    AsksForMore,
}

fn kind(name: &[u8], value: &[u8]) -> Line {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    let asks_for_more = match name.len() {
        4 if is(b"host") => return Line::Host,
        5 => is(b"range"),
        6 if is(b"cookie") => return Line::Cookie,
        6 => is(b"expect") || is(b"pragma"),
        7 => is(b"upgrade"),
        10 => is(b"connection") && !value.eq_ignore_ascii_case(b"keep-alive"),
        13 => is(b"cache-control") || is(b"authorization"),
        14 => is(b"content-length"),
        17 => is(b"transfer-encoding"),
        _ => false,
    };
    // All conditions are named so.
    let is_condition = matches!(name, [b'i' | b'I', b'f' | b'F', b'-', ..]);
    if asks_for_more || is_condition {
        Line::AsksForMore
    } else {
        Line::Plain
    }
}

/// A value that is text to everybody.
fn visible(value: &[u8]) -> Option<&str> {
    let is_visible = |byte: u8| matches!(byte, b'\t' | b' '..=b'~');
    let all = value.iter().fold(true, |all, byte| all & is_visible(*byte));
    std::str::from_utf8(value).ok().filter(|_| all)
}

#[cfg(test)]
mod tests {
    use http::header;
    use proptest::prelude::*;

    use super::*;
    use crate::guard::{Guard, HeadLimits, Passage, Rest};

    fn head(first: &str, lines: &[&str]) -> String {
        let lines = [&[first, "Host: a.example"], lines, &["", ""]].concat();
        lines.join("\r\n")
    }

    fn is_plain(first: &str, lines: &[&str]) -> bool {
        PlainHead::read(head(first, lines).as_bytes()).is_some()
    }

    #[test]
    fn a_page_and_nothing_else_is_asked_for() {
        let text = head(
            "HEAD /a/?b=1?2 HTTP/1.1",
            &["Accept:\t*/* ", "accept: x", "Connection: Keep-Alive"],
        );
        let plain = PlainHead::read(text.as_bytes()).unwrap();
        assert!(plain.head_only);
        assert_eq!((plain.path(), plain.query()), ("/a/", Some("b=1?2")));
        assert_eq!((plain.target, plain.host), ("/a/?b=1?2", "a.example"));
        assert_eq!(plain.text(&header::ACCEPT), "*/*");
        assert_eq!(plain.text(&header::REFERER), "");
        assert_eq!(plain.lines().count(), 4);
        assert!(!plain.has_cookies);
        let text = head("GET / HTTP/1.1", &["COOKIE: a=b"]);
        assert!(PlainHead::read(text.as_bytes()).unwrap().has_cookies);
    }

    #[test]
    fn whatever_asks_for_more_is_left_to_others() {
        assert!(is_plain("GET / HTTP/1.1", &[]));
        for first in [
            "POST / HTTP/1.1",
            "get / HTTP/1.1",
            "GET / HTTP/1.0",
            "GET http://a.example/ HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "\r\nGET / HTTP/1.1",
        ] {
            assert!(!is_plain(first, &[]), "{first}");
        }
        for line in [
            "cache-control: max-age=0",
            "Pragma: no-cache",
            "Authorization: Basic eA==",
            "Range: bytes=0-1",
            "If-None-Match: \"a\"",
            "if-modified-since: x",
            "If-Range: x",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "Connection: close",
            "Connection: keep-alive, x",
            "Content-Length: 0",
            "Transfer-Encoding: chunked",
        ] {
            assert!(!is_plain("GET / HTTP/1.1", &[line]), "{line}");
        }
    }

    #[test]
    fn what_a_proxy_says_is_a_map() {
        let lines = [
            "X-Forwarded-Proto: https",
            "x-forwarded-for: 192.0.2.1",
            "X-Forwarded-For: 192.0.2.2",
            "X-Request-Id: 7",
            "X-Forward: 1",
        ];
        let text = head("GET / HTTP/1.1", &lines);
        let said = PlainHead::read(text.as_bytes()).unwrap().forwarding();
        assert_eq!(said.len(), 4);
        assert_eq!(said["x-forwarded-proto"], "https");
        assert_eq!(said.get_all("x-forwarded-for").iter().count(), 2);
        assert_eq!(said["x-request-id"], "7");
    }

    fn line() -> impl Strategy<Value = String> {
        let name = "[Hh]ost|Accept|ACCEPT-encoding|X-[a-z]{1,3}|if-x|Range|Connection";
        (name, "[ \t]{0,2}", "([a-z\u{e9}:,; \t=-]{0,8}|keep-alive)")
            .prop_map(|(name, space, value)| format!("{name}:{space}{value}"))
    }

    proptest! {
        /// The parser behind the guard reads the same.
        #[test]
        fn a_plain_head_is_what_others_read(
            method in "GET|HEAD|PUT",
            target in "/[a-z/?%é]{0,6}|\\*|http://a.example/x",
            version in "1\\.[01]",
            lines in prop::collection::vec(line(), 0..6),
        ) {
            let first = format!("{method} {target} HTTP/{version}");
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let text = head(&first, &lines);
            let mut guard = Guard::new(HeadLimits { head_bytes: 4096, target_bytes: 1024 });
            let passage = guard.check(text.as_bytes());
            prop_assume!(passage == Passage { bytes: text.len(), rest: Rest::Wanted });
            let mut room = [httparse::EMPTY_HEADER; 16];
            let mut other = httparse::Request::new(&mut room);
            prop_assert!(other.parse(text.as_bytes()).unwrap().is_complete());
            let Some(plain) = PlainHead::read(text.as_bytes()) else {
                return Ok(());
            };
            prop_assert_eq!(plain.head_only, other.method == Some("HEAD"));
            prop_assert_eq!(other.version, Some(1));
            let uri: http::Uri = other.path.unwrap().parse().unwrap();
            prop_assert_eq!((plain.path(), plain.query()), (uri.path(), uri.query()));
            prop_assert!(uri.authority().is_none());
            let read: Vec<_> = plain.lines().collect();
            let others: Vec<_> = other.headers.iter().map(|line| (line.name.as_bytes(), line.value)).collect();
            prop_assert_eq!(read, others);
        }
    }
}
