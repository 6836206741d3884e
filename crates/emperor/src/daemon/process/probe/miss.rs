//! What stood in the way of an instance that is not ready.

use std::path::PathBuf;

use http_edge::upstream::{AnswerError, EncodeError};
use thiserror::Error;

/// What was found instead of a ready worker.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProbeMiss {
    /// The socket is not there.
    #[error("it has not bound its socket {}", .0.display())]
    NotBound(PathBuf),
    /// Something else lies where its socket is due.
    #[error("{} is not a socket of its own user", .0.display())]
    NotASocket(PathBuf),
    /// The socket is there and takes no connection.
    #[error("its socket refuses connections")]
    NotListening,
    /// It accepted no connection or did not answer yet.
    #[error("it has not answered GET {0} yet")]
    NoAnswer(String),
    /// The connection broke.
    #[error("the connection to it broke: {0}")]
    Broken(std::io::ErrorKind),
    /// The question can't be put in its protocol.
    #[error("it can't be asked: {0}")]
    Question(#[from] EncodeError),
    /// It answered what is no answer.
    #[error("it gave {0}")]
    Answer(#[from] AnswerError),
    /// It answered with a status that isn't among the accepted ones.
    #[error("GET {path} was answered with status {status}")]
    Status {
        /// What was asked.
        path: String,
        /// The answer.
        status: u16,
    },
    /// It did not say that it is.
    #[error("it has not sent READY=1{}", .said.as_ref().map(|s| format!("; it said: {s}")).unwrap_or_default())]
    NotNotified {
        /// What it last said of itself instead, as `STATUS=`.
        said: Option<String>,
    },
}
