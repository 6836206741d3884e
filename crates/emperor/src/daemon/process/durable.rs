//! Small files that survive what may happen: written beside their place, made durable, and moved
//! over the old ones, so that a reader sees the old text or the new one and never a half.

use std::fs::{File, OpenOptions, rename};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::failure::{Doing, PathFailure};

/// Replaces a file. Blocks until the disk has it.
pub(in crate::daemon) fn replace(path: &Path, text: &str) -> Result<(), PathFailure> {
    write_and_rename(path, text, File::sync_all)?;
    // The name is in the folder, so the folder has to be on disk too.
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .doing("write", folder)
}

/// Replaces a file whose text means nothing once the machine was started anew: waits for no disk.
pub(super) fn replace_unsynced(path: &Path, text: &str) -> Result<(), PathFailure> {
    write_and_rename(path, text, |_| Ok(()))
}

fn write_and_rename(
    path: &Path,
    text: &str,
    secure: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), PathFailure> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .doing("write", &beside)?;
    file.write_all(text.as_bytes()).doing("write", &beside)?;
    secure(&file).doing("write", &beside)?;
    rename(&beside, path).doing("replace", path)
}
