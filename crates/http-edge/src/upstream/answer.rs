//! A worker's answer, read from a buffer as it arrives.
//!
//! Both protocols answer in the same way: a head as HTTP/1.1 or CGI has it, then a body whose end
//! the head tells. The head is re-written on its way to the client, so what it says about framing
//! is decided here, once and strictly; a worker that contradicts itself has answered nothing.

mod head;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use thiserror::Error;

use self::head::{Coding, Parsed};
use super::Codec;
use crate::chunked::{BadChunk, Piece, Scanner};

/// The largest head of an answer that is taken.
pub const MAX_ANSWER_HEAD_BYTES: usize = 64 * 1024;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// The head is no head of an answer.
    #[error("an answer whose head can't be read: {0}")]
    Head(#[from] httparse::Error),
    /// The status is no number from 100 to 999.
    #[error("an answer without a valid status")]
    Status,
    /// The head is larger than [`MAX_ANSWER_HEAD_BYTES`].
    #[error("an answer whose head is larger than {MAX_ANSWER_HEAD_BYTES} bytes")]
    HeadTooLong,
    /// Several lengths, one that is no number, or a length and a transfer coding.
    #[error("an answer that contradicts itself about its length")]
    Framing,
    /// A transfer coding other than `chunked`.
    #[error("an answer in a transfer coding that nobody asked for")]
    TransferCoding,
    /// The chunked body is broken.
    #[error("an answer in broken chunks: {0}")]
    Chunk(#[from] BadChunk),
    /// The connection ended before the answer did.
    #[error("an answer that was cut off")]
    CutOff,
    /// An upgrade that nobody asked for.
    #[error("an answer that switches protocols unasked")]
    Unasked,
}

/// The head of an answer.
#[derive(Debug)]
pub struct AnswerHead {
    /// The status; 101 or 200 and above, since others are skipped.
    pub status: StatusCode,
    /// The headers, but for those of the hop.
    pub headers: HeaderMap,
    /// What follows.
    pub body: AnswerBody,
}

/// How the body of an answer is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBody {
    /// There is none, whatever the headers say.
    None,
    /// That many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything up to the end of the connection.
    UntilClose,
    /// No answer any more: from here on the connection speaks another protocol.
    Tunnel,
}

/// Reads one answer.
#[derive(Debug)]
pub struct AnswerDecoder {
    codec: Codec,
    asked: Asked,
    state: State,
    persistence: Persistence,
    /// Up to where the end of the head was sought already.
    searched: usize,
}

/// What the request means for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Page,
    HeadOnly,
    Upgrade,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Length(u64),
    Chunked(Scanner),
    UntilClose,
    End,
    Tunnel,
}

/// Whether the worker takes another request on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Persistence {
    KeepAlive,
    Close,
}

impl AnswerDecoder {
    /// For the answer to a request with this method.
    pub fn new(codec: Codec, method: &Method) -> Self {
        let asked = if *method == Method::HEAD {
            Asked::HeadOnly
        } else {
            Asked::Page
        };
        Self::of(codec, asked)
    }

    /// For the answer to a request that asked to leave HTTP.
    pub fn of_upgrade(codec: Codec) -> Self {
        Self::of(codec, Asked::Upgrade)
    }

    fn of(codec: Codec, asked: Asked) -> Self {
        Self {
            codec,
            asked,
            state: State::Head,
            persistence: Persistence::Close,
            searched: 0,
        }
    }

    /// Takes the head from the front of what was received; `None` while it is not there whole.
    /// Interim answers (100, 102, 103) are skipped.
    pub fn head(&mut self, received: &mut BytesMut) -> Result<Option<AnswerHead>, AnswerError> {
        loop {
            let Some(end) = self.find_end(received)? else {
                return Ok(None);
            };
            self.searched = 0;
            let head = received.split_to(end).freeze();
            let parsed = head::parse(self.codec, &head)?;
            if parsed.status.is_informational() && parsed.status != StatusCode::SWITCHING_PROTOCOLS
            {
                continue;
            }
            return self.decide(parsed).map(Some);
        }
    }

    /// Takes the next part of the body from the front of what was received; `None` where more has
    /// to be received, or where nothing is left: see [`is_at_end`](Self::is_at_end).
    pub fn body(&mut self, received: &mut BytesMut) -> Result<Option<Bytes>, AnswerError> {
        match &mut self.state {
            State::Head | State::End | State::Tunnel => Ok(None),
            State::UntilClose => Ok(take(received, usize::MAX)),
            State::Length(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let taken = take(received, most);
                *left -= taken.as_ref().map_or(0, Bytes::len) as u64;
                if *left == 0 {
                    self.state = State::End;
                }
                Ok(taken)
            }
            State::Chunked(scanner) => {
                let taken = unchunk(scanner, received)?;
                if scanner.is_at_end() {
                    self.state = State::End;
                }
                Ok(taken)
            }
        }
    }

    /// The worker has closed the connection: fine where that is how the body ends.
    pub fn closed(&mut self) -> Result<(), AnswerError> {
        match self.state {
            State::End | State::Tunnel => Ok(()),
            State::UntilClose => {
                self.state = State::End;
                Ok(())
            }
            State::Head | State::Length(_) | State::Chunked(_) => Err(AnswerError::CutOff),
        }
    }

    /// Whether the whole answer was taken. What became a tunnel has no end that is known here.
    pub fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    /// Whether the connection can carry another request, once the answer was taken and nothing more
    /// was received.
    pub fn is_reusable(&self) -> bool {
        self.is_at_end() && self.persistence == Persistence::KeepAlive
    }

    fn find_end(&mut self, received: &BytesMut) -> Result<Option<usize>, AnswerError> {
        // An end may lie across the border of two reads.
        let end = head::end(received, self.searched.saturating_sub(3));
        if end.unwrap_or(received.len()) > MAX_ANSWER_HEAD_BYTES {
            return Err(AnswerError::HeadTooLong);
        }
        self.searched = received.len();
        Ok(end)
    }

    fn decide(&mut self, parsed: Parsed) -> Result<AnswerHead, AnswerError> {
        let body = self.framing(&parsed)?;
        self.state = match body {
            AnswerBody::None | AnswerBody::Length(0) => State::End,
            AnswerBody::Tunnel => State::Tunnel,
            AnswerBody::Length(length) => State::Length(length),
            AnswerBody::Chunked => State::Chunked(Scanner::default()),
            AnswerBody::UntilClose => State::UntilClose,
        };
        self.persistence = match (self.codec, body) {
            (Codec::Uwsgi, _) | (_, AnswerBody::UntilClose | AnswerBody::Tunnel) => {
                Persistence::Close
            }
            (Codec::Http, AnswerBody::None | AnswerBody::Length(_) | AnswerBody::Chunked) => {
                parsed.persistence
            }
        };
        Ok(AnswerHead {
            status: parsed.status,
            headers: parsed.headers,
            body,
        })
    }

    fn framing(&self, parsed: &Parsed) -> Result<AnswerBody, AnswerError> {
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&parsed.status);
        if parsed.status == StatusCode::SWITCHING_PROTOCOLS {
            return match self.asked {
                Asked::Upgrade => Ok(AnswerBody::Tunnel),
                Asked::Page | Asked::HeadOnly => Err(AnswerError::Unasked),
            };
        }
        if bodiless || self.asked == Asked::HeadOnly {
            return Ok(AnswerBody::None);
        }
        Ok(match (parsed.coding, parsed.length) {
            (Coding::Chunked, _) => AnswerBody::Chunked,
            (Coding::None, Some(length)) => AnswerBody::Length(length),
            (Coding::None, None) => AnswerBody::UntilClose,
        })
    }
}

/// Reads a `Content-Length`: digits alone, as `+5` and `5, 5` are lengths to some and not to others.
pub(crate) fn parse_length(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn take(received: &mut BytesMut, most: usize) -> Option<Bytes> {
    let length = received.len().min(most);
    (length > 0).then(|| received.split_to(length).freeze())
}

fn unchunk(scanner: &mut Scanner, received: &mut BytesMut) -> Result<Option<Bytes>, BadChunk> {
    while let Some(piece) = scanner.next(received)? {
        match piece {
            Piece::Framing(length) | Piece::End(length) => drop(received.split_to(length)),
            Piece::Data(length) => return Ok(Some(received.split_to(length).freeze())),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
