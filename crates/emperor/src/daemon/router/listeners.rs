//! The listening sockets clients connect to: bound by the emperor and kept for its life, so that a
//! fastrouter that dies refuses nobody.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use super::passed::{self, Passed};
use crate::config::Listen;
use crate::port_owner::PortOwner;

/// How many connections the kernel keeps for the router; it takes `net.core.somaxconn` where that
/// is less.
const BACKLOG: i32 = 4096;
/// Who may connect to a unix socket: the emperor's user and its group, such as a proxy in front.
const UNIX_MODE: u32 = 0o660;

/// Listening sockets, in the order of `router.listen`.
#[derive(Debug)]
pub(crate) struct Listeners {
    sockets: Vec<OwnedFd>,
    addresses: Vec<String>,
    /// For each socket, what `router.listen` has for it.
    places: Vec<String>,
}

/// A listening socket that can't be had.
#[derive(Debug, Error)]
pub(crate) enum ListenError {
    #[error("router.listen: {text:?} has no address: {source}; write it as host:port")]
    Resolve { text: String, source: io::Error },
    #[error(
        "router.listen: {text} is taken by {}; end that, or listen elsewhere",
        .owner.as_ref().map_or_else(|| "another program".to_owned(), ToString::to_string)
    )]
    Taken {
        text: String,
        owner: Option<PortOwner>,
    },
    #[error("router.listen: {text} needs the right to bind ports below 1024; {HINT_LOW_PORT}")]
    Denied { text: String },
    #[error("router.listen: could not listen at {text}: {source}")]
    Bind { text: String, source: io::Error },
    #[error("router.listen: {} is there and is no socket; remove it, or listen elsewhere", .0.display())]
    NoSocket(PathBuf),
    #[error(
        "router.listen: systemd passed no socket named {0:?}; set FileDescriptorName={0} in the \
         socket unit"
    )]
    NotPassed(String),
}

const HINT_LOW_PORT: &str =
    "start the emperor as root or with CAP_NET_BIND_SERVICE, or have systemd pass the socket";

impl Listeners {
    /// Binds all of them, or none. Those that a router has had from an earlier emperor are the same
    /// sockets still: whoever waits in them waits on.
    pub(crate) fn bind(
        places: &[Listen],
        mut regained: Vec<(String, OwnedFd)>,
    ) -> Result<Self, ListenError> {
        let mut passed = Passed::from_environment();
        let mut bound = Self {
            sockets: Vec::new(),
            addresses: Vec::new(),
            places: Vec::new(),
        };
        for place in places {
            let text = place.to_string();
            if bound.regain(&text, &mut regained) {
                // The same socket is kept by the service manager too, and is to stay so.
                drop(passed.take_kept(&text));
            } else {
                match place {
                    Listen::Tcp(text) => bound.keep_or_bind_tcp(&mut passed, text)?,
                    Listen::Unix(path) => bound.bind_unix(path)?,
                    Listen::Systemd(name) => bound.take_passed(&mut passed, name)?,
                }
            }
            bound.places.resize(bound.sockets.len(), text);
        }
        passed.forget_the_rest();
        Ok(bound)
    }

    /// Takes all sockets of a place; false: there is none.
    fn regain(&mut self, place: &str, regained: &mut Vec<(String, OwnedFd)>) -> bool {
        let before = self.sockets.len();
        for (_, socket) in regained.extract_if(.., |(of, _)| of == place) {
            self.addresses.push(address_of(&socket, place));
            self.sockets.push(socket);
        }
        self.sockets.len() > before
    }

    /// For each socket, what `router.listen` has for it.
    pub(crate) fn places(&self) -> &[String] {
        &self.places
    }

    /// Closes the emperor's copies.
    pub(crate) fn close(&mut self) {
        self.sockets.clear();
    }

    /// The sockets, to be passed on.
    pub(crate) fn sockets(&self) -> &[OwnedFd] {
        &self.sockets
    }

    /// Where they listen, for people: a port that was chosen by the kernel is shown as it is.
    pub(crate) fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Takes the sockets that were kept over a restart, or binds, and has them kept.
    ///
    /// Not so with unix sockets: nobody could tell whether the path still leads to one that was kept.
    fn keep_or_bind_tcp(&mut self, passed: &mut Passed, text: &str) -> Result<(), ListenError> {
        let before = self.sockets.len();
        for socket in passed.take_kept(text) {
            self.push_tcp(socket.into(), text);
        }
        if self.sockets.len() == before {
            self.bind_tcp(text)?;
        }
        for socket in &self.sockets[before..] {
            passed::keep(text, socket);
        }
        Ok(())
    }

    fn bind_tcp(&mut self, text: &str) -> Result<(), ListenError> {
        let resolved = std::net::ToSocketAddrs::to_socket_addrs(text).map_err(|source| {
            ListenError::Resolve {
                text: text.to_owned(),
                source,
            }
        })?;
        let mut unavailable = None;
        let before = self.sockets.len();
        for address in resolved {
            match listen_at(address) {
                Ok(socket) => self.push_tcp(socket, &address.to_string()),
                // A name such as localhost may have an address of a family this machine lacks.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                    unavailable = Some(error);
                }
                Err(error) => return Err(bind_error(&address.to_string(), error)),
            }
        }
        match unavailable {
            Some(error) if self.sockets.len() == before => Err(bind_error(text, error)),
            Some(_) | None => Ok(()),
        }
    }

    fn push_tcp(&mut self, socket: Socket, asked: &str) {
        let bound = socket
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket());
        let shown = bound.map_or_else(|| asked.to_owned(), |address| address.to_string());
        self.addresses.push(shown);
        self.sockets.push(socket.into());
    }

    fn bind_unix(&mut self, path: &Path) -> Result<(), ListenError> {
        let text = format!("unix:{}", path.display());
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(|source| bind_error(&text, source))?;
        fs::set_permissions(path, fs::Permissions::from_mode(UNIX_MODE)).map_err(|source| {
            ListenError::Bind {
                text: text.clone(),
                source,
            }
        })?;
        self.addresses.push(text);
        self.sockets.push(listener.into());
        Ok(())
    }

    fn take_passed(&mut self, passed: &mut Passed, name: &str) -> Result<(), ListenError> {
        let before = self.sockets.len();
        self.sockets.extend(passed.take(name));
        if self.sockets.len() == before {
            return Err(ListenError::NotPassed(name.to_owned()));
        }
        self.addresses.push(format!("systemd:{name}"));
        Ok(())
    }
}

/// Where a socket listens, for people.
fn address_of(socket: &OwnedFd, place: &str) -> String {
    let address = socket2::SockRef::from(socket).local_addr();
    let address = address.ok().and_then(|address| address.as_socket());
    address.map_or_else(|| place.to_owned(), |address| address.to_string())
}

fn listen_at(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Both families are listed where both are wanted; one socket must not take the other's.
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn bind_error(text: &str, source: io::Error) -> ListenError {
    let text = text.to_owned();
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            let port = text
                .rsplit_once(':')
                .and_then(|(_, port)| port.parse().ok());
            ListenError::Taken {
                owner: port.and_then(PortOwner::find),
                text,
            }
        }
        io::ErrorKind::PermissionDenied if !text.starts_with("unix:") => {
            ListenError::Denied { text }
        }
        _ => ListenError::Bind { text, source },
    }
}

/// Removes the socket of a run that is over; one that somebody listens at stays.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let text = format!("unix:{}", path.display());
    let failed = |source| ListenError::Bind {
        text: text.clone(),
        source,
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(ListenError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(source) => Err(failed(source)),
        Ok(_) => Err(ListenError::Taken { text, owner: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::let_go::once_let_go;

    fn tcp(text: &str) -> Listen {
        Listen::Tcp(text.to_owned())
    }

    #[test]
    fn a_port_that_the_kernel_chose_is_shown() {
        let bound = Listeners::bind(&[tcp("127.0.0.1:0")], Vec::new()).unwrap();
        assert!(bound.addresses()[0].starts_with("127.0.0.1:"));
        assert_ne!(bound.addresses()[0], "127.0.0.1:0");
        assert_eq!(bound.sockets().len(), 1);
    }

    #[test]
    fn a_socket_that_is_regained_is_not_bound_again() {
        let first = Listeners::bind(&[tcp("127.0.0.1:0")], Vec::new()).unwrap();
        let address = first.addresses()[0].clone();
        let sockets = first.sockets().iter();
        let regained = sockets
            .map(|socket| ("127.0.0.1:0".to_owned(), socket.try_clone().unwrap()))
            .collect();
        let places = [tcp("127.0.0.1:0"), tcp("127.0.0.1:0")];
        let second = Listeners::bind(&places, regained).unwrap();
        assert_eq!(second.addresses()[0], address);
        assert_ne!(second.addresses()[1], address);
        assert_eq!(second.places(), ["127.0.0.1:0", "127.0.0.1:0"]);
    }

    #[test]
    fn a_taken_port_is_named_with_what_to_do() {
        let first = Listeners::bind(&[tcp("127.0.0.1:0")], Vec::new()).unwrap();
        let address = first.addresses()[0].clone();
        let error = Listeners::bind(&[tcp(&address)], Vec::new())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&address) && error.contains("taken"),
            "{error}"
        );
    }

    #[test]
    fn what_is_no_address_is_refused() {
        assert!(matches!(
            Listeners::bind(&[tcp("8080")], Vec::new()),
            Err(ListenError::Resolve { .. })
        ));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("http");
        drop(UnixListener::bind(&path).unwrap());
        let place = [Listen::Unix(path.clone())];
        let bound = once_let_go(|| Listeners::bind(&place, Vec::new()));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            UNIX_MODE
        );
        assert!(matches!(
            Listeners::bind(&place, Vec::new()),
            Err(ListenError::Taken { .. })
        ));
        drop(bound);

        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Listeners::bind(&place, Vec::new()),
            Err(ListenError::NoSocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_socket_that_systemd_did_not_pass_is_named() {
        let error = Listeners::bind(&[Listen::Systemd("http".into())], Vec::new()).unwrap_err();
        assert!(
            error.to_string().contains("FileDescriptorName=http"),
            "{error}"
        );
    }
}
