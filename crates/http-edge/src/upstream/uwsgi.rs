//! Requests in the uwsgi protocol: a packet of variables as CGI names them, then the body as it is.
//!
//! The packet is `modifier1` (0: a WSGI request), its length as a little-endian `u16`, `modifier2`
//! (0), and the variables, each name and value with its length before it. The answer is that of a
//! CGI program or an HTTP server, up to the end of the connection.

use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue, header};

use super::http1::decimal;
use super::request::{EncodeError, RequestBody, RequestHead};

const PACKET_HEADER_BYTES: usize = 4;

/// Appends the packet. On an error `out` is as it was.
pub(super) fn encode(head: &RequestHead<'_>, out: &mut BytesMut) -> Result<(), EncodeError> {
    if head.body == RequestBody::Chunked {
        return Err(EncodeError::LengthRequired);
    }
    let start = out.len();
    out.put_slice(&[0; PACKET_HEADER_BYTES]);
    let mut packet = Packet { out, start };
    packet.request(head);
    packet.headers(head);
    packet.finish()
}

struct Packet<'a> {
    out: &'a mut BytesMut,
    start: usize,
}

impl Packet<'_> {
    fn request(&mut self, head: &RequestHead<'_>) {
        let (path, query) = head.target.split_once('?').unwrap_or((head.target, ""));
        let (name, port) = name_and_port(head.host, head.forwarded.proto);
        self.variable(b"REQUEST_METHOD", head.method.as_str().as_bytes());
        self.variable(b"REQUEST_URI", head.target.as_bytes());
        self.value_of(b"PATH_INFO", |out| decode_percent(path.as_bytes(), out));
        self.variable(b"SCRIPT_NAME", b"");
        self.variable(b"QUERY_STRING", query.as_bytes());
        self.variable(b"SERVER_PROTOCOL", b"HTTP/1.1");
        self.variable(b"SERVER_NAME", name.as_bytes());
        self.variable(b"SERVER_PORT", port.as_bytes());
        self.variable(b"REMOTE_ADDR", head.forwarded.client.as_bytes());
        self.variable(b"REQUEST_SCHEME", head.forwarded.proto.as_bytes());
        if head.forwarded.proto == "https" {
            self.variable(b"HTTPS", b"on");
        }
        match head.body {
            RequestBody::None | RequestBody::Chunked => self.variable(b"CONTENT_LENGTH", b""),
            RequestBody::Length(length) => {
                self.value_of(b"CONTENT_LENGTH", |out| decimal(length, out));
            }
        }
        let content_type = head.headers.get(header::CONTENT_TYPE);
        self.variable(
            b"CONTENT_TYPE",
            content_type.map_or(b"", HeaderValue::as_bytes),
        );
    }

    fn headers(&mut self, head: &RequestHead<'_>) {
        self.variable(b"HTTP_HOST", head.host.as_bytes());
        // `Content-Type` has a variable without `HTTP_`.
        let others = head
            .passing()
            .filter(|(name, _)| **name != header::CONTENT_TYPE);
        let mut passing = others.peekable();
        while let Some((name, first)) = passing.next() {
            let length_at = self.begin(|out| put_variable_name(name, out));
            self.out.put_slice(first.as_bytes());
            // A variable can stand only once: what the client repeated becomes one list.
            while let Some((_, again)) = passing.next_if(|(next, _)| *next == name) {
                self.out.put_slice(if *name == header::COOKIE {
                    b"; "
                } else {
                    b", "
                });
                self.out.put_slice(again.as_bytes());
            }
            self.end(length_at);
        }
        self.added(head);
    }

    fn added(&mut self, head: &RequestHead<'_>) {
        let forwarded = &head.forwarded;
        let mut chain = forwarded.chain(head.headers).peekable();
        if chain.peek().is_some() {
            self.value_of(b"HTTP_X_FORWARDED_FOR", |out| {
                for (index, part) in chain.enumerate() {
                    out.put_slice(if index == 0 { b"" } else { b", " });
                    out.put_slice(part);
                }
            });
        }
        self.variable(b"HTTP_X_FORWARDED_PROTO", forwarded.proto.as_bytes());
        self.variable(b"HTTP_X_FORWARDED_HOST", forwarded.host.as_bytes());
        self.variable(b"HTTP_X_REQUEST_ID", forwarded.request_id.as_bytes());
        if let Some(site) = head.site {
            let id = site.get().unsigned_abs();
            // Under its own name, which no header of a client's can have.
            self.value_of(b"SITE_ID", |out| decimal(id, out));
            self.value_of(b"HTTP_X_SITE_ID", |out| decimal(id, out));
        }
    }

    fn variable(&mut self, name: &[u8], value: &[u8]) {
        self.value_of(name, |out| out.put_slice(value));
    }

    fn value_of(&mut self, name: &[u8], write: impl FnOnce(&mut BytesMut)) {
        let length_at = self.begin(|out| out.put_slice(name));
        write(self.out);
        self.end(length_at);
    }

    /// Writes a name and leaves room for the length of its value.
    fn begin(&mut self, write_name: impl FnOnce(&mut BytesMut)) -> usize {
        let name_length_at = self.out.len();
        self.out.put_u16_le(0);
        write_name(self.out);
        self.end(name_length_at);
        let length_at = self.out.len();
        self.out.put_u16_le(0);
        length_at
    }

    /// Notes the length of what was written since. One that doesn't fit is caught at the end, as
    /// the whole doesn't fit then either.
    fn end(&mut self, length_at: usize) {
        let length = self.out.len() - length_at - size_of::<u16>();
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        self.out[length_at..length_at + size_of::<u16>()].copy_from_slice(&length.to_le_bytes());
    }

    fn finish(self) -> Result<(), EncodeError> {
        let length = self.out.len() - self.start - PACKET_HEADER_BYTES;
        let Ok(length) = u16::try_from(length) else {
            self.out.truncate(self.start);
            return Err(EncodeError::TooManyVariables);
        };
        self.out[self.start + 1..self.start + 3].copy_from_slice(&length.to_le_bytes());
        Ok(())
    }
}

fn put_variable_name(name: &HeaderName, out: &mut BytesMut) {
    out.put_slice(b"HTTP_");
    out.extend(name.as_str().bytes().map(|byte| match byte {
        b'-' => b'_',
        other => other.to_ascii_uppercase(),
    }));
}

fn name_and_port<'a>(host: &'a str, proto: &str) -> (&'a str, &'a str) {
    let usual = if proto == "https" { "443" } else { "80" };
    match host.rsplit_once(':') {
        // The colons of an address in brackets are its own.
        Some((name, port)) if !port.contains(']') => {
            (name, if port.is_empty() { usual } else { port })
        }
        Some(_) | None => (host, usual),
    }
}

/// Appends a path with its escapes resolved. What is no escape stays as it is: the application
/// decides what to make of it.
fn decode_percent(path: &[u8], out: &mut BytesMut) {
    let mut rest = path;
    while let Some(at) = memchr::memchr(b'%', rest) {
        out.put_slice(&rest[..at]);
        let escape = rest.get(at + 1..at + 3).and_then(hex_byte);
        out.put_u8(escape.unwrap_or(b'%'));
        rest = &rest[at + if escape.is_some() { 3 } else { 1 }..];
    }
    out.put_slice(rest);
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    match digits {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{HeaderMap, Method};
    use proptest::prelude::*;

    use super::*;

    /// Reads a packet as uWSGI does.
    fn variables(mut packet: &[u8]) -> BTreeMap<String, String> {
        assert_eq!((packet[0], packet[3]), (0, 0), "modifiers");
        let length = usize::from(u16::from_le_bytes([packet[1], packet[2]]));
        packet = &packet[PACKET_HEADER_BYTES..];
        assert_eq!(packet.len(), length);
        let mut found = BTreeMap::new();
        let mut take = || -> Option<String> {
            let (length, rest) = packet.split_at_checked(2)?;
            let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
            let (text, rest) = rest.split_at(length);
            packet = rest;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        while let Some(name) = take() {
            let value = take().unwrap();
            assert_eq!(
                found.insert(name, value),
                None,
                "a variable that stands twice"
            );
        }
        found
    }

    fn encoded(target: &str, headers: &HeaderMap, body: RequestBody) -> BTreeMap<String, String> {
        let mut head = RequestHead::probe(&Method::GET, target, "a.example:8080", headers);
        head.body = body;
        let mut out = BytesMut::new();
        encode(&head, &mut out).unwrap();
        variables(&out)
    }

    #[test]
    fn the_request_becomes_the_variables_of_cgi() {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        headers.insert("x-csrf-token", HeaderValue::from_static("t"));
        let found = encoded("/a%20b/%zz%?c=%20", &headers, RequestBody::Length(70_000));
        let expect = [
            ("REQUEST_METHOD", "GET"),
            ("REQUEST_URI", "/a%20b/%zz%?c=%20"),
            ("PATH_INFO", "/a b/%zz%"),
            ("SCRIPT_NAME", ""),
            ("QUERY_STRING", "c=%20"),
            ("CONTENT_LENGTH", "70000"),
            ("CONTENT_TYPE", "text/plain"),
            ("SERVER_NAME", "a.example"),
            ("SERVER_PORT", "8080"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("HTTP_HOST", "a.example:8080"),
            ("HTTP_X_CSRF_TOKEN", "t"),
            ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
            ("HTTP_X_FORWARDED_PROTO", "http"),
        ];
        for (name, value) in expect {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(found.get("HTTPS"), None);
    }

    #[test]
    fn repeated_headers_become_one_variable() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("cookie", "a=1"),
            ("x-tag", "1"),
            ("cookie", "b=2"),
            ("x-tag", "2"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let found = encoded("/", &headers, RequestBody::None);
        assert_eq!(found["HTTP_COOKIE"], "a=1; b=2");
        assert_eq!(found["HTTP_X_TAG"], "1, 2");
    }

    fn check_host(host: &str, proto: &str, expected: (&str, &str)) {
        assert_eq!(name_and_port(host, proto), expected, "{host} {proto}");
    }

    #[test]
    fn the_port_is_the_one_the_client_named_or_the_schemes() {
        check_host("a.example", "http", ("a.example", "80"));
        check_host("a.example:", "https", ("a.example", "443"));
        check_host("a.example:81", "https", ("a.example", "81"));
        check_host("[::1]", "http", ("[::1]", "80"));
        check_host("[::1]:81", "http", ("[::1]", "81"));
    }

    #[test]
    fn what_the_protocol_can_t_say_is_refused_and_leaves_nothing_behind() {
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-large",
            HeaderValue::from_str(&"x".repeat(70_000)).unwrap(),
        );
        let mut head = RequestHead::probe(&Method::GET, "/", "a.example", &headers);
        let mut out = BytesMut::from("before");
        assert_eq!(encode(&head, &mut out), Err(EncodeError::TooManyVariables));
        let none = HeaderMap::new();
        head.headers = &none;
        head.body = RequestBody::Chunked;
        assert_eq!(encode(&head, &mut out), Err(EncodeError::LengthRequired));
        assert_eq!(out, "before");
    }

    proptest! {
        #[test]
        fn any_target_makes_a_packet_that_can_be_read(target in "/[!-~]{0,60}") {
            let found = encoded(&target, &HeaderMap::new(), RequestBody::None);
            prop_assert_eq!(&found["REQUEST_URI"], &target);
        }
    }
}
