//! What is said to workers, and how their answers are read.
//!
//! A [`Codec`] writes the head of a request; an [`AnswerDecoder`] reads what comes back, whichever
//! protocol it was. Both work on buffers, so they serve the fastrouter's connections and the
//! emperor's readiness probe alike:
//!
//! ```
//! use bytes::BytesMut;
//! use http::{HeaderMap, Method};
//! use http_edge::upstream::{AnswerDecoder, Codec, RequestHead};
//!
//! let none = HeaderMap::new();
//! let head = RequestHead::probe(&Method::GET, "/", "blog.example", &none);
//! let mut out = BytesMut::new();
//! Codec::Http.encode(&head, &mut out)?;
//!
//! let mut decoder = AnswerDecoder::new(Codec::Http, head.method);
//! let mut received = BytesMut::from(&b"HTTP/1.1 204 No Content\r\n\r\n"[..]);
//! let answer = decoder.head(&mut received)?.expect("the whole head was received");
//! assert_eq!(answer.status, 204);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod http1;
mod uwsgi;

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use site_model::{Protocol, SiteId};
use thiserror::Error;

pub(crate) use answer::parse_length;
pub use answer::{AnswerBody, AnswerDecoder, AnswerError, AnswerHead, MAX_ANSWER_HEAD_BYTES};
pub use uwsgi::MAX_VARIABLES_BYTES;

use crate::forward::{Forwarded, HopHeaders, Trust, reaches_worker};

/// A protocol that is spoken to workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// HTTP/1.1; connections are reused where the worker lets them.
    Http,
    /// uwsgi; a connection carries one request.
    Uwsgi,
}

/// The router doesn't speak this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the router doesn't speak {0:?} yet; use http or uwsgi")]
pub struct UnspokenProtocol(pub Protocol);

/// What a worker is asked.
#[derive(Debug, Clone, Copy)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query as the client wrote them, or `*`.
    pub target: &'a str,
    /// The client's `Host`, as it wrote it.
    pub host: &'a str,
    /// The client's headers, of which those that may pass are sent.
    pub headers: &'a HeaderMap,
    /// Who asked.
    pub forwarded: Forwarded<'a>,
    /// For which site, where the worker answers for several.
    pub site: Option<SiteId>,
    /// What follows the head.
    pub body: RequestBody,
    /// Whether the connection may become something else afterwards.
    pub upgrade: Upgrade,
}

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none.
    None,
    /// That many bytes.
    Length(u64),
    /// Chunks, since nobody knows how much there will be.
    Chunked,
}

/// Whether the client asked to leave HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// No.
    None,
    /// For a WebSocket. No other protocol is offered to workers: `h2c` for one would let a client
    /// speak past every rule of the edge.
    WebSocket,
}

/// A request head that can't be said in the worker's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// The variables of the uwsgi packet are more than its 16-bit length can tell.
    #[error("the request head makes more than {MAX_VARIABLES_BYTES} bytes of uwsgi variables")]
    TooManyVariables,
    /// uwsgi has no chunked bodies.
    #[error("the uwsgi protocol can't carry a body of unknown length")]
    LengthRequired,
}

impl TryFrom<Protocol> for Codec {
    type Error = UnspokenProtocol;

    fn try_from(protocol: Protocol) -> Result<Self, UnspokenProtocol> {
        match protocol {
            Protocol::Http => Ok(Self::Http),
            Protocol::Uwsgi => Ok(Self::Uwsgi),
            Protocol::Fastcgi | Protocol::Scgi => Err(UnspokenProtocol(protocol)),
        }
    }
}

impl Codec {
    /// Appends the head of a request. On an error `out` is as it was.
    pub fn encode(self, head: &RequestHead<'_>, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Http => {
                http1::encode(head, out);
                Ok(())
            }
            Self::Uwsgi => uwsgi::encode(head, out),
        }
    }
}

impl<'a> RequestHead<'a> {
    /// A request that no client made: asked by the emperor itself, to find out whether an instance
    /// is ready.
    pub fn probe(
        method: &'a Method,
        target: &'a str,
        host: &'a str,
        headers: &'a HeaderMap,
    ) -> Self {
        Self {
            method,
            target,
            host,
            headers,
            forwarded: Forwarded {
                peer: "127.0.0.1",
                trust: Trust::Stranger,
                client: "127.0.0.1",
                proto: "http",
                host,
                request_id: "readiness-probe",
            },
            site: None,
            body: RequestBody::None,
            upgrade: Upgrade::None,
        }
    }

    /// The client's headers that may pass, repeated ones side by side.
    fn passing(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let hop = HopHeaders::of(self.headers);
        let trust = self.forwarded.trust;
        let all = self.headers.iter();
        all.filter(move |(name, _)| reaches_worker(name, &hop, trust))
    }
}
