//! The framing of chunked bodies (RFC 9112 section 7.1), read strictly.
//!
//! One state machine serves both directions: the guard of a client's connection only wants to know
//! where a body ends, the decoder of a worker's answer wants the data. It owns no buffer, so it can
//! be fed whatever a read brought. What lenient parsers forgive (a bare line feed, a space before
//! or after the size) is refused, since two parsers that forgive differently can be played off
//! against each other.

use bytes::{BufMut, BytesMut};
use thiserror::Error;

/// How many bytes of chunk extensions one body may carry: nobody uses them but attackers.
const MAX_EXTENSION_BYTES: u32 = 4 * 1024;
/// How many bytes of trailers one body may carry. They are dropped anyway.
const MAX_TRAILER_BYTES: u32 = 8 * 1024;
/// Sixteen hexadecimal digits fill a `u64`.
const MAX_SIZE_DIGITS: u8 = 16;

/// What is wrong with a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadChunk {
    /// A chunk size that is no hexadecimal number, or too large for one.
    #[error("a chunk size that is no number")]
    Size,
    /// A line that doesn't end in CR LF, or data that isn't followed by it.
    #[error("a line of the chunked framing that doesn't end in CR LF")]
    LineEnd,
    /// A control character in an extension or a trailer.
    #[error("a control character in the chunked framing")]
    Control,
    /// More extensions or trailers than are taken.
    #[error("too many chunk extensions or trailers")]
    TooLong,
}

/// Follows the framing of one chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scanner {
    place: Place,
    extension_bytes: u32,
    trailer_bytes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size { digits: u8, value: u64 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

/// What the front of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// That many bytes of framing, to be dropped.
    Framing(usize),
    /// That many bytes of data.
    Data(usize),
    /// That many bytes of framing, with which the body ends.
    End(usize),
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            place: Place::FIRST,
            extension_bytes: 0,
            trailer_bytes: 0,
        }
    }
}

impl Place {
    const FIRST: Self = Self::Size {
        digits: 0,
        value: 0,
    };
}

impl Scanner {
    /// Says what the front of `input` is; `None` where there is none, because the input is empty or
    /// the body has ended.
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, BadChunk> {
        if input.is_empty() || self.place == Place::End {
            return Ok(None);
        }
        if let Place::Data { left } = self.place {
            return Ok(Some(self.data(left, input.len())));
        }
        self.framing(input).map(Some)
    }

    /// Whether the body has ended.
    pub fn is_at_end(&self) -> bool {
        self.place == Place::End
    }

    fn data(&mut self, left: u64, available: usize) -> Piece {
        let taken = usize::try_from(left).map_or(available, |left| left.min(available));
        let left = left - taken as u64;
        self.place = if left == 0 {
            Place::DataCr
        } else {
            Place::Data { left }
        };
        Piece::Data(taken)
    }

    fn framing(&mut self, input: &[u8]) -> Result<Piece, BadChunk> {
        for (index, byte) in input.iter().enumerate() {
            self.place = self.after(*byte)?;
            match self.place {
                Place::Data { .. } => return Ok(Piece::Framing(index + 1)),
                Place::End => return Ok(Piece::End(index + 1)),
                Place::Size { .. }
                | Place::Extension { .. }
                | Place::SizeLf { .. }
                | Place::DataCr
                | Place::DataLf
                | Place::TrailerStart
                | Place::Trailer
                | Place::TrailerLf
                | Place::LastLf => {}
            }
        }
        Ok(Piece::Framing(input.len()))
    }

    fn after(&mut self, byte: u8) -> Result<Place, BadChunk> {
        match self.place {
            Place::Size { digits, value } => after_size(digits, value, byte),
            Place::Extension { value } => {
                count(&mut self.extension_bytes, MAX_EXTENSION_BYTES)?;
                within_line(byte, Place::Extension { value }, Place::SizeLf { value })
            }
            Place::SizeLf { value: 0 } | Place::TrailerLf => line_feed(byte, Place::TrailerStart),
            Place::SizeLf { value } => line_feed(byte, Place::Data { left: value }),
            Place::DataCr if byte == b'\r' => Ok(Place::DataLf),
            Place::DataCr => Err(BadChunk::LineEnd),
            Place::DataLf => line_feed(byte, Place::FIRST),
            Place::TrailerStart if byte == b'\r' => Ok(Place::LastLf),
            Place::TrailerStart | Place::Trailer => {
                count(&mut self.trailer_bytes, MAX_TRAILER_BYTES)?;
                within_line(byte, Place::Trailer, Place::TrailerLf)
            }
            Place::LastLf => line_feed(byte, Place::End),
            // `next` never comes here with these two.
            Place::Data { .. } | Place::End => Ok(self.place),
        }
    }
}

fn after_size(digits: u8, value: u64, byte: u8) -> Result<Place, BadChunk> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(Place::SizeLf { value }),
        b';' if digits > 0 => return Ok(Place::Extension { value }),
        b'\n' => return Err(BadChunk::LineEnd),
        _ => return Err(BadChunk::Size),
    };
    if digits == MAX_SIZE_DIGITS {
        return Err(BadChunk::Size);
    }
    Ok(Place::Size {
        digits: digits + 1,
        value: value << 4 | u64::from(digit),
    })
}

fn within_line(byte: u8, same: Place, at_end: Place) -> Result<Place, BadChunk> {
    match byte {
        b'\r' => Ok(at_end),
        b'\n' => Err(BadChunk::LineEnd),
        b'\t' | 0x20..=0x7e | 0x80.. => Ok(same),
        0..=0x1f | 0x7f => Err(BadChunk::Control),
    }
}

fn line_feed(byte: u8, next: Place) -> Result<Place, BadChunk> {
    if byte == b'\n' {
        Ok(next)
    } else {
        Err(BadChunk::LineEnd)
    }
}

fn count(counter: &mut u32, most: u32) -> Result<(), BadChunk> {
    *counter += 1;
    if *counter > most {
        return Err(BadChunk::TooLong);
    }
    Ok(())
}

/// Appends what stands before a chunk of `length` bytes. `first` says that no chunk went before:
/// the line end of the one before is written here too, so that a chunk is two slices and not three.
pub fn put_chunk_start(out: &mut BytesMut, length: usize, first: bool) {
    if !first {
        out.put_slice(b"\r\n");
    }
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    let mut rest = length;
    loop {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest & 0xf];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(&digits[at..]);
    out.put_slice(b"\r\n");
}

/// Appends what ends a chunked body.
pub fn put_end(out: &mut BytesMut, first: bool) {
    out.put_slice(if first {
        b"0\r\n\r\n"
    } else {
        b"\r\n0\r\n\r\n"
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data of a body, and what follows it.
    fn decode(mut input: &[u8], cut: usize) -> Result<(Vec<u8>, Option<Vec<u8>>), BadChunk> {
        let (mut scanner, mut data) = (Scanner::default(), Vec::new());
        while !input.is_empty() {
            let (piece, taken) = match scanner.next(&input[..cut.min(input.len())])? {
                Some(Piece::Framing(taken)) => (None, taken),
                Some(Piece::Data(taken)) => (Some(&input[..taken]), taken),
                Some(Piece::End(taken)) => return Ok((data, Some(input[taken..].to_vec()))),
                None => break,
            };
            data.extend_from_slice(piece.unwrap_or_default());
            input = &input[taken..];
        }
        Ok((data, None))
    }

    fn check(input: &str, expected: Result<(&str, Option<&str>), BadChunk>) {
        let expected = expected.map(|(data, rest)| {
            (
                data.as_bytes().to_vec(),
                rest.map(|rest| rest.as_bytes().to_vec()),
            )
        });
        for cut in [1, 2, 3, usize::MAX] {
            assert_eq!(
                decode(input.as_bytes(), cut),
                expected,
                "{input:?} cut at {cut}"
            );
        }
    }

    #[test]
    fn data_is_told_from_framing() {
        check("0\r\n\r\n", Ok(("", Some(""))));
        check(
            "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET",
            Ok(("hello world", Some("GET"))),
        );
        check(
            "00A;name=\"v\"\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n",
            Ok(("0123456789", Some(""))),
        );
        check("5\r\nhel", Ok(("hel", None)));
    }

    #[test]
    fn what_lenient_parsers_forgive_is_refused() {
        check("5\nhello\r\n", Err(BadChunk::LineEnd));
        check("5\r\nhello\n", Err(BadChunk::LineEnd));
        check("5\r\nhello!", Err(BadChunk::LineEnd));
        check("5 \r\nhello", Err(BadChunk::Size));
        check(" 5\r\nhello", Err(BadChunk::Size));
        check("0x5\r\nhello", Err(BadChunk::Size));
        check("-5\r\nhello", Err(BadChunk::Size));
        check("\r\n", Err(BadChunk::Size));
        check("11111111111111111\r\n", Err(BadChunk::Size));
        check("5;a\nb\r\nhello", Err(BadChunk::LineEnd));
        check("5;a\0b\r\nhello", Err(BadChunk::Control));
        check("0\r\nX: y\n\r\n", Err(BadChunk::LineEnd));
        check("0\r\n\n", Err(BadChunk::LineEnd));
    }

    #[test]
    fn endless_extensions_and_trailers_are_cut_off() {
        let long = "a".repeat(9000);
        check(&format!("1;{long}"), Err(BadChunk::TooLong));
        check(&format!("0\r\nX: {long}"), Err(BadChunk::TooLong));
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1usize..20,
        ) {
            let mut sent = BytesMut::new();
            for (index, chunk) in chunks.iter().enumerate() {
                put_chunk_start(&mut sent, chunk.len(), index == 0);
                sent.put_slice(chunk);
            }
            put_end(&mut sent, chunks.is_empty());
            prop_assert_eq!(decode(&sent, cut), Ok((chunks.concat(), Some(vec![]))));
        }

        #[test]
        fn no_bytes_panic_and_the_cut_changes_nothing(
            bytes in prop::collection::vec(prop::sample::select(b"0123aF;\r\n x".to_vec()), 0..64),
            cut in 1usize..20,
        ) {
            prop_assert_eq!(decode(&bytes, cut), decode(&bytes, usize::MAX));
        }
    }
}
