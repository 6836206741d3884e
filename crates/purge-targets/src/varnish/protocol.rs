//! Varnish's command-line protocol, as `varnish-cli(7)` has it. No I/O.
//!
//! A command is a line. An answer is a line of 13 bytes with a status and a length, so many bytes, and
//! a line's end. A server with a secret begins with a challenge.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The line before each answer: three digits, a space, eight columns of length, a line's end.
pub(super) const HEAD: usize = 13;
/// No answer to a command of ours is longer.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Done.
pub(super) const OK: u16 = 200;
/// A secret is asked for.
pub(super) const AUTHENTICATE: u16 = 107;
/// Bytes of a challenge, at the beginning of the answer that asks for the secret.
const CHALLENGE: usize = 32;

/// What is wrong with what a server says.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum ProtocolError {
    /// No head of an answer.
    #[error("it doesn't speak Varnish's command-line protocol")]
    Head,
    /// Longer than any answer.
    #[error("its answer has {0} bytes")]
    TooLong(usize),
    /// A request for the secret without a challenge.
    #[error("it asks for the secret without a challenge")]
    NoChallenge,
}

/// Status and length of an answer.
pub(super) fn head(line: [u8; HEAD]) -> Result<(u16, usize), ProtocolError> {
    let text = std::str::from_utf8(&line).map_err(|_| ProtocolError::Head)?;
    let text = text.strip_suffix('\n').ok_or(ProtocolError::Head)?;
    let (status, length) = text.split_once(' ').ok_or(ProtocolError::Head)?;
    let status = status.parse().map_err(|_| ProtocolError::Head)?;
    let length = length.trim().parse().map_err(|_| ProtocolError::Head)?;
    if length > MAX_BODY {
        return Err(ProtocolError::TooLong(length));
    }
    Ok((status, length))
}

/// The command that answers a challenge: who knows the secret knows this hash.
pub(super) fn authenticate(body: &[u8], secret: &[u8]) -> Result<String, ProtocolError> {
    let challenge = body.get(..CHALLENGE).ok_or(ProtocolError::NoChallenge)?;
    if !challenge.iter().all(u8::is_ascii_lowercase) {
        return Err(ProtocolError::NoChallenge);
    }
    let mut hash = Sha256::new();
    for part in [challenge, b"\n", secret, challenge, b"\n"] {
        hash.update(part);
    }
    let mut command = "auth ".to_owned();
    for byte in hash.finalize() {
        // Writing to a string doesn't fail.
        let _ = write!(command, "{byte:02x}");
    }
    Ok(command)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_challenge_of_the_manual_has_the_answer_of_the_manual() {
        // From varnish-cli(7): the secret file holds "foo" and a line's end.
        let body = b"ixslvvxrgkjptxmcgnnsdxsvdmvfympg\n\nAuthentication required.\n";
        assert_eq!(
            authenticate(body, b"foo\n").unwrap(),
            "auth 455ce847f0073c7ab3b1465f74507b75d3dc064c1e7de3b71e00de9092fdc89a"
        );
        authenticate(b"short", b"").unwrap_err();
        authenticate(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", b"").unwrap_err();
    }

    #[test]
    fn heads_are_read_and_other_protocols_recognised() {
        assert_eq!(head(*b"200 0       \n"), Ok((200, 0)));
        assert_eq!(head(*b"107 59      \n"), Ok((107, 59)));
        assert_eq!(head(*b"HTTP/1.1 400 "), Err(ProtocolError::Head));
        assert_eq!(
            head(*b"200 99999999\n"),
            Err(ProtocolError::TooLong(99_999_999))
        );
    }

    proptest! {
        #[test]
        fn no_head_panics(line in any::<[u8; HEAD]>()) {
            let _ = head(line);
        }
    }
}
