//! Heads as they are kept: the lines of HTTP/1.1, ready to be written, a fifth of a `HeaderMap`'s size.

use bytes::Bytes;
use http::header::{
    AGE, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName,
    HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};

use crate::directives::{Fields, members};

/// Headers of one connection or one visitor, and those that are written anew with each answer.
fn is_kept(name: &HeaderName) -> bool {
    const NEVER: [HeaderName; 10] = [
        CONNECTION,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        CONTENT_LENGTH,
        SET_COOKIE,
        AGE,
    ];
    !NEVER.contains(name)
        && ![
            "keep-alive",
            "proxy-connection",
            "proxy-authentication-info",
            "cache-status",
            "x-request-id",
        ]
        .contains(&name.as_str())
}

/// The headers of an answer that are kept (RFC 9111 §3.1): none of its connection's, none that
/// `no-cache="…"` names (§5.2.2.4).
pub(crate) fn kept(headers: &HeaderMap, no_cache: &Fields) -> HeaderMap {
    let lines = headers.get_all(CONNECTION).iter();
    let nominated: Vec<&[u8]> = lines.flat_map(|line| members(line.as_bytes())).collect();
    let is_nominated = |name: &HeaderName| {
        let mut nominated = nominated.iter();
        nominated.any(|other| other.eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let is_named = |name: &HeaderName| match no_cache {
        Fields::Named(names) => names.contains(name),
        Fields::None | Fields::All => false,
    };
    let mut kept = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        if is_kept(name) && !is_nominated(name) && !is_named(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// Brings a kept head up to date with that of a 304 or of an answer to HEAD (RFC 9111 §3.2): each
/// header that is there takes the place of all of its name. What describes the bytes of the body
/// stays, since the body does.
pub(crate) fn update(stored: &mut HeaderMap, newer: &HeaderMap) {
    let of_the_body = |name: &HeaderName| {
        [CONTENT_ENCODING, CONTENT_RANGE].contains(name) || name == "content-md5"
    };
    for name in newer.keys().filter(|name| !of_the_body(name)) {
        stored.remove(name);
        for value in newer.get_all(name) {
            stored.append(name, value.clone());
        }
    }
}

/// Appends the lines of a head.
pub(crate) fn write(headers: &HeaderMap, lines: &mut Vec<u8>) {
    for (name, value) in headers {
        lines.extend_from_slice(name.as_str().as_bytes());
        lines.extend_from_slice(b": ");
        lines.extend_from_slice(value.as_bytes());
        lines.extend_from_slice(b"\r\n");
    }
}

/// Names and values of a request's headers, as lines.
pub(crate) fn lines(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.iter();
    lines.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// The headers of a kept head, sharing its bytes.
pub(crate) fn read(lines: &Bytes) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    for (name, value) in pairs(lines) {
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_maybe_shared(lines.slice_ref(value));
        // What was a header when it was written is one still.
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

/// The first value of a header in a kept head.
pub(crate) fn find<'a>(lines: &'a [u8], name: &HeaderName) -> Option<&'a [u8]> {
    let mut pairs = pairs(lines).filter(|(found, _)| *found == name.as_str().as_bytes());
    pairs.next().map(|(_, value)| value)
}

/// Names and values of a kept head.
pub(crate) fn pairs(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line.get(colon + 2..)?))
    })
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, DATE, ETAG};

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        let mut headers = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn rfc9111_3_1_headers_of_a_connection_and_of_a_visitor_are_not_kept() {
        let answer = headers(&[
            ("content-type", "text/html"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "5"),
            ("transfer-encoding", "chunked"),
            ("set-cookie", "a=b"),
            ("age", "9"),
            ("x-request-id", "7"),
            ("x-secret", "2"),
            ("link", "<a>"),
            ("link", "<b>"),
        ]);
        let named = Fields::Named(vec!["x-secret".parse().unwrap()]);
        let expected = headers(&[
            ("content-type", "text/html"),
            ("link", "<a>"),
            ("link", "<b>"),
        ]);
        assert_eq!(kept(&answer, &named), expected);
    }

    #[test]
    fn a_kept_head_is_read_as_it_was_written() {
        let answer = headers(&[
            ("etag", "\"a: b\""),
            ("link", "<a>"),
            ("x-empty", ""),
            ("link", "<b>"),
        ]);
        let mut lines = Vec::new();
        write(&answer, &mut lines);
        assert_eq!(find(&lines, &ETAG), Some(&b"\"a: b\""[..]));
        assert_eq!(find(&lines, &DATE), None);
        assert_eq!(read(&Bytes::from(lines)), answer);
    }

    #[test]
    fn rfc9111_3_2_newer_headers_take_the_place_of_stored_ones() {
        let mut stored = headers(&[
            ("content-type", "a/b"),
            ("content-encoding", "gzip"),
            ("x", "1"),
            ("x", "2"),
            ("y", "1"),
        ]);
        update(
            &mut stored,
            &headers(&[("x", "3"), ("z", "4"), ("content-encoding", "br")]),
        );
        let expected = headers(&[
            ("content-type", "a/b"),
            ("content-encoding", "gzip"),
            ("x", "3"),
            ("y", "1"),
            ("z", "4"),
        ]);
        assert_eq!(stored, expected);
        assert!(stored.contains_key(CONTENT_TYPE));
    }
}
