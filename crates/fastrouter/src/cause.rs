//! Why the router answers by itself: for the log, the status and the tests alike. The client reads
//! a fixed text and the request's id.

use std::io;

use http::StatusCode;
use http_edge::chunked::BadChunk;
use http_edge::guard::HeadRefusal;
use http_edge::host::HostRefusal;
use http_edge::upstream::{AnswerError, EncodeError, UnspokenProtocol};
use site_model::Unavailable;
use thiserror::Error;

use crate::client::{BodyRefusal, Refusal};
use crate::worker::UploadError;

/// The largest body of unknown length that is gathered for a worker whose protocol wants to know
/// the length first.
pub(crate) const MAX_GATHERED_BYTES: usize = 1024 * 1024;

/// Why the router answers by itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Cause {
    #[error("{0}")]
    Head(#[from] HeadRefusal),
    #[error("a head that took too long")]
    HeadTooSlow,
    #[error("a head that was cut off")]
    HeadCutOff,
    #[error("{0}")]
    Host(#[from] HostRefusal),
    #[error("the emperor has sent no table yet")]
    NoTable,
    #[error("a host that no site has")]
    UnknownHost,
    #[error("a body larger than allowed")]
    BodyTooLarge,
    #[error("{0}")]
    BodyBroken(BadChunk),
    #[error("a body that stopped coming")]
    BodyTooSlow,
    #[error("a body that was cut off")]
    BodyCutOff,
    #[error(
        "a body of unknown length and more than {MAX_GATHERED_BYTES} bytes, for a uwsgi worker"
    )]
    LengthRequired,
    #[error("the site's queue is full")]
    QueueFull,
    #[error("no instance was ready in time")]
    QueueTimeout,
    #[error("the site is {}", unavailable(*.0))]
    Unavailable(Unavailable),
    #[error("the worker's socket can't be reached: {0}")]
    WorkerUnreachable(io::ErrorKind),
    #[error("the worker was gone before it answered")]
    WorkerGone,
    #[error("the worker took too long")]
    WorkerTooSlow,
    #[error("{0}")]
    BadAnswer(#[from] AnswerError),
    #[error("{0}")]
    Unencodable(EncodeError),
    #[error("{0}")]
    Unspoken(UnspokenProtocol),
    #[error("a page that is not stored, and nothing else was wanted")]
    NotStored,
    #[error("a purge from an address that may not")]
    PurgeRefused,
    #[error("the client went away")]
    ClientGone,
}

fn unavailable(why: Unavailable) -> &'static str {
    match why {
        Unavailable::Failed => "failed",
        Unavailable::Rejected => "rejected",
        Unavailable::Disabled => "disabled",
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Head(refusal) => Self::Head(refusal),
            Refusal::TooSlow => Self::HeadTooSlow,
            Refusal::CutOff => Self::HeadCutOff,
        }
    }
}

impl From<BodyRefusal> for Cause {
    fn from(refusal: BodyRefusal) -> Self {
        match refusal {
            BodyRefusal::Chunk(broken) => Self::BodyBroken(broken),
            BodyRefusal::TooSlow => Self::BodyTooSlow,
        }
    }
}

impl From<EncodeError> for Cause {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooManyVariables => Self::Unencodable(error),
            EncodeError::LengthRequired => Self::LengthRequired,
        }
    }
}

impl Cause {
    /// Why a body ended early: by itself, or since the guard refused to let more of it through.
    pub(crate) fn of_upload(error: UploadError, refusal: Option<BodyRefusal>) -> Self {
        match (error, refusal) {
            (UploadError::TooLarge, _) => Self::BodyTooLarge,
            (UploadError::CutOff, Some(refusal)) => refusal.into(),
            (UploadError::CutOff, None) => Self::BodyCutOff,
        }
    }

    /// What the client is told.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Head(refusal) => refusal.status(),
            Self::HeadTooSlow | Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::HeadCutOff | Self::Host(_) | Self::BodyBroken(_) | Self::BodyCutOff => {
                StatusCode::BAD_REQUEST
            }
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LengthRequired => StatusCode::LENGTH_REQUIRED,
            Self::Unencodable(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoTable | Self::QueueFull | Self::QueueTimeout | Self::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::WorkerUnreachable(_)
            | Self::WorkerGone
            | Self::BadAnswer(_)
            | Self::Unspoken(_) => StatusCode::BAD_GATEWAY,
            Self::WorkerTooSlow | Self::NotStored => StatusCode::GATEWAY_TIMEOUT,
            Self::PurgeRefused => StatusCode::FORBIDDEN,
            // nginx's number for it; nobody reads it but the log.
            Self::ClientGone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        }
    }

    /// When it is worth asking again, in seconds.
    pub(crate) fn retry_after(&self) -> Option<u32> {
        match self {
            Self::NoTable | Self::QueueFull | Self::QueueTimeout => Some(5),
            Self::Unavailable(_) => Some(60),
            Self::Head(_)
            | Self::HeadTooSlow
            | Self::HeadCutOff
            | Self::Host(_)
            | Self::UnknownHost
            | Self::BodyTooLarge
            | Self::BodyBroken(_)
            | Self::BodyTooSlow
            | Self::BodyCutOff
            | Self::LengthRequired
            | Self::WorkerUnreachable(_)
            | Self::WorkerGone
            | Self::WorkerTooSlow
            | Self::BadAnswer(_)
            | Self::Unencodable(_)
            | Self::Unspoken(_)
            | Self::NotStored
            | Self::PurgeRefused
            | Self::ClientGone => None,
        }
    }
}
