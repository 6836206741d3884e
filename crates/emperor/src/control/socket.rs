//! `control.sock`: bound under another name first and then moved into place, so that nobody ever
//! finds it with the wrong mode, and a socket that a killed daemon left behind is simply replaced.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, geteuid};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

use crate::socket_path::MAX_SOCKET_PATH;

/// Its name in `runtime_dir`.
pub(crate) const NAME: &str = "control.sock";
/// Members of this group may use the command line, if the group exists and the daemon is root.
const GROUP: &str = "emperor";

/// The bound socket.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    listener: UnixListener,
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// Another daemon answers there.
    #[error(
        "another emperor is running: it answers at {}; stop it, or give this one a runtime_dir \
         of its own", path.display()
    )]
    Taken {
        /// The socket.
        path: PathBuf,
    },
    /// Its path is longer than the kernel permits.
    #[error(
        "the path {} has {bytes} bytes, and the kernel permits {MAX_SOCKET_PATH}; choose a \
         shorter runtime_dir", path.display()
    )]
    TooLong {
        /// The socket.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// The system refused.
    #[error("could not {doing} {}: {source}", path.display())]
    System {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ControlSocket {
    /// Binds the socket in a folder that exists.
    pub(crate) async fn bind(runtime_dir: &Path) -> Result<Self, SocketError> {
        let path = runtime_dir.join(NAME);
        let new = runtime_dir.join("control.sock.new");
        let bytes = new.as_os_str().len();
        if bytes > MAX_SOCKET_PATH {
            return Err(SocketError::TooLong { path, bytes });
        }
        if UnixStream::connect(&path).await.is_ok() {
            return Err(SocketError::Taken { path });
        }
        let failed = |doing| {
            let path = new.clone();
            move |source| SocketError::System {
                doing,
                path,
                source,
            }
        };
        match std::fs::remove_file(&new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("remove")(error)),
        }
        let listener = UnixListener::bind(&new).map_err(failed("bind"))?;
        open_to_group(&new).map_err(failed("set the mode of"))?;
        std::fs::rename(&new, &path).map_err(failed("move into place"))?;
        Ok(Self { listener })
    }

    pub(super) fn into_listener(self) -> UnixListener {
        self.listener
    }
}

/// 0600, or 0660 for the emperor's group.
fn open_to_group(path: &Path) -> io::Result<()> {
    let group = geteuid().is_root().then(group).flatten();
    if let Some(group) = group {
        nix::unistd::chown(path, None, Some(group))?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn group() -> Option<Gid> {
    let group = Group::from_name(GROUP).ok().flatten();
    group.map(|group| group.gid)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixSocket;

    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        // Nobody listens there, and nobody ever did: a process that another test is about to start has for a
        // moment whatever is open here.
        let left = UnixSocket::new_stream().unwrap();
        left.bind(dir.path().join(NAME)).unwrap();
        let bound = ControlSocket::bind(dir.path()).await.unwrap();
        let mode = std::fs::metadata(dir.path().join(NAME))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o007, 0, "others may connect");
        let second = ControlSocket::bind(dir.path()).await;
        assert!(matches!(second, Err(SocketError::Taken { .. })));
        drop(bound);
    }

    #[tokio::test]
    async fn a_path_the_kernel_would_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("x".repeat(MAX_SOCKET_PATH));
        let bound = ControlSocket::bind(&long).await;
        assert!(matches!(bound, Err(SocketError::TooLong { .. })));
    }
}
