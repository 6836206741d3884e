//! Requests in HTTP/1.1 (RFC 9112).

use bytes::{BufMut, BytesMut};

use super::request::{RequestBody, RequestHead, Upgrade};

/// Appends the head. Everything in it came through types that hold no line end.
pub(super) fn encode(head: &RequestHead<'_>, out: &mut BytesMut) {
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(head.target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    line(out, b"Host", head.host.as_bytes());
    for (name, value) in head.passing() {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    added(head, out);
    framing(head.body, out);
    match head.upgrade {
        Upgrade::None => {}
        Upgrade::WebSocket => out.put_slice(b"Connection: upgrade\r\nUpgrade: websocket\r\n"),
    }
    out.put_slice(b"\r\n");
}

fn added(head: &RequestHead<'_>, out: &mut BytesMut) {
    let forwarded = &head.forwarded;
    for (index, part) in forwarded.chain(head.headers).enumerate() {
        out.put_slice(if index == 0 {
            b"X-Forwarded-For: "
        } else {
            b", "
        });
        out.put_slice(part);
    }
    if forwarded.chain(head.headers).next().is_some() {
        out.put_slice(b"\r\n");
    }
    line(out, b"X-Forwarded-Proto", forwarded.proto.as_bytes());
    line(out, b"X-Forwarded-Host", forwarded.host.as_bytes());
    line(out, b"X-Request-Id", forwarded.request_id.as_bytes());
    if let Some(site) = head.site {
        out.put_slice(b"X-Site-Id: ");
        decimal(site.get().unsigned_abs(), out);
        out.put_slice(b"\r\n");
    }
}

fn framing(body: RequestBody, out: &mut BytesMut) {
    match body {
        RequestBody::None => {}
        RequestBody::Length(length) => {
            out.put_slice(b"Content-Length: ");
            decimal(length, out);
            out.put_slice(b"\r\n");
        }
        RequestBody::Chunked => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
    }
}

fn line(out: &mut BytesMut, name: &[u8], value: &[u8]) {
    out.put_slice(name);
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Appends a number without the machinery of formatting.
pub(super) fn decimal(mut value: u64, out: &mut BytesMut) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        // A remainder of ten fits a byte.
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method};
    use site_model::SiteId;

    use super::*;
    use crate::forward::Trust;

    fn encoded(change: impl FnOnce(&mut RequestHead<'_>)) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("accept", HeaderValue::from_static("*/*"));
        headers.insert("x-forwarded-for", HeaderValue::from_static("1.2.3.4"));
        headers.insert("content-length", HeaderValue::from_static("999"));
        let mut head = RequestHead::probe(&Method::POST, "/a?b=%20", "a.example:8080", &headers);
        change(&mut head);
        let mut out = BytesMut::new();
        encode(&head, &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_head_carries_the_clients_host_and_what_the_edge_adds() {
        let expected = "POST /a?b=%20 HTTP/1.1\r\n\
            Host: a.example:8080\r\n\
            accept: */*\r\n\
            X-Forwarded-For: 127.0.0.1\r\n\
            X-Forwarded-Proto: http\r\n\
            X-Forwarded-Host: a.example:8080\r\n\
            X-Request-Id: readiness-probe\r\n\
            Content-Length: 12\r\n\r\n";
        assert_eq!(
            encoded(|head| head.body = RequestBody::Length(12)),
            expected
        );
    }

    #[test]
    fn a_worker_of_several_sites_is_told_which_one_is_asked_and_by_nobody_else() {
        let mut headers = HeaderMap::new();
        headers.insert("x-site-id", HeaderValue::from_static("1"));
        let text = |site| {
            let mut head = RequestHead::probe(&Method::GET, "/", "a.example", &headers);
            head.site = site;
            let mut out = BytesMut::new();
            encode(&head, &mut out);
            String::from_utf8(out.to_vec()).unwrap().to_lowercase()
        };
        let told = text(Some(SiteId::new(27).unwrap()));
        assert_eq!(told.matches("\r\nx-site-id: 27\r\n").count(), 1, "{told}");
        assert_eq!(told.matches("x-site-id").count(), 1, "{told}");
        assert!(!text(None).contains("x-site-id"));
    }

    #[test]
    fn the_framing_is_the_routers_own() {
        let text = encoded(|head| head.body = RequestBody::Chunked);
        assert!(
            text.ends_with("Transfer-Encoding: chunked\r\n\r\n"),
            "{text}"
        );
        assert!(!text.contains("999"), "{text}");
    }

    #[test]
    fn a_trusted_proxy_without_an_address_adds_nothing_of_its_own() {
        let text = encoded(|head| {
            head.forwarded.trust = Trust::Proxy;
            head.forwarded.peer = "";
        });
        assert!(text.contains("\r\nX-Forwarded-For: 1.2.3.4\r\n"), "{text}");
        let text = encoded(|head| head.forwarded.peer = "");
        assert!(!text.contains("X-Forwarded-For"), "{text}");
    }

    #[test]
    fn an_upgrade_is_asked_for_in_the_routers_words() {
        let text = encoded(|head| head.upgrade = Upgrade::WebSocket);
        assert!(
            text.ends_with("\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
            "{text}"
        );
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 9, 10, 1234, u64::MAX] {
            let mut out = BytesMut::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
