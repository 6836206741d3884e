//! What a worker is asked, whatever protocol it speaks.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use site_model::SiteId;
use thiserror::Error;

use crate::forward::{Forwarded, HopHeaders, Trust, reaches_worker};

/// The most bytes the variables of one uwsgi request can have.
pub const MAX_VARIABLES_BYTES: usize = u16::MAX as usize;

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
    pub(super) fn passing(&self) -> impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)> {
        let hop = HopHeaders::of(self.headers);
        let trust = self.forwarded.trust;
        let all = self.headers.iter();
        all.filter(move |(name, _)| reaches_worker(name, &hop, trust))
    }
}
