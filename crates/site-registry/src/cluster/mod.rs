//! A private PostgreSQL, for a house without a database of its own.
//!
//! One folder holds everything; the server listens on a unix socket alone, in a folder that only
//! its own user can enter, so whoever can connect is that user or root. There is no password to
//! keep: `pg_hba.conf` says `trust`, and the kernel's check of the folder (0700) and of the socket
//! (0700) is what stands before it. `peer` would say the same less well, since it needs an account
//! for every uid.
//!
//! The server outlives a daemon that is killed: the next one finds it by `postmaster.pid`, makes
//! sure through `/proc` that the process is the one meant, and adopts it. A daemon that ends in
//! order stops it. One that doesn't start, whatever the cause, is tried again for ever with growing
//! pauses, and [`PrivateCluster::state`] says why it doesn't run; the daemon goes on meanwhile with
//! what it knows. It is in a process group of its own, so that Ctrl-C reaches the daemon alone.
//!
//! Knows nothing of schema or sites; the registry connects to it as to any other server.

mod error;
mod folder;
mod initdb;
mod keeper;
mod postmaster;
mod programs;
mod server;

use std::path::{Path, PathBuf};

pub use error::ClusterError;
pub use keeper::{ClusterState, PrivateCluster};
pub use programs::{Programs, find_programs};

/// The role that initdb makes, and the database that is made for it.
pub const ROLE: &str = "emperor";
/// The database of the private cluster.
pub const DATABASE: &str = "sites";

/// Where a private cluster lives, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterOptions {
    /// Its folder; made where it doesn't exist.
    pub dir: PathBuf,
    /// The folder of its socket; made where it doesn't exist, and nobody else's.
    pub socket_dir: PathBuf,
    /// Who it runs as when the emperor is root and there is neither a folder from before nor a user
    /// `postgres`. Without it that case is an error.
    pub fallback_owner: Option<Owner>,
    /// What a crash of the machine may cost.
    pub durability: Durability,
}

/// A user by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its uid.
    pub uid: u32,
    /// Its gid.
    pub gid: u32,
}

/// What a crash of the machine may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Nothing that was committed.
    Full,
    /// Everything; for tests, which make many clusters and keep none.
    None,
}

/// The URL of a private cluster by the folder of its socket. It holds no secret.
pub fn url(socket_dir: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;

    let bytes = socket_dir.as_os_str().as_bytes();
    let host = percent_encoding::percent_encode(bytes, percent_encoding::NON_ALPHANUMERIC);
    format!("postgresql://{ROLE}@{host}/{DATABASE}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DatabaseTarget;

    #[test]
    fn the_url_leads_to_the_socket_folder_whatever_its_name() {
        for dir in ["/run/emperor/postgres", "/tmp/a b?c@d%e/ü"] {
            let target = DatabaseTarget::parse(&url(Path::new(dir))).unwrap();
            assert_eq!(target.to_string(), format!("[{dir}]/sites"));
        }
    }
}
