//! The socket of the link, `<runtime_dir>/fastrouter.sock`: bound under another name and moved into
//! place when owner and mode are right, so nobody ever finds it open to others.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, chown};
use thiserror::Error;
use tokio::net::UnixListener;

/// Its name in `runtime_dir`.
const NAME: &str = "fastrouter.sock";
/// The emperor and the router's group.
const MODE: u32 = 0o660;

/// The socket can't be had.
#[derive(Debug, Error)]
#[error("could not make the fastrouter's link {}: {source}", path.display())]
pub(crate) struct LinkSocketError {
    path: PathBuf,
    source: io::Error,
}

/// Where it is.
pub(crate) fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join(NAME)
}

/// Binds it for the router's group, in place of one that an emperor before left behind.
pub(crate) fn bind(runtime_dir: &Path, group: u32) -> Result<UnixListener, LinkSocketError> {
    let path = path(runtime_dir);
    bind_at(&path, group).map_err(|source| LinkSocketError { path, source })
}

fn bind_at(path: &Path, group: u32) -> io::Result<UnixListener> {
    let new = path.with_extension("sock.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(MODE))?;
    chown(&new, None, Some(Gid::from_raw(group)))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced_by_one_for_the_group() {
        let folder = tempfile::tempdir().unwrap();
        let group = nix::unistd::getgid().as_raw();
        for _ in 0..2 {
            bind(folder.path(), group).unwrap();
            let made = std::fs::metadata(folder.path().join(NAME)).unwrap();
            assert_eq!(made.permissions().mode() & 0o777, MODE);
        }
    }
}
