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
mod request;
mod uwsgi;

use bytes::BytesMut;
use site_model::Protocol;
use thiserror::Error;

pub use answer::{AnswerBody, AnswerDecoder, AnswerError, AnswerHead, MAX_ANSWER_HEAD_BYTES};
pub use request::{EncodeError, MAX_VARIABLES_BYTES, RequestBody, RequestHead, Upgrade};

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
