//! A process held by a descriptor: whatever becomes of its number, this goes on meaning it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_open, pidfd_send_signal,
};
use tokio::io::unix::AsyncFd;
use tracing::error;

/// A held process.
#[derive(Debug)]
pub(super) struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Takes hold of the process that has this number now. Needs a runtime.
    #[expect(
        deprecated,
        reason = "unsound only for types that change their descriptor, which an OwnedFd never does; \
                  the successor is unsafe to call, which this crate forbids"
    )]
    pub(super) fn open(pid: Pid) -> io::Result<Self> {
        AsyncFd::new(pidfd_open(pid, PidfdFlags::empty())?).map(Self)
    }

    /// Sends a signal. A process that has ended gets none.
    pub(super) fn send(&self, signal: Signal) {
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => error!(?signal, %error, "a signal was refused"),
        }
    }

    /// The descriptor that it has under this number: the same open file, for this process too. Takes
    /// the right to trace it (`CAP_SYS_PTRACE`, or the same user where `ptrace_scope` allows it).
    pub(super) fn descriptor(&self, number: i32) -> io::Result<OwnedFd> {
        Ok(pidfd_getfd(&self.0, number, PidfdGetfdFlags::empty())?)
    }

    /// Resolves once it has ended. Cancel safe.
    pub(super) async fn ended(&self) {
        self.ended_as(|| Some(())).await;
    }

    /// Resolves once it has ended and the question how has an answer. Cancel safe.
    pub(super) async fn ended_as<T>(&self, ask: impl Fn() -> Option<T>) -> T {
        loop {
            let Ok(mut ready) = self.0.readable().await else {
                // The runtime ends, and with it whoever waits.
                return std::future::pending().await;
            };
            match ask() {
                Some(answer) => return answer,
                None => ready.clear_ready(),
            }
        }
    }
}
