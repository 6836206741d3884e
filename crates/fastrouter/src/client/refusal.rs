//! Why what a client sends gets no further.

use http_edge::chunked::BadChunk;
use http_edge::guard::HeadRefusal;

/// Why a request head got no further than the guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Head(HeadRefusal),
    /// It took too long to arrive.
    TooSlow,
    /// The client said no more in the middle of it.
    CutOff,
}

/// Why a request body got no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRefusal {
    Chunk(BadChunk),
    /// Nothing more of it came for too long.
    TooSlow,
}
