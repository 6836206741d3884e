//! Reading a site's log from its end, and on as it grows: across rotated files (`7.log`,
//! `7.log.1`, …), in order, without a line lost or told twice.
//!
//! It knows files and bytes, and nothing of what a line says.

use std::collections::VecDeque;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::time::sleep;

/// How much is read and sent at a time.
const CHUNK: usize = 64 * 1024;
/// How often a log that is followed is looked at. Only while somebody follows it.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many rotated files are looked at for the lines that were asked for.
const ROTATED: usize = 1000;

/// A place in a log from which it is read on.
#[derive(Debug)]
pub(super) struct Tail {
    path: PathBuf,
    /// The file being read, and the next ones if it was rotated away meanwhile.
    current: Option<File>,
    later: VecDeque<File>,
}

impl Tail {
    /// Stands `lines` lines before the end.
    pub(super) async fn open(path: &Path, lines: usize) -> io::Result<Self> {
        let mut files = VecDeque::new();
        let mut missing = lines;
        for number in 0..ROTATED {
            let Some(mut file) = open(&numbered(path, number)).await? else {
                break;
            };
            missing -= seek_lines_before_end(&mut file, missing).await?;
            files.push_front(file);
            if missing == 0 {
                break;
            }
        }
        Ok(Self {
            path: path.to_owned(),
            current: files.pop_front(),
            later: files,
        })
    }

    /// What comes next; `None` at the end. Cancel safe: nothing is read before it is returned.
    pub(super) async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while let Some(file) = &mut self.current {
            let mut buffer = bytes::BytesMut::with_capacity(CHUNK);
            if file.read_buf(&mut buffer).await? > 0 {
                return Ok(Some(buffer.freeze()));
            }
            if self.later.is_empty() {
                return Ok(None);
            }
            self.current = self.later.pop_front();
        }
        Ok(None)
    }

    /// What comes next, whenever it comes.
    pub(super) async fn next_awaited(&mut self) -> io::Result<Bytes> {
        loop {
            // Whether it was rotated is found out before it is read to its end: what was written
            // between the two is then still read from it.
            let newer = self.newer_files().await?;
            if let Some(bytes) = self.next().await? {
                return Ok(bytes);
            }
            if newer.is_empty() {
                sleep(INTERVAL).await;
            } else {
                self.later = newer;
                self.current = self.later.pop_front();
            }
        }
    }

    /// The files that came after the last one known, oldest first.
    async fn newer_files(&self) -> io::Result<VecDeque<File>> {
        let last = self.later.back().or(self.current.as_ref());
        let known = match last {
            Some(file) => Some(file.metadata().await?.ino()),
            None => None,
        };
        let mut newer = VecDeque::new();
        for number in 0..ROTATED {
            let Some(file) = open(&numbered(&self.path, number)).await? else {
                break;
            };
            if Some(file.metadata().await?.ino()) == known {
                break;
            }
            newer.push_front(file);
        }
        Ok(newer)
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

async fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Moves to where the last `wanted` lines begin, or to the beginning; returns how many lines are
/// behind that place.
async fn seek_lines_before_end(file: &mut File, wanted: usize) -> io::Result<usize> {
    let mut end = file.seek(SeekFrom::End(0)).await?;
    let mut found = 0;
    let mut is_last_byte = true;
    while end > 0 && wanted > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let length = usize::try_from(end - start).unwrap_or(CHUNK);
        let mut chunk = vec![0; length];
        file.seek(SeekFrom::Start(start)).await?;
        file.read_exact(&mut chunk).await?;
        for at in memchr::memrchr_iter(b'\n', &chunk) {
            // The newline that ends the last line begins no other.
            if std::mem::take(&mut is_last_byte) && at + 1 == length {
                continue;
            }
            found += 1;
            if found == wanted {
                file.seek(SeekFrom::Start(start + at as u64 + 1)).await?;
                return Ok(wanted);
            }
        }
        is_last_byte = false;
        end = start;
    }
    let whole = if wanted == 0 {
        SeekFrom::End(0)
    } else {
        SeekFrom::Start(0)
    };
    let at = file.seek(whole).await?;
    let has_first_line = at == 0 && file.metadata().await?.len() > 0;
    Ok(if has_first_line && wanted > 0 {
        found + 1
    } else {
        found
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    struct Log {
        dir: tempfile::TempDir,
    }

    impl Log {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            Self { dir }
        }

        fn path(&self) -> PathBuf {
            self.dir.path().join("7.log")
        }

        fn write(&self, text: &str) {
            let mut options = std::fs::OpenOptions::new();
            let mut file = options.append(true).create(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn rotate(&self) {
            for number in (0..5).rev() {
                let (from, to) = (
                    numbered(&self.path(), number),
                    numbered(&self.path(), number + 1),
                );
                if from.exists() {
                    std::fs::rename(from, to).unwrap();
                }
            }
        }
    }

    async fn all(tail: &mut Tail) -> String {
        let mut text = String::new();
        while let Some(bytes) = tail.next().await.unwrap() {
            text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        text
    }

    #[tokio::test]
    async fn the_last_lines_are_found_across_rotated_files() {
        let log = Log::new();
        log.write("1\n2\n");
        log.rotate();
        log.write("3\n4\n");
        log.rotate();
        log.write("5\n6\n");
        for (lines, expected) in [
            (0, ""),
            (1, "6\n"),
            (2, "5\n6\n"),
            (3, "4\n5\n6\n"),
            (4, "3\n4\n5\n6\n"),
            (100, "1\n2\n3\n4\n5\n6\n"),
        ] {
            let mut tail = Tail::open(&log.path(), lines).await.unwrap();
            assert_eq!(all(&mut tail).await, expected, "{lines} lines");
        }
    }

    #[tokio::test]
    async fn lines_longer_than_a_chunk_are_whole() {
        let log = Log::new();
        let wide = format!("{}\n", "x".repeat(3 * CHUNK));
        log.write(&format!("1\n{wide}3\n"));
        let mut end = Tail::open(&log.path(), 2).await.unwrap();
        assert_eq!(all(&mut end).await, format!("{wide}3\n"));
    }

    #[tokio::test]
    async fn a_site_without_a_log_has_no_lines() {
        let log = Log::new();
        let mut tail = Tail::open(&log.path(), 10).await.unwrap();
        assert_eq!(all(&mut tail).await, "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_followed_log_is_read_on_through_every_rotation() {
        let log = Log::new();
        let mut tail = Tail::open(&log.path(), 10).await.unwrap();
        log.write("1\n");
        assert_eq!(tail.next_awaited().await.unwrap(), "1\n");
        log.write("2\n");
        log.rotate();
        log.write("3\n");
        log.rotate();
        log.write("4\n");
        let mut told = Vec::new();
        for _ in 0..3 {
            told.extend(tail.next_awaited().await.unwrap());
        }
        assert_eq!(told, b"2\n3\n4\n");
    }
}
