//! The other emperors of this machine, so that none gives out a uid that another one gave: sites of the two
//! could read each other's files.
//!
//! Each has a link to its file of assignments in a folder of the machine. Whoever gives out a uid holds
//! that folder's lock meanwhile, and looks into the others' files. So two may have the same
//! `policy.uid_range`, which is the default's, and need not run at the same time.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, read_dir, read_link, remove_file};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tracing::warn;

use super::super::failure::{Doing, PathFailure};
use super::table;

/// Where emperors that can change users find each other. On disk, since what belongs to a uid is too.
pub(crate) const MEETING_PLACE: &str = "/var/lib/emperor-uids";

/// The folder, and which of its links is this emperor's.
#[derive(Debug)]
pub(super) struct Neighbours {
    folder: PathBuf,
    own: PathBuf,
    link: PathBuf,
}

/// The right to give out uids, which one emperor has at a time.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    neighbours: &'a Neighbours,
    _lock: File,
}

impl Neighbours {
    /// Makes the folder. `own` is this emperor's file of assignments.
    pub(super) fn meet(folder: PathBuf, own: PathBuf) -> Result<Self, PathFailure> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder);
        made.doing("make the folder", &folder)?;
        let own = std::path::absolute(&own).unwrap_or(own);
        let hash = blake3::hash(own.as_os_str().as_encoded_bytes()).to_hex();
        let link = folder.join(&hash[..16]);
        Ok(Self { folder, own, link })
    }

    /// Waits until it is this emperor's turn: as long as another one takes to write a file. From then on
    /// the others look into what this one gives out.
    pub(super) fn turn(&self) -> Result<Turn<'_>, PathFailure> {
        let lock = File::open(&self.folder).doing("open", &self.folder)?;
        flock(&lock, FlockOperation::LockExclusive).doing("lock", &self.folder)?;
        match symlink(&self.own, &self.link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).doing("make the link", &self.link);
            }
            Ok(()) | Err(_) => {}
        }
        Ok(Turn {
            neighbours: self,
            _lock: lock,
        })
    }
}

impl Turn<'_> {
    /// The uids that others gave, each with whose file says so.
    pub(super) fn given_by_others(&self) -> Vec<(PathBuf, BTreeSet<u32>)> {
        let entries = read_dir(&self.neighbours.folder).into_iter().flatten();
        let links = entries.flatten().map(|entry| entry.path());
        let others = links.filter(|link| *link != self.neighbours.link);
        others.filter_map(|link| given_by(&link)).collect()
    }
}

/// What is given in the file that a link leads to.
fn given_by(link: &Path) -> Option<(PathBuf, BTreeSet<u32>)> {
    let file = read_link(link).ok()?;
    match table::read(&file) {
        Ok(Some(table)) => Some((file, table.taken())),
        // Its state_dir is gone. Should it come back, it makes its link before it gives out another.
        Ok(None) => {
            let _stays = remove_file(link);
            None
        }
        Err(error) => {
            warn!(%error, "which uids another emperor gave out can't be read; if uids of both are in one range, sites of both may have the same");
            None
        }
    }
}
