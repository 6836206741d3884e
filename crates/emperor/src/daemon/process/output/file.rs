//! One log file: appended to, and rotated by size.

use std::fs::{File, OpenOptions, remove_file, rename};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The emperor writes, its group reads.
const MODE: u32 = 0o640;

/// How large logs may grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogLimits {
    /// A log is rotated before it grows above that; 0: never.
    pub(crate) max_bytes: u64,
    /// How many rotated logs are kept.
    pub(crate) keep: usize,
}

/// A log file. It is opened for each batch and closed again, so that ten thousand sites hold no
/// descriptor, and a log that somebody moved away or removed is made anew.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    limits: LogLimits,
    /// The last write broke off, and what it left has no line end.
    torn: bool,
}

impl LogFile {
    pub(super) fn new(path: PathBuf, limits: LogLimits) -> Self {
        Self {
            path,
            limits,
            torn: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds whole lines. Blocks on the disk.
    pub(super) fn append(&mut self, lines: &str) -> io::Result<()> {
        let mut file = self.open()?;
        let size = file.metadata()?.len();
        if self.is_too_large(size, lines.len()) {
            self.rotate()?;
            file = self.open()?;
        }
        if self.torn {
            file.write_all(b"\n")?;
        }
        self.torn = true;
        file.write_all(lines.as_bytes())?;
        self.torn = false;
        Ok(())
    }

    fn open(&self) -> io::Result<File> {
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(MODE)
            .open(&self.path)
    }

    fn is_too_large(&self, size: u64, more: usize) -> bool {
        let max = self.limits.max_bytes;
        max > 0 && size > 0 && size.saturating_add(more as u64) > max
    }

    /// `7.log` → `7.log.1` → `7.log.2` …; the last one goes.
    fn rotate(&mut self) -> io::Result<()> {
        self.torn = false;
        if self.limits.keep == 0 {
            return remove_file(&self.path);
        }
        for age in (1..self.limits.keep).rev() {
            unless_missing(rename(self.aged(age), self.aged(age + 1)))?;
        }
        rename(&self.path, self.aged(1))
    }

    fn aged(&self, age: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{age}"));
        name.into()
    }
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn contents(folder: &Path) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        found.sort();
        found
    }

    #[track_caller]
    fn check(limits: LogLimits, batches: &[&str], expected: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let mut file = LogFile::new(folder.path().join("7.log"), limits);
        for batch in batches {
            file.append(batch).unwrap();
        }
        let found = contents(folder.path());
        let found: Vec<_> = found
            .iter()
            .map(|(n, t)| (n.as_str(), t.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_log_is_rotated_before_it_grows_too_large_and_the_oldest_goes() {
        let limits = |max_bytes, keep| LogLimits { max_bytes, keep };
        let batches = ["a\n", "b\n", "c\n", "d\n", "e\n"];
        check(limits(0, 2), &batches, &[("7.log", "a\nb\nc\nd\ne\n")]);
        check(
            limits(4, 2),
            &["a\n", "b\n", "c\n", "d\n", "e\n", "f\n", "g\n"],
            &[
                ("7.log", "g\n"),
                ("7.log.1", "e\nf\n"),
                ("7.log.2", "c\nd\n"),
            ],
        );
        check(limits(4, 0), &batches, &[("7.log", "e\n")]);
        // A batch that is larger by itself is kept whole.
        check(
            limits(1, 1),
            &["long\n", "b\n"],
            &[("7.log", "b\n"), ("7.log.1", "long\n")],
        );
    }

    #[test]
    fn a_log_that_was_removed_is_made_anew_and_nobody_else_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.log");
        let limits = LogLimits {
            max_bytes: 0,
            keep: 1,
        };
        let mut file = LogFile::new(path.clone(), limits);
        file.append("a\n").unwrap();
        remove_file(&path).unwrap();
        file.append("b\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "b\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o027, 0);
    }

    #[test]
    fn lines_after_one_that_broke_off_begin_a_new_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.log");
        fs::write(&path, "broken of").unwrap();
        let limits = LogLimits {
            max_bytes: 0,
            keep: 1,
        };
        let mut file = LogFile::new(path.clone(), limits);
        file.torn = true;
        file.append("whole\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "broken of\nwhole\n");
    }
}
