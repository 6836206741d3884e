//! Requests as a client sends them: the guard and the parser behind it agree on where each head
//! ends, and the cut of the bytes decides nothing.
#![no_main]

use http_edge::guard::{Guard, HeadLimits, MAX_HEADERS, Rest};
use libfuzzer_sys::fuzz_target;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes: 4096,
    target_bytes: 1024,
};

fuzz_target!(|bytes: &[u8]| {
    let (whole, whole_rest) = passed(bytes, bytes.len().max(1));
    let (by_bytes, by_bytes_rest) = passed(bytes, 1);
    assert_eq!(refused(whole_rest), refused(by_bytes_rest));
    if !refused(whole_rest) {
        // Of what is refused in the end, more may have passed where it came bit by bit.
        assert_eq!(whole, by_bytes);
    }
    if let Some(end) = first_head(bytes) {
        assert_eq!(
            parsed(&bytes[..end]),
            Some(end),
            "the parser ends elsewhere"
        );
    }
});

/// How many bytes of a connection pass in all, and what about the rest.
fn passed(bytes: &[u8], part: usize) -> (usize, Rest) {
    let mut guard = Guard::new(LIMITS);
    let (mut passed, mut shown, mut rest) = (0, 0, Rest::Wanted);
    while shown < bytes.len() {
        shown = (shown + part).min(bytes.len());
        let passage = guard.check(&bytes[passed..shown]);
        passed += passage.bytes;
        rest = passage.rest;
        if refused(rest) {
            break;
        }
    }
    (passed, rest)
}

fn refused(rest: Rest) -> bool {
    match rest {
        Rest::Wanted | Rest::Held => false,
        Rest::Head(_) | Rest::Body(_) => true,
    }
}

/// Where the first head ends, if it passes.
fn first_head(bytes: &[u8]) -> Option<usize> {
    let mut guard = Guard::new(LIMITS);
    for end in 1..=bytes.len() {
        if refused(guard.check(&bytes[..end]).rest) {
            return None;
        }
        if guard.heads_passed() > 0 {
            return Some(end);
        }
    }
    None
}

/// Where the parser behind the guard ends.
fn parsed(head: &[u8]) -> Option<usize> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut lines);
    match request.parse(head) {
        Ok(httparse::Status::Complete(end)) => Some(end),
        Ok(httparse::Status::Partial) | Err(_) => None,
    }
}
