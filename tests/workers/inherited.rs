//! The socket that a worker inherits, as every worker of this package takes it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

const LISTEN_FD: i32 = 3;

/// A copy of descriptor 3 by way of a pidfd, since a bare number can't be made an owned descriptor
/// without `unsafe`.
pub(crate) fn listener() -> io::Result<UnixListener> {
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let listener: OwnedFd = pidfd_getfd(own, LISTEN_FD, PidfdGetfdFlags::empty())?;
    Ok(UnixListener::from(listener))
}
