//! A session of its own, and signals as a fresh program expects them.

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::setsid;
use wire::exec::{ExecFailure, ExecStep};

use crate::failure::AtStep;

/// Leaves the emperor's session, process group and terminal, and forgets what was set about
/// signals: an ignored SIGPIPE (which Rust's runtime sets) or a blocked SIGTERM survive `exec`, and
/// would change how the worker behaves.
pub(crate) fn detach() -> Result<(), ExecFailure> {
    let step = ExecStep::Session;
    setsid().at(step, || "of its own".to_owned())?;
    for signal in 1..=nix::libc::SIGRTMAX() {
        reset(signal);
    }
    SigSet::empty()
        .thread_set_mask()
        .at(step, || "(the signal mask)".to_owned())
}

/// Sets the nice value of the session, before anything is done that takes time.
pub(crate) fn be_nice(nice: i32) {
    // Without it the start is a little less considerate, and nobody is worse off for long.
    drop(std::fs::write("/proc/self/autogroup", nice.to_string()));
}

/// Gives a signal its default effect. SIGKILL, SIGSTOP and the two that the C library keeps for
/// itself refuse, and have no other effect anyway.
fn reset(signal: i32) {
    // SAFETY: `SIG_DFL` is no function, so no handler could run at a wrong moment; the call accepts
    // any number and answers EINVAL to one that is no signal. This program has one thread and
    // installed no handler that somebody could count on.
    let before = unsafe { nix::libc::signal(signal, nix::libc::SIG_DFL) };
    debug_assert!(before != nix::libc::SIG_ERR || Errno::last() == Errno::EINVAL);
}
