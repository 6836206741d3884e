//! What is left of a request that got no answer, and whether it may be sent once more.

use http::Method;

use super::upload::Upload;
use crate::cause::Cause;

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reached {
    /// The worker can't have seen any of it.
    Nothing,
    /// The worker may have seen it.
    Worker,
    /// The worker has begun to answer.
    Answer,
}

/// A request that got no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    pub(crate) reached: Reached,
    /// The connection had served before: its end says nothing about the instance.
    pub(crate) was_reused: bool,
    /// To be sent elsewhere, where that is possible.
    pub(crate) upload: Upload,
}

impl Failure {
    pub(super) fn unsent(cause: Cause, upload: Upload) -> Self {
        Self {
            cause,
            reached: Reached::Nothing,
            was_reused: false,
            upload,
        }
    }

    /// Whether the request may be sent once more: the worker can't have seen it, or seeing it twice
    /// does no harm, and the client need not be asked for its body again.
    pub(crate) fn may_be_repeated(&self, method: &Method) -> bool {
        let harmless = match self.reached {
            Reached::Nothing => true,
            Reached::Worker => method.is_idempotent(),
            Reached::Answer => false,
        };
        let by_the_worker = matches!(self.cause, Cause::WorkerUnreachable(_) | Cause::WorkerGone);
        harmless && by_the_worker && self.upload.is_replayable()
    }
}
