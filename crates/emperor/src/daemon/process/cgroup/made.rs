//! Who works in a cgroup, and the cgroups that emperors make for themselves below the root of all, where
//! no systemd gives them one.
//!
//! Whoever works in one holds a lock on its folder, which the kernel lets go of when the process ends,
//! however it ends. So what was left behind is told from what an emperor uses whose sites all sleep.

use std::fs::{File, read_dir, remove_dir};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// What the names of their folders begin with.
pub(super) const PREFIX: &str = "emperor-";

/// Says that an emperor works in a cgroup, for as long as it is held.
#[derive(Debug)]
pub(super) struct Claim {
    _folder: File,
}

/// Makes a cgroup, with what belongs into it, and claims it before anybody can take it for a left one.
/// Where folders can't be locked there is no claim, and no sweep either.
pub(super) fn claim(
    base: &Path,
    make: impl Fn() -> Result<PathBuf, String>,
) -> Result<(PathBuf, Option<Claim>), String> {
    loop {
        let sites = make()?;
        let folder = match File::open(base) {
            Ok(folder) => folder,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(_) => return Ok((sites, None)),
        };
        if flock(&folder, FlockOperation::LockShared).is_err() {
            return Ok((sites, None));
        }
        // A sweep may have come between the two, and may have been about it until now.
        if is_at(&folder, base) && sites.is_dir() {
            return Ok((sites, Some(Claim { _folder: folder })));
        }
    }
}

/// Claims a cgroup that was given, for one emperor alone: a second one would take the first one's
/// instances there for left ones, and end them.
pub(super) fn claim_alone(base: &Path) -> Result<Option<Claim>, String> {
    let Ok(folder) = File::open(base) else {
        return Ok(None);
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(Claim { _folder: folder })),
        Err(Errno::WOULDBLOCK) => Err(format!(
            "another emperor's instances are in {}: give each emperor a cgroup of its own \
             (EMPEROR_CGROUP)",
            base.display()
        )),
        Err(_) => Ok(None),
    }
}

/// Removes the cgroups beside this one, and this one, that emperors which were killed left behind and in
/// which nothing runs.
pub(super) fn sweep(base: &Path) {
    let entries = base.parent().map(read_dir);
    for entry in entries.into_iter().flatten().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            remove_left(&entry.path());
        }
    }
}

fn remove_left(base: &Path) {
    let Ok(folder) = File::open(base) else {
        return;
    };
    if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return;
    }
    let sites = base.join("sites");
    // The kernel removes no cgroup with a process or another cgroup in it: what can't be removed is in
    // use.
    for instance in read_dir(&sites).into_iter().flatten().flatten() {
        let _in_use = remove_dir(instance.path());
    }
    let _in_use = remove_dir(&sites).and_then(|()| remove_dir(base));
}

fn is_at(folder: &File, path: &Path) -> bool {
    let number = |found: std::io::Result<std::fs::Metadata>| found.map(|found| found.ino()).ok();
    let held = number(folder.metadata());
    held.is_some() && held == number(path.metadata())
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir_all, write};

    use super::*;
    use crate::let_go::once_let_go;

    #[test]
    fn what_is_empty_and_claimed_by_nobody_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for left in [
            "emperor-left/sites/1.2",
            "emperor-busy/sites/1.3",
            "other/sites",
        ] {
            create_dir_all(at(left)).unwrap();
        }
        // As a process would, it keeps the folder from being removed.
        write(at("emperor-busy/sites/1.3/process"), "").unwrap();
        let own = at("emperor-own");
        let make = || {
            create_dir_all(own.join("sites")).unwrap();
            Ok(own.join("sites"))
        };
        let (_, claim) = claim(&own, make).unwrap();
        sweep(&at("emperor-next"));
        let mut left: Vec<_> = read_dir(root.path()).unwrap().flatten().collect();
        left.sort_by_key(std::fs::DirEntry::file_name);
        let left: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
        assert_eq!(left, ["emperor-busy", "emperor-own", "other"]);
        drop(claim);
        once_let_go(|| {
            sweep(&at("emperor-next"));
            if own.exists() {
                Err("it stays")
            } else {
                Ok(())
            }
        });
    }
}
