//! Rules of HTTP at the edge and the codecs towards workers, over buffers.
//!
//! Nothing here opens a socket, reads a clock or knows which site is meant: bytes and header maps
//! go in, decisions and bytes come out. So each rule can be tested by a table and each parser by a
//! fuzzer, and the fastrouter and the emperor's readiness probe speak to a worker in one way.
//!
//! | module | what |
//! |---|---|
//! | [`chunked`] | the framing of chunked bodies, in both directions |
//! | [`forward`] | which headers pass the edge, and which are added |
//! | [`guard`] | what a client sends, checked before it is parsed |
//! | [`host`] | the host a request is for |
//! | `length` | what is a `Content-Length` |
//! | [`plain`] | heads that ask for a page and for nothing else |
//! | [`trust`] | whose word about its client is taken |
//! | [`upstream`] | requests and answers as workers speak them: HTTP/1.1 and uwsgi |

pub mod chunked;
pub mod forward;
pub mod guard;
pub mod host;
mod length;
pub mod plain;
pub mod trust;
pub mod upstream;
