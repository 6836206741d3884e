//! The head of an answer: where it ends, and what it says, in headers that share its buffer.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, ParserConfig, Response, Status};

use super::super::Codec;
use super::error::AnswerError;
use crate::forward::{is_hop_by_hop, tokens};
use crate::length::parse_length;

/// How many headers an answer may have.
const MAX_HEADERS: usize = 128;
/// Room for what the router adds, so that the map needn't grow for it.
const ADDED_HEADERS: usize = 2;

/// What a head says.
pub(super) struct Parsed {
    pub(super) status: StatusCode,
    /// Without those of the hop.
    pub(super) headers: HeaderMap,
    pub(super) length: Option<u64>,
    pub(super) coding: Coding,
    pub(super) persistence: Persistence,
}

/// Whether the worker takes another request on the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Persistence {
    KeepAlive,
    Close,
}

/// The transfer coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    None,
    Chunked,
}

/// Where the first empty line ends, in bytes of which those before `from` have none.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let after_line_feed = memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at + 1);
    let mut ends = after_line_feed.filter_map(|at| match &bytes[at..] {
        [b'\r', b'\n', ..] => Some(at + 2),
        [b'\n', ..] => Some(at + 1),
        _ => None,
    });
    ends.next()
}

/// Reads a whole head.
pub(super) fn parse(codec: Codec, head: &Bytes) -> Result<Parsed, AnswerError> {
    match codec {
        Codec::Uwsgi if !head.starts_with(b"HTTP/") => parse_cgi(head),
        Codec::Http | Codec::Uwsgi => parse_http(head),
    }
}

fn parse_http(head: &Bytes) -> Result<Parsed, AnswerError> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut answer = Response::new(&mut []);
    let parser = ParserConfig::default();
    let parsed = parser.parse_response_with_uninit_headers(&mut answer, head, &mut lines)?;
    let (Status::Complete(_), Some(status)) = (parsed, answer.code) else {
        return Err(AnswerError::Status);
    };
    // What goes without saying in its version.
    let persistence = match answer.version {
        Some(1) => Persistence::KeepAlive,
        Some(_) | None => Persistence::Close,
    };
    let status = StatusCode::from_u16(status).map_err(|_| AnswerError::Status)?;
    Reading::of(head, answer.headers, persistence)?.finish(status)
}

/// As CGI programs answer: headers alone, the status among them or 200.
fn parse_cgi(head: &Bytes) -> Result<Parsed, AnswerError> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Status::Complete((_, lines)) = httparse::parse_headers(head, &mut lines)? else {
        return Err(AnswerError::Status);
    };
    let mut reading = Reading::of(head, lines, Persistence::Close)?;
    let status = match reading.headers.remove("status") {
        Some(value) => StatusCode::from_bytes(value.as_bytes().get(..3).unwrap_or_default()),
        None => Ok(StatusCode::OK),
    };
    reading.finish(status.map_err(|_| AnswerError::Status)?)
}

/// A head that is being read.
struct Reading {
    headers: HeaderMap,
    length: Option<u64>,
    coding: Coding,
    persistence: Persistence,
    /// Headers that `Connection` says are of the hop; none but in odd answers.
    named: Vec<HeaderName>,
}

impl Reading {
    fn of(
        head: &Bytes,
        lines: &[Header<'_>],
        persistence: Persistence,
    ) -> Result<Self, AnswerError> {
        let mut reading = Self {
            headers: HeaderMap::with_capacity(lines.len() + ADDED_HEADERS),
            length: None,
            coding: Coding::None,
            persistence,
            named: Vec::new(),
        };
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes())
                .map_err(|_| httparse::Error::HeaderName)?;
            // The value shares the head's buffer; nothing is copied.
            let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
                .map_err(|_| httparse::Error::HeaderValue)?;
            reading.take(name, value)?;
        }
        Ok(reading)
    }

    fn take(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), AnswerError> {
        if name == header::CONTENT_LENGTH {
            let length = parse_length(value.as_bytes()).ok_or(AnswerError::Framing)?;
            if self.length.replace(length).is_some() {
                return Err(AnswerError::Framing);
            }
        } else if name == header::TRANSFER_ENCODING {
            let chunked = value.as_bytes().eq_ignore_ascii_case(b"chunked");
            if !chunked || self.coding == Coding::Chunked {
                return Err(AnswerError::TransferCoding);
            }
            self.coding = Coding::Chunked;
        } else if name == header::CONNECTION {
            tokens(&value).for_each(|word| self.connection(word));
        }
        if !is_hop_by_hop(&name) {
            self.headers.append(name, value);
        }
        Ok(())
    }

    fn connection(&mut self, word: &str) {
        if word.eq_ignore_ascii_case("close") {
            self.persistence = Persistence::Close;
        } else if word.eq_ignore_ascii_case("keep-alive") {
            self.persistence = Persistence::KeepAlive;
        } else if let Ok(name) = HeaderName::from_bytes(word.as_bytes()) {
            self.named.push(name);
        }
    }

    fn finish(mut self, status: StatusCode) -> Result<Parsed, AnswerError> {
        if self.coding == Coding::Chunked && self.length.is_some() {
            return Err(AnswerError::Framing);
        }
        for name in self.named {
            self.headers.remove(name);
        }
        Ok(Parsed {
            status,
            headers: self.headers,
            length: self.length,
            coding: self.coding,
            persistence: self.persistence,
        })
    }
}
