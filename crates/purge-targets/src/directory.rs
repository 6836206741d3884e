//! Emptying a folder: nginx's cache as a whole, where its module for purging isn't there.
//!
//! nginx finds a file that is gone like one that never was, and goes on. The folder itself stays,
//! with its owner and mode. Symbolic links are removed, never followed.

use std::fs;
use std::io;
use std::path::Path;

use crate::failure::Failure;

/// Removes everything in a folder. Blocks.
pub(crate) fn empty(folder: &Path) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::away(format!("{} can't be emptied: {error}", folder.display()));
    let kind = match fs::symlink_metadata(folder) {
        Ok(found) => found.file_type(),
        // What isn't there holds no page.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !kind.is_dir() {
        return Err(Failure::refused(format!(
            "{} is no folder{}",
            folder.display(),
            if kind.is_symlink() {
                " but a symbolic link; name where it leads"
            } else {
                ""
            }
        )));
    }
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        remove(&entry).or_else(absent).map_err(failed)?;
    }
    Ok(())
}

fn remove(entry: &fs::DirEntry) -> io::Result<()> {
    if entry.file_type()?.is_dir() {
        // Looks at no link in it, even where one is put there meanwhile.
        fs::remove_dir_all(entry.path()).or_else(|error| match error.kind() {
            // nginx wrote another page into it.
            io::ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(entry.path()),
            _ => Err(error),
        })
    } else {
        fs::remove_file(entry.path())
    }
}

/// nginx removes files as well.
fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound {
        Ok(())
    } else {
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn everything_in_the_folder_goes_and_the_folder_and_what_links_lead_to_stay() {
        let place = tempfile::tempdir().unwrap();
        let (cache, outside) = (place.path().join("cache"), place.path().join("outside"));
        fs::create_dir_all(cache.join("a/b")).unwrap();
        fs::write(cache.join("a/b/page"), "x").unwrap();
        fs::write(cache.join("page"), "x").unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "x").unwrap();
        symlink(&outside, cache.join("link")).unwrap();
        symlink(&outside, cache.join("a/link")).unwrap();
        let before = fs::metadata(&cache).unwrap().ino();
        empty(&cache).unwrap();
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 0);
        assert_eq!(fs::metadata(&cache).unwrap().ino(), before);
        assert!(outside.join("kept").exists());
    }

    #[test]
    fn a_link_or_a_file_is_not_emptied_and_an_absent_folder_is_empty() {
        let place = tempfile::tempdir().unwrap();
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("kept"), "x").unwrap();
        symlink(&real, &link).unwrap();
        assert!(empty(&link).unwrap_err().reason.contains("symbolic link"));
        assert!(real.join("kept").exists());
        empty(&real.join("kept")).unwrap_err();
        empty(&place.path().join("nowhere")).unwrap();
    }
}
