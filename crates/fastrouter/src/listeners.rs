//! The descriptors that the emperor passes: listening sockets named `listen`, and the access log.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use socket2::{Domain, SockRef};
use thiserror::Error;

/// The name of each listening socket in `LISTEN_FDNAMES`.
const LISTEN: &str = "listen";
/// The name of the opened access log.
const ACCESS_LOG: &str = "access-log";

/// A socket that clients connect to.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What was inherited.
#[derive(Debug, Default)]
pub(crate) struct Inherited {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) access_log: Option<File>,
}

/// Why the descriptors can't be used.
#[derive(Debug, Error)]
pub(crate) enum InheritError {
    #[error("no listening socket was passed: start the fastrouter through the emperor")]
    NoListener,
    #[error("LISTEN_PID or LISTEN_FDS is no number")]
    Environment,
    #[error("a passed descriptor has no name in LISTEN_FDNAMES")]
    Nameless,
    #[error("a passed descriptor is called {0:?}, which means nothing here")]
    UnknownName(String),
    #[error("could not use a passed listening socket: {0}")]
    Listener(#[from] io::Error),
}

/// Takes what was passed, and checks that each is what its name says.
pub(crate) fn inherit() -> Result<Inherited, InheritError> {
    let passed = sd_listen_fds::get().map_err(|_| InheritError::Environment)?;
    let mut inherited = Inherited::default();
    for (name, descriptor) in passed {
        let descriptor = descriptor.into_std();
        match name.as_deref() {
            Some(LISTEN) => inherited.listeners.push(Listener::new(descriptor)?),
            Some(ACCESS_LOG) => inherited.access_log = Some(File::from(descriptor)),
            Some(unknown) => return Err(InheritError::UnknownName(unknown.to_owned())),
            None => return Err(InheritError::Nameless),
        }
    }
    if inherited.listeners.is_empty() {
        return Err(InheritError::NoListener);
    }
    Ok(inherited)
}

impl Listener {
    /// Takes a listening socket, whoever bound it.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = SockRef::from(&fd);
        let domain = socket.domain()?;
        if !socket.is_listener()? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        socket.set_nonblocking(true)?;
        if domain == Domain::UNIX {
            return Ok(Self::Unix(fd.into()));
        }
        // Accepted connections inherit it: one call here instead of one for each of them.
        socket.set_tcp_nodelay(true)?;
        Ok(Self::Tcp(fd.into()))
    }

    /// The same socket once more, for another thread.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }
}
