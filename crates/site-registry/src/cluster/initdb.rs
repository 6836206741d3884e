//! Making a new cluster.
//!
//! It is made beside its place and renamed into it, so that an interrupted `initdb` is never taken
//! for a cluster.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;

use super::folder::{Folders, failed};
use super::postmaster::{command, last_lines};
use super::{ClusterError, Durability, Programs, ROLE};

/// The only way in is the socket, whose folder nobody else can enter.
const PG_HBA: &str =
    "# The server listens on a unix socket alone, in a folder that only its own user and root can
# enter. That is the authentication.
local all all trust
";

/// Makes the data folder.
pub(crate) async fn initdb(
    folders: &Folders,
    programs: &Programs,
    durability: Durability,
) -> Result<(), ClusterError> {
    let unfinished = folders.dir.join("data.unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(failed("remove", &unfinished))?;
    }
    let output = folders.dir.join("initdb.log");
    let log = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&output)
        .map_err(failed("open", &output))?;
    let mut command = command(&programs.initdb(), folders.owner, &log)?;
    // Told to end meanwhile, the daemon leaves nobody behind; what is unfinished is removed next time.
    command.kill_on_drop(true);
    command.arg("-D").arg(&unfinished).args([
        "-U",
        ROLE,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
    ]);
    match durability {
        Durability::Full => {}
        Durability::None => {
            command.arg("--no-sync");
        }
    }
    let status = command.status().await.map_err(|source| ClusterError::Run {
        program: programs.initdb(),
        source,
    })?;
    if !status.success() {
        return Err(ClusterError::Initdb {
            dir: folders.data.clone(),
            output: last_lines(&output, 0),
        });
    }
    let hba = unfinished.join("pg_hba.conf");
    fs::write(&hba, PG_HBA).map_err(failed("write", &hba))?;
    fs::rename(&unfinished, &folders.data).map_err(failed("rename", &unfinished))
}
