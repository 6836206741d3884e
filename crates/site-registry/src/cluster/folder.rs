//! The folders of a private cluster: whose they are, whether their owner can get there, and how
//! they are made.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, chown};

use super::{ClusterError, ClusterOptions, Owner};

/// The longest path `sun_path` holds with its final zero (`unix(7)`).
const MAX_SOCKET_PATH: usize = 107;
const SOCKET_FILE: &str = ".s.PGSQL.5432";
/// Nobody but the owner, and root.
const PRIVATE: u32 = 0o700;

/// The folders of one cluster.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    /// Everything.
    pub(crate) dir: PathBuf,
    /// `PGDATA`
    pub(crate) data: PathBuf,
    /// What the server writes to standard error.
    pub(crate) log: PathBuf,
    /// The folder of the socket.
    pub(crate) sockets: PathBuf,
    /// Who the server runs as; `None`: as the emperor does.
    pub(crate) owner: Option<Owner>,
}

impl Folders {
    /// Makes what is missing, gives it to the owner, and makes sure the owner gets there.
    pub(crate) fn prepare(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let owner = choose_owner(options)?;
        make_private(&options.dir, owner)?;
        make_private(&options.socket_dir, owner)?;
        let dir = real_path(&options.dir)?;
        let sockets = real_path(&options.socket_dir)?;
        if let Some(owner) = owner {
            check_way(&dir, owner)?;
            check_way(&sockets, owner)?;
        }
        Ok(Self {
            data: dir.join("data"),
            log: dir.join("postgres.log"),
            dir,
            sockets,
            owner,
        })
    }

    /// The socket's path.
    pub(crate) fn socket(&self) -> PathBuf {
        self.sockets.join(SOCKET_FILE)
    }

    /// The server's lock on the data folder.
    pub(crate) fn lock(&self) -> PathBuf {
        self.data.join("postmaster.pid")
    }

    /// Whether there is a cluster from before.
    pub(crate) fn is_initialised(&self) -> bool {
        self.data.join("PG_VERSION").is_file()
    }

    /// The major version of the cluster from before.
    pub(crate) fn made_by(&self) -> Result<String, ClusterError> {
        let path = self.data.join("PG_VERSION");
        let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
        Ok(text.trim().to_owned())
    }
}

/// Names a failed file operation.
pub(crate) fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ClusterError + 'a {
    move |source| ClusterError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

pub(crate) fn check_socket_path(dir: &Path) -> Result<(), ClusterError> {
    let path = dir.join(SOCKET_FILE);
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH {
        return Err(ClusterError::SocketPath { path, length });
    }
    Ok(())
}

/// PostgreSQL refuses to run as root. The owner of a cluster from before stays its owner, whatever
/// accounts came and went since.
fn choose_owner(options: &ClusterOptions) -> Result<Option<Owner>, ClusterError> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let before = fs::metadata(options.dir.join("data")).ok();
    let before = before.filter(|data| data.uid() != 0).map(|data| Owner {
        uid: data.uid(),
        gid: data.gid(),
    });
    let account = || {
        let user = User::from_name("postgres").ok().flatten()?;
        Some(Owner {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    };
    let owner = before.or_else(account).or(options.fallback_owner);
    owner.map(Some).ok_or(ClusterError::NoOwner)
}

fn make_private(dir: &Path, owner: Option<Owner>) -> Result<(), ClusterError> {
    fs::create_dir_all(dir).map_err(failed("make the folder", dir))?;
    fs::set_permissions(dir, Permissions::from_mode(PRIVATE))
        .map_err(failed("set the permissions of", dir))?;
    if let Some(Owner { uid, gid }) = owner {
        chown(dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| failed("change the owner of", dir)(errno.into()))?;
    }
    Ok(())
}

fn real_path(path: &Path) -> Result<PathBuf, ClusterError> {
    fs::canonicalize(path).map_err(failed("find", path))
}

/// A folder above that the owner can't pass makes every program fail with a bare "permission
/// denied"; a home folder of root's is the usual one.
fn check_way(dir: &Path, owner: Owner) -> Result<(), ClusterError> {
    for above in dir.ancestors().skip(1) {
        let found = fs::metadata(above).map_err(failed("look at", above))?;
        let passes = if found.uid() == owner.uid {
            0o100
        } else if found.gid() == owner.gid {
            0o010
        } else {
            0o001
        };
        if found.mode() & passes == 0 {
            return Err(ClusterError::ClosedFolder {
                uid: owner.uid,
                folder: above.to_owned(),
                dir: dir.to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_path_beyond_the_kernels_bound_is_refused_by_name() {
        assert!(check_socket_path(Path::new("/run/emperor/postgres")).is_ok());
        let long = PathBuf::from(format!("/{}", "x".repeat(92)));
        assert!(check_socket_path(&long).is_ok());
        let error = check_socket_path(&long.join("y")).unwrap_err();
        assert!(
            matches!(error, ClusterError::SocketPath { length: 109, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_the_owner_cannot_pass_is_named() {
        let root = tempfile::tempdir().unwrap();
        let (closed, inner) = (root.path().join("closed"), root.path().join("closed/inner"));
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
        let stranger = Owner {
            uid: u32::MAX - 1,
            gid: u32::MAX - 1,
        };
        fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        assert!(check_way(&inner, stranger).is_ok());
        fs::set_permissions(&closed, Permissions::from_mode(0o700)).unwrap();
        let error = check_way(&inner, stranger).unwrap_err();
        assert!(
            matches!(&error, ClusterError::ClosedFolder { folder, .. } if *folder == closed),
            "{error}"
        );
    }
}
