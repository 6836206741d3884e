//! Descriptors: those of the plan in their places from 3 on, all others closed.

use std::os::fd::{IntoRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd::dup2_raw;
use wire::exec::{ExecFailure, ExecStep};

use crate::failure::AtStep;
use crate::link;

/// The first descriptor that is passed, as `sd_listen_fds(3)` has it.
pub(crate) const FIRST: RawFd = 3;

/// Compares what came with what was announced, and says which number is the first that belongs to
/// none of them.
pub(crate) fn expect(names: &[String], received: usize) -> Result<RawFd, ExecFailure> {
    if names.len() != received {
        return Err(Errno::EBADF).at(ExecStep::Descriptors, || {
            format!("({} announced, {received} came)", names.len())
        });
    }
    RawFd::try_from(received)
        .map(|count| FIRST + count)
        .map_err(|_| Errno::EMFILE)
        .at(ExecStep::Descriptors, || received.to_string())
}

/// Puts the received descriptors at 3, 4, … and lets every other one be closed at `exec`.
pub(crate) fn place(received: Vec<OwnedFd>, first_foreign: RawFd) -> Result<(), ExecFailure> {
    let step = ExecStep::Descriptors;
    // First all of them away from the places, or one that arrived as number 4 would be overwritten
    // by the one that belongs there.
    let away = received
        .into_iter()
        .map(|fd| link::above(fd, first_foreign))
        .collect::<Result<Vec<_>, _>>()
        .at(step, || "(out of the way)".to_owned())?;
    for (fd, place) in away.into_iter().zip(FIRST..) {
        // SAFETY: `dup2_raw` makes its second argument into an owned descriptor, so nothing else in
        // this process may own that number, or it would be closed twice. `place` is below
        // `first_foreign`: the link and everything received were moved to that number or above, and
        // their former copies are closed; the standard streams are below 3; this program opened
        // nothing else. A descriptor inherited at that number has no owner here and is replaced.
        let placed = unsafe { dup2_raw(&fd, place) }.at(step, || place.to_string())?;
        // It is the worker's from here on: it must stay open until `exec` and beyond.
        let _ = placed.into_raw_fd();
    }
    close_at_exec(first_foreign)
}

/// Marks everything from `first` on close-on-exec. Closing at once would take the link too, whose
/// end is to tell of the `exec`.
fn close_at_exec(first: RawFd) -> Result<(), ExecFailure> {
    let flags = nix::libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: the call takes three integers and touches no memory. It closes nothing here and now,
    // so no owner's descriptor becomes invalid: it sets a flag on numbers from `first` on, and none
    // of those is to be inherited.
    let result = unsafe { nix::libc::close_range(first.cast_unsigned(), u32::MAX, flags) };
    Errno::result(result)
        .map(drop)
        .at(ExecStep::Descriptors, || {
            format!("(from {first} on, to be closed)")
        })
}
