//! What becomes of a wall that can't be put up.

use wire::exec::{ExecFailure, ExecReport};

use crate::link::Link;

/// Why a wall does not stand.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// The kernel can't give it, here or to this user.
    Unavailable(ExecFailure),
    /// It could, and something about the plan is wrong.
    Failed(ExecFailure),
}

impl From<ExecFailure> for Obstacle {
    fn from(failure: ExecFailure) -> Self {
        if failure.is_refusal() {
            Self::Unavailable(failure)
        } else {
            Self::Failed(failure)
        }
    }
}

/// Whether to go on without what the kernel can't give.
#[derive(Debug)]
pub(crate) struct Foreman<'a> {
    pub(crate) link: &'a Link,
    pub(crate) required: bool,
}

impl Foreman<'_> {
    /// Reports what is missing, or fails for it.
    pub(crate) fn accept(&self, wall: Result<(), Obstacle>) -> Result<(), ExecFailure> {
        match wall {
            Err(Obstacle::Unavailable(failure)) if !self.required => {
                self.link.report(&ExecReport::Missing(failure));
                Ok(())
            }
            Err(Obstacle::Unavailable(failure) | Obstacle::Failed(failure)) => Err(failure),
            Ok(()) => Ok(()),
        }
    }
}
