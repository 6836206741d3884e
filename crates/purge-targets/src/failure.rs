//! Why an attempt failed.

use crate::plan::Unplannable;
use crate::queue::Outcome;

/// Why an attempt failed, and whose fault it is.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) outcome: Outcome,
}

impl Failure {
    /// The target isn't there, or not now.
    pub(crate) const fn away(reason: String) -> Self {
        Self {
            reason,
            outcome: Outcome::Away,
        }
    }

    /// The target is there and doesn't do it.
    pub(crate) const fn refused(reason: String) -> Self {
        Self {
            reason,
            outcome: Outcome::Refused,
        }
    }
}

impl From<Unplannable> for Failure {
    fn from(error: Unplannable) -> Self {
        match error {
            Unplannable::Unsupported { .. } | Unplannable::Url(_) => {
                Self::refused(error.to_string())
            }
        }
    }
}
