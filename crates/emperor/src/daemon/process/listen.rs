//! Sockets that the emperor binds in an instance's folder.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid, chmod, chown};
use rustix::net::sockopt::set_socket_passcred;
use socket2::{Domain, SockAddr, Socket, Type};

use super::failure::{Doing, SpawnFailure};
use crate::socket_path::MAX_SOCKET_PATH;

/// Connections that wait to be accepted. The kernel takes the lower of this and
/// `net.core.somaxconn`, which is 4096 on machines of today.
const BACKLOG: i32 = 4096;

/// Nobody but owner and group may connect; never the rest of the world.
pub(super) const SOCKET_MODE: Mode = Mode::from_raw_mode(0o660);
const NOTIFY_MODE: Mode = Mode::from_raw_mode(0o600);

/// Refuses a path that the kernel would, or would cut.
pub(super) fn check_path(path: &Path) -> Result<(), SpawnFailure> {
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        return Err(SpawnFailure::SocketPath {
            path: path.to_path_buf(),
            length,
        });
    }
    Ok(())
}

/// The socket that a worker inherits, reachable for the router's group.
///
/// The folder is the emperor's, so the paths can't lead elsewhere; and nobody can connect before
/// the mode is right, because it listens only then.
pub(super) fn listener(path: &Path, router: Gid) -> Result<OwnedFd, SpawnFailure> {
    check_path(path)?;
    let socket = bind(path, Type::STREAM).doing("bind the socket", path)?;
    chmod(path, SOCKET_MODE).doing("set the mode of", path)?;
    chown(path, None, Some(router)).doing("give the router's group", path)?;
    socket.listen(BACKLOG).doing("listen on", path)?;
    Ok(socket.into())
}

/// The socket on which a worker tells of itself, for its own user alone.
pub(super) fn notify_socket(path: &Path, uid: Uid, gid: Gid) -> Result<OwnedFd, SpawnFailure> {
    check_path(path)?;
    let socket = bind(path, Type::DGRAM.nonblocking()).doing("bind the socket", path)?;
    set_socket_passcred(&socket, true).doing("ask for credentials on", path)?;
    chmod(path, NOTIFY_MODE).doing("set the mode of", path)?;
    chown(path, Some(uid), Some(gid)).doing("give to its user", path)?;
    Ok(socket.into())
}

fn bind(path: &Path, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_path_that_is_too_long_is_told_with_what_to_do() {
        let path = format!("/{}", "x".repeat(MAX_SOCKET_PATH));
        let error = check_path(Path::new(&path)).unwrap_err().to_string();
        assert!(
            error.contains("has 108 bytes") && error.contains("runtime_dir"),
            "{error}"
        );
        check_path(Path::new(&path[1..])).unwrap();
    }

    #[test]
    fn sockets_are_never_open_to_the_world() {
        let folder = tempfile::tempdir().unwrap();
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        let paths = ["s", "notify"].map(|name| folder.path().join(name));
        let _listener = listener(&paths[0], gid).unwrap();
        let _notify = notify_socket(&paths[1], uid, gid).unwrap();
        let modes = paths.map(|path| path.metadata().unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o660, 0o600]);
    }
}
