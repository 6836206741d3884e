//! How an error of the kernel becomes the report of a step.

use nix::errno::Errno;
use wire::exec::{ExecFailure, ExecStep};

/// Names the step an error happened in.
pub(crate) trait AtStep<T> {
    /// `subject` is asked for on an error only: what the step was done to.
    fn at(self, step: ExecStep, subject: impl FnOnce() -> String) -> Result<T, ExecFailure>;
}

impl<T> AtStep<T> for Result<T, Errno> {
    fn at(self, step: ExecStep, subject: impl FnOnce() -> String) -> Result<T, ExecFailure> {
        self.map_err(|errno| ExecFailure {
            step,
            subject: subject(),
            errno: errno as i32,
        })
    }
}

impl<T> AtStep<T> for Result<T, rustix::io::Errno> {
    fn at(self, step: ExecStep, subject: impl FnOnce() -> String) -> Result<T, ExecFailure> {
        self.map_err(|errno| Errno::from_raw(errno.raw_os_error()))
            .at(step, subject)
    }
}
