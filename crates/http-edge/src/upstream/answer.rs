//! A worker's answer, read from a buffer as it arrives.
//!
//! Both protocols answer in the same way: a head as HTTP/1.1 or CGI has it, then a body whose end
//! the head tells. The head is re-written on its way to the client, so what it says about framing
//! is decided here, once and strictly; a worker that contradicts itself has answered nothing.

mod error;
mod head;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};

pub use self::error::{AnswerError, MAX_ANSWER_HEAD_BYTES};
use self::head::{Coding, Parsed, Persistence};
use super::Codec;
use crate::chunked::{BadChunk, Piece, Scanner};

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
