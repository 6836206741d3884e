//! Why nothing was measured.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::bench::document::DocumentError;
use crate::provision::ProvisionError;
use crate::shell::CommandError;

/// Why nothing was measured.
#[derive(Debug, Error)]
pub(crate) enum RouterBenchError {
    /// Something is missing and can't be had.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// A program could not be started, or ended badly.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Proxy and load would share a core, and every figure would be of both.
    #[error("two cores are needed, one for the proxy and one for the load; {found} can be used")]
    Cores { found: usize },
    /// A file, folder or socket is not as it should be.
    #[error("could not use {path}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The backend lost its event loop.
    #[error("the backend can't go on")]
    Backend(#[source] io::Error),
    /// A contender doesn't answer, or not as it has to.
    #[error("{contender} gives no good answer: {detail}; it said: {said:?}")]
    NoGoodAnswer {
        contender: String,
        detail: String,
        said: String,
    },
    /// Some requests under load failed, so their figures would mean nothing.
    #[error("{contender}: {failed} of {requests} requests failed under load")]
    FailedRequests {
        contender: String,
        failed: u64,
        requests: u64,
    },
    /// wrk said something else than what it was asked for.
    #[error("wrk said no figures, but: {said:?}")]
    Wrk { said: String },
    /// Something in `/proc` has no number where one was due.
    #[error("{path} has no figure at the expected place: {text:?}")]
    Proc { path: PathBuf, text: String },
    /// The figures can't be written down.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Says which file an error is about.
pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> RouterBenchError {
    move |source| RouterBenchError::File {
        path: path.to_owned(),
        source,
    }
}
