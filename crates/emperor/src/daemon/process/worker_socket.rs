//! Where a worker is reached, and how a socket that it bound itself is let out of its hands.
//!
//! A worker with `listen = "path"` binds in a folder of its own, where it may put anything at any
//! time: another mode, or a symbolic link to another site's socket, which the router would follow.
//! So nobody connects there. What it bound is given a second name, a hard link in a folder that only
//! the emperor may change and only the router's group may enter; that name is the instance's socket.
//! What the worker does to the first name afterwards changes nothing.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, chmod, chown, fstat, linkat, openat, stat,
    unlink,
};
use rustix::io::Errno;
use tokio::net::UnixStream;

use super::listen::SOCKET_MODE;
use super::probe::ProbeMiss;

/// The socket of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WorkerSocket {
    /// The emperor bound it, and the worker inherited it.
    Inherited(PathBuf),
    /// The worker binds it.
    Own {
        /// Where.
        bound: PathBuf,
        /// Where it is reached.
        link: PathBuf,
        /// Who it has to belong to.
        uid: u32,
        /// The router's group.
        router: Gid,
    },
}

impl WorkerSocket {
    /// Where the router finds it once the instance is ready.
    pub(super) fn reached(&self) -> &Path {
        match self {
            Self::Inherited(path) | Self::Own { link: path, .. } => path,
        }
    }

    /// Where the instance's texts say it is: `socket.path`.
    pub(super) fn told(&self) -> &Path {
        match self {
            Self::Inherited(path) | Self::Own { bound: path, .. } => path,
        }
    }

    /// Connects as the router will.
    pub(super) async fn connect(&self) -> Result<UnixStream, ProbeMiss> {
        self.let_out()?;
        UnixStream::connect(self.reached())
            .await
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => ProbeMiss::NotBound(self.told().to_path_buf()),
                // Bound, but `listen` was not called yet; or its backlog is full.
                ErrorKind::ConnectionRefused | ErrorKind::WouldBlock => ProbeMiss::NotListening,
                kind => ProbeMiss::Broken(kind),
            })
    }

    /// Gives what the worker bound its second name, for the router's group and nobody else. Done
    /// again, it follows a worker that bound anew.
    pub(super) fn let_out(&self) -> Result<(), ProbeMiss> {
        let Self::Own {
            bound,
            link,
            uid,
            router,
        } = self
        else {
            return Ok(());
        };
        // Opened without following, looked at, and from here on meant by its descriptor alone.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = openat(CWD, bound, flags, Mode::empty())
            .map_err(|_| ProbeMiss::NotBound(bound.clone()))?;
        let is_its_own = fstat(&found).is_ok_and(|found| is_socket_of(&found, *uid));
        if !is_its_own {
            return Err(ProbeMiss::NotASocket(bound.clone()));
        }
        name(&found, link, *router).map_err(|error| ProbeMiss::Broken(error.kind()))
    }
}

fn is_socket_of(found: &Stat, uid: u32) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Socket && found.st_uid == uid
}

/// Sets group and mode of a found socket and gives it this name, in place of another that has it.
///
/// The group too, although the folder hands it down: some servers (gunicorn) give what they bind to
/// their own group, and the router would be shut out.
fn name(found: &OwnedFd, link: &Path, router: Gid) -> io::Result<()> {
    // A descriptor opened as a place has no fchmod; its entry in /proc leads to the same inode.
    let through = format!("/proc/self/fd/{}", found.as_raw_fd());
    chown(&through, None, Some(router))?;
    chmod(&through, SOCKET_MODE)?;
    match stat(link) {
        Ok(known) if known.st_ino == fstat(found)?.st_ino => return Ok(()),
        Ok(_) => unlink(link)?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(linkat(CWD, &through, CWD, link, AtFlags::SYMLINK_FOLLOW)?)
}
