//! What passes the guard and what doesn't; and that the parser behind it understands all that does.

use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 1000,
    target_bytes: 100,
};

/// Shows the bytes in parts of `cut`, keeping what doesn't pass, as a connection does.
fn feed(guard: &mut Guard, bytes: &[u8], cut: usize) -> (Vec<u8>, Rest) {
    let (mut passed, mut kept, mut rest) = (Vec::new(), Vec::new(), Rest::Wanted);
    for part in bytes.chunks(cut) {
        kept.extend_from_slice(part);
        let passage = guard.check(&kept);
        passed.extend(kept.drain(..passage.bytes));
        rest = passage.rest;
        if matches!(rest, Rest::Head(_) | Rest::Body(_)) {
            break;
        }
    }
    (passed, rest)
}

fn check(bytes: &str, expected_passed: &str, expected_rest: Rest) {
    for cut in [1, 2, 5, usize::MAX] {
        let mut guard = Guard::new(LIMITS);
        let (passed, rest) = feed(&mut guard, bytes.as_bytes(), cut);
        assert_eq!(rest, expected_rest, "{bytes:?} cut at {cut}");
        assert_eq!(
            String::from_utf8(passed).unwrap(),
            expected_passed,
            "{bytes:?} cut at {cut}"
        );
    }
}

fn passes(bytes: &str) {
    check(bytes, bytes, Rest::Wanted);
}

fn refused(bytes: &str, refusal: HeadRefusal) {
    check(bytes, "", Rest::Head(refusal));
}

/// A request with these lines after its `Host`.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

#[test]
fn well_formed_requests_pass_untouched() {
    passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    passes("\r\nGET /a?b=c%20 HTTP/1.0\r\nhost:a\r\n\r\n");
    passes("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    passes("GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n");
    passes("GET /{\"a\":1}/\u{e9}?[x]|y HTTP/1.1\r\nHost: a\r\n\r\n");
    passes(&with("X-Empty:\r\nX-Tab: a\tb\r\nX-Latin: \u{e9}\r\n"));
    passes(&with("Content-Length: 0\r\n"));
}

#[test]
fn bodies_end_where_the_head_said_and_the_next_head_begins() {
    let next = with("");
    passes(&format!(
        "{}hello{next}{next}",
        with("Content-Length: 5\r\n")
    ));
    passes(&format!(
        "{}5\r\nhello\r\n0\r\n\r\n{next}",
        with("transfer-encoding: Chunked\r\n")
    ));
    let first = format!("{}hello", with("Content-Length: 5\r\n"));
    check(&format!("{first}GET /"), &first, Rest::Wanted);
}

#[test]
fn a_body_may_hold_anything() {
    passes(&format!("{}\n\n\0 GET", with("Content-Length: 7\r\n")));
}

#[test]
fn forged_framing_is_refused() {
    refused("GET / HTTP/1.1\nHost: a\n\n", HeadRefusal::BareLineFeed);
    refused(&with("X: y\n"), HeadRefusal::BareLineFeed);
    refused(&with("X: y\r\n folded\r\n"), HeadRefusal::Folded);
    refused(&with("\tfolded: at once\r\n"), HeadRefusal::Folded);
    refused(
        &with("Content-Length: 1\r\nContent-Length: 1\r\n"),
        HeadRefusal::LengthRepeated,
    );
    refused(
        &with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        HeadRefusal::LengthAndCoding,
    );
    for length in ["", "+1", "-1", "1, 1", "0x1", "1 1", "99999999999999999999"] {
        refused(
            &with(&format!("Content-Length: {length}\r\n")),
            HeadRefusal::Length,
        );
    }
    for coding in [
        "",
        "xchunked",
        "chunked, chunked",
        "identity",
        "gzip, chunked",
        "chunked;q=1",
        "\"chunked\"",
    ] {
        refused(
            &with(&format!("Transfer-Encoding: {coding}\r\n")),
            HeadRefusal::Coding,
        );
    }
    refused(
        &with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        HeadRefusal::Coding,
    );
    refused(
        "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        HeadRefusal::Coding,
    );
}

#[test]
fn a_host_is_named_once() {
    refused("GET / HTTP/1.1\r\n\r\n", HeadRefusal::HostMissing);
    refused("GET / HTTP/1.0\r\n\r\n", HeadRefusal::HostMissing);
    refused(&with("Host: a\r\n"), HeadRefusal::HostRepeated);
}

#[test]
fn malformed_lines_are_refused() {
    refused(&with("Host : a\r\n"), HeadRefusal::HeaderName);
    refused(&with("no colon\r\n"), HeadRefusal::HeaderName);
    refused(&with(": empty\r\n"), HeadRefusal::HeaderName);
    refused(&with("X: a\0b\r\n"), HeadRefusal::HeaderValue);
    refused(&with("X: a\rb\r\n"), HeadRefusal::HeaderValue);
    refused(&with("X: a\x7fb\r\n"), HeadRefusal::HeaderValue);
    for line in [
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.1x",
    ] {
        refused(
            &format!("{line}\r\nHost: a\r\n\r\n"),
            HeadRefusal::RequestLine,
        );
    }
    refused(&"\r\n".repeat(5), HeadRefusal::RequestLine);
    for target in [
        "a", "*", "ftp://a/", "/a#b", "/\x7f", "/a<b", "http://", "//\0",
    ] {
        refused(
            &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"),
            HeadRefusal::Target,
        );
    }
    refused("PRI * HTTP/2.0\r\n\r\n", HeadRefusal::Version);
    refused(
        "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        HeadRefusal::Method,
    );
    refused("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", HeadRefusal::Method);
}

#[test]
fn a_control_character_is_found_wherever_it_stands() {
    for byte in 0..=u8::MAX {
        for place in 0..20 {
            let mut value = [b'v'; 20];
            value[place] = byte;
            let bytes = [b"GET / HTTP/1.1\r\nHost: a\r\nX:", &value[..], b"\r\n\r\n"].concat();
            let passes = Guard::new(LIMITS).check(&bytes).bytes > 0;
            let good = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            assert_eq!(passes, good, "{byte:#x} at {place}");
        }
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_whole() {
    let long = "x".repeat(200);
    refused(
        &format!("GET /{long} HTTP/1.1\r\n"),
        HeadRefusal::TargetTooLong,
    );
    refused(&format!("GET /{long}"), HeadRefusal::TargetTooLong);
    refused(
        &format!("GET / HTTP/1.1\r\nX: {}", long.repeat(6)),
        HeadRefusal::TooLarge,
    );
    refused(
        &with(&format!("X: {long}\r\n").repeat(6)),
        HeadRefusal::TooLarge,
    );
    refused(
        &with(&format!("{}: y\r\n", "x".repeat(257))),
        HeadRefusal::TooLarge,
    );
    refused(&with(&"a:\r\n".repeat(MAX_HEADERS)), HeadRefusal::TooLarge);
    passes(&with(&"a:\r\n".repeat(MAX_HEADERS - 1)));
}

#[test]
fn a_broken_chunk_is_refused_within_its_body() {
    let head = with("Transfer-Encoding: chunked\r\n");
    check(&format!("{head}x\r\n"), &head, Rest::Body(BadChunk::Size));
    check(
        &format!("{head}2\r\nhi\n"),
        &format!("{head}2\r\nhi"),
        Rest::Body(BadChunk::LineEnd),
    );
}

#[test]
fn nothing_passes_after_a_refusal() {
    let mut guard = Guard::new(LIMITS);
    assert_eq!(
        guard.check(b"\n").rest,
        Rest::Head(HeadRefusal::BareLineFeed)
    );
    let passage = guard.check(with("").as_bytes());
    assert_eq!(passage.bytes, 0);
}

#[test]
fn what_follows_a_wish_for_a_websocket_waits_for_the_decision() {
    let head = with("Connection: Upgrade\r\nUpgrade: WebSocket\r\n");
    let bytes = format!("{head}\n\0frames");
    let waiting = || {
        let mut guard = Guard::new(LIMITS);
        let passage = guard.check(bytes.as_bytes());
        assert_eq!((passage.bytes, passage.rest), (head.len(), Rest::Held));
        guard
    };
    let mut guard = waiting();
    guard.tunnel();
    assert_eq!(guard.check(b"\n\0frames").bytes, 8);
    let mut guard = waiting();
    guard.resume();
    assert_eq!(
        guard.check(b"\n\0frames").rest,
        Rest::Head(HeadRefusal::BareLineFeed)
    );
}

#[test]
fn heads_are_counted() {
    let mut guard = Guard::new(LIMITS);
    feed(&mut guard, format!("{0}{0}", with("")).as_bytes(), 3);
    assert_eq!(guard.heads_passed(), 2);
}

/// Whether the parser that reads behind the guard takes this head.
fn parser_takes(head: &[u8]) -> bool {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    if !request.parse(head).is_ok_and(|parsed| parsed.is_complete()) {
        return false;
    }
    let names = |line: &httparse::Header<'_>| {
        http::HeaderName::from_bytes(line.name.as_bytes()).is_ok()
            && http::HeaderValue::from_bytes(line.value).is_ok()
    };
    http::Method::from_bytes(request.method.unwrap_or_default().as_bytes()).is_ok()
        && request
            .path
            .unwrap_or_default()
            .parse::<http::Uri>()
            .is_ok()
        && request.headers.iter().all(names)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_parser_takes_whatever_passes(
        method in "[A-Za-z!#%]{1,8}",
        target in "[/*h][ -~\u{80}-\u{ff}]{0,12}",
        lines in prop::collection::vec("[A-Za-z:_ -]{1,6}: ?[\t -~\u{80}-\u{ff}\r\n]{0,12}\r\n", 0..4),
    ) {
        let lines = lines.concat();
        let text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let mut guard = Guard::new(LIMITS);
        guard.check(text.as_bytes());
        if guard.heads_passed() == 1 {
            prop_assert!(parser_takes(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn the_cut_decides_nothing(
        lines in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "Host: a\r\n", "Content-Length: 3\r\n", "\r\n", "abc", "\n",
            "Transfer-Encoding: chunked\r\n", "0\r\n\r\n", "3\r\nabc\r\n", " ", "Upgrade: websocket\r\n",
        ]), 0..12),
        cut in 1usize..9,
    ) {
        let text = lines.concat();
        let (mut whole, mut parts) = (Guard::new(LIMITS), Guard::new(LIMITS));
        let (passed, rest) = feed(&mut whole, text.as_bytes(), usize::MAX);
        let (passed_in_parts, rest_in_parts) = feed(&mut parts, text.as_bytes(), cut);
        prop_assert_eq!(rest, rest_in_parts);
        prop_assert_eq!(whole.heads_passed(), parts.heads_passed());
        // Of a broken chunk, good bytes before the first bad one may have passed in parts.
        prop_assert!(passed_in_parts.starts_with(&passed));
    }
}
