//! What a request head may be, and why one is refused.

use http::StatusCode;
use thiserror::Error;

/// The most headers a request may have: the parser behind the guard has room for no more.
pub const MAX_HEADERS: usize = 100;
/// Bounds of a request head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadLimits {
    /// The largest head, in bytes.
    pub head_bytes: usize,
    /// The longest target, in bytes.
    pub target_bytes: usize,
}

/// Why a request head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeadRefusal {
    /// A line feed without a carriage return before it.
    #[error("a line that doesn't end in CR LF")]
    BareLineFeed,
    /// A header that goes on in the next line.
    #[error("a folded header")]
    Folded,
    /// The first line isn't a method, a target and a version, with one space between.
    #[error("a malformed request line")]
    RequestLine,
    /// A version other than 1.0 and 1.1.
    #[error("a version of HTTP that isn't spoken here")]
    Version,
    /// `CONNECT` or `TRACE`.
    #[error("a method that no site is asked")]
    Method,
    /// The target is no path and no URL.
    #[error("a malformed target")]
    Target,
    /// A header's name holds what no name holds, a space before the colon say.
    #[error("a malformed header name")]
    HeaderName,
    /// A header's value holds a control character.
    #[error("a control character in a header")]
    HeaderValue,
    /// No `Host`.
    #[error("no Host")]
    HostMissing,
    /// More than one `Host`.
    #[error("more than one Host")]
    HostRepeated,
    /// More than one `Content-Length`, equal or not.
    #[error("more than one Content-Length")]
    LengthRepeated,
    /// A `Content-Length` that is no number.
    #[error("a malformed Content-Length")]
    Length,
    /// Both a `Content-Length` and a `Transfer-Encoding`.
    #[error("both Content-Length and Transfer-Encoding")]
    LengthAndCoding,
    /// A `Transfer-Encoding` other than one `chunked`, or any in HTTP/1.0.
    #[error("a Transfer-Encoding other than chunked")]
    Coding,
    /// The head is too large, or has too many headers.
    #[error("a head that is too large")]
    TooLarge,
    /// The target is too long.
    #[error("a target that is too long")]
    TargetTooLong,
}

impl HeadRefusal {
    /// What the client is told.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BareLineFeed
            | Self::Folded
            | Self::RequestLine
            | Self::Target
            | Self::HeaderName
            | Self::HeaderValue
            | Self::HostMissing
            | Self::HostRepeated
            | Self::LengthRepeated
            | Self::Length
            | Self::LengthAndCoding
            | Self::Coding => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
        }
    }
}
