//! The server's process: starting it, finding one that a killed daemon left, ending it.
//!
//! Processes are held by pidfd, so a signal never goes to whoever got the pid afterwards.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;
use tokio::process::{Child, Command};

use super::folder::{Folders, failed};
use super::{ClusterError, Durability, Owner, Programs};

/// How much of the log an error repeats.
const TAIL_BYTES: u64 = 2048;
const TAIL_LINES: usize = 8;
/// A log larger than this is set aside when the server starts.
const LOG_KEPT_BYTES: u64 = 16 * 1024 * 1024;
/// The three ways to end a server, each with the time it has: when its clients are gone; at once,
/// with open transactions rolled back; and like a power cut, which the next start recovers from.
const SHUTDOWNS: [(Signal, Duration); 3] = [
    (Signal::TERM, Duration::from_secs(1)),
    (Signal::INT, Duration::from_secs(30)),
    (Signal::QUIT, Duration::from_secs(10)),
];

/// A backend looks for its server about once a second.
const BACKENDS_END_WITHIN: Duration = Duration::from_secs(15);

/// A running server.
#[derive(Debug)]
pub(crate) struct Postmaster {
    pid: u32,
    pidfd: AsyncFd<OwnedFd>,
    /// Its exit is to be collected, where it is a child of this process.
    child: Option<Child>,
    /// Where its words begin in the log.
    log_start: u64,
}

impl Postmaster {
    /// Starts the server. It is not ready when this returns.
    pub(crate) fn spawn(
        folders: &Folders,
        programs: &Programs,
        durability: Durability,
    ) -> Result<Self, ClusterError> {
        let log = open_log(folders)?;
        let before = log.metadata().map_err(failed("look at", &folders.log))?;
        let mut command = command(&programs.postgres(), folders.owner, &log)?;
        command
            .arg("-D")
            .arg(&folders.data)
            .arg("-c")
            .arg(setting("unix_socket_directories", &folders.sockets));
        for fixed in [
            "listen_addresses=",
            "port=5432",
            "unix_socket_permissions=0700",
            "logging_collector=off",
            "log_destination=stderr",
            "cluster_name=emperor",
        ] {
            command.arg("-c").arg(fixed);
        }
        match durability {
            Durability::Full => {}
            Durability::None => {
                command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
            }
        }
        let child = command.spawn().map_err(|source| ClusterError::Run {
            program: programs.postgres(),
            source,
        })?;
        // Only a child that was waited for has no pid, and nobody waited yet.
        let pid = child.id().unwrap_or_default();
        let pidfd = open_pidfd(pid).map_err(|source| ClusterError::Run {
            program: programs.postgres(),
            source,
        })?;
        Ok(Self {
            pid,
            pidfd,
            child: Some(child),
            log_start: before.len(),
        })
    }

    /// Finds the server that runs on the data folder, if one does.
    ///
    /// The number in `postmaster.pid` proves nothing after a reboot; a process whose working folder
    /// is the data folder is the server or one of its own.
    pub(crate) fn find(folders: &Folders) -> Result<Option<Self>, ClusterError> {
        let Some(lock) = LockFile::read(&folders.lock())? else {
            return Ok(None);
        };
        if !works_in(lock.pid, &folders.data) {
            return Ok(None);
        }
        let Ok(pidfd) = open_pidfd(lock.pid) else {
            return Ok(None);
        };
        // Between the two looks the process may have ended and its pid gone to another.
        if !works_in(lock.pid, &folders.data) {
            return Ok(None);
        }
        Ok(Some(Self {
            pid: lock.pid,
            pidfd,
            child: None,
            log_start: 0,
        }))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// What it wrote last.
    pub(crate) fn last_lines(&self, log: &Path) -> String {
        last_lines(log, self.log_start)
    }

    /// Waits for its end. Cancel safe.
    pub(crate) async fn ended(&mut self) {
        match &mut self.child {
            Some(child) => drop(child.wait().await),
            // A pidfd becomes readable when its process ends.
            None => drop(self.pidfd.readable().await),
        }
    }

    /// Ends it, politely first.
    pub(crate) async fn stop(mut self, data: &Path) -> Result<(), ClusterError> {
        for (signal, time) in SHUTDOWNS {
            // A process that is gone already can't be signalled, and needn't.
            let _gone = pidfd_send_signal(self.pidfd.get_ref(), signal);
            if tokio::time::timeout(time, self.ended()).await.is_ok() {
                return Ok(());
            }
        }
        Err(ClusterError::Occupied {
            pid: self.pid,
            dir: data.to_owned(),
        })
    }
}

/// `postmaster.pid` or the lock of a socket, as far as it is of interest.
#[derive(Debug)]
pub(crate) struct LockFile {
    pid: u32,
    /// The folder of the socket, on the fifth line.
    pub(crate) sockets: PathBuf,
}

impl LockFile {
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, ClusterError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("read", path)(error)),
        };
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let pid = lines
            .first()
            .and_then(|line| std::str::from_utf8(line).ok());
        let Some(pid) = pid.and_then(|text| text.trim().parse().ok()) else {
            return Ok(None);
        };
        let sockets = lines.get(4).copied().unwrap_or_default();
        Ok(Some(Self {
            pid,
            sockets: PathBuf::from(OsStr::from_bytes(sockets)),
        }))
    }
}

/// Takes a lock away whose pid went to a process that has nothing to do with this cluster.
///
/// A lock whose pid is free PostgreSQL takes over by itself, with all its care. One whose pid
/// belongs to another process of the same user, such as the machine's own server, it respects for
/// ever. A backend that outlives a killed server works in the data folder until it notices; only
/// when it is gone may a lock go.
pub(crate) async fn remove_stale_locks(folders: &Folders) -> Result<(), ClusterError> {
    while let Some(pid) = process_in(&folders.data) {
        let Ok(pidfd) = open_pidfd(pid) else { continue };
        let gone = tokio::time::timeout(BACKENDS_END_WITHIN, pidfd.readable()).await;
        if gone.is_err() {
            let dir = folders.data.clone();
            return Err(ClusterError::Occupied { pid, dir });
        }
    }
    let mut socket_lock = folders.socket().into_os_string();
    socket_lock.push(".lock");
    for path in [folders.lock(), socket_lock.into()] {
        let Some(lock) = LockFile::read(&path)? else {
            continue;
        };
        if Path::new(&format!("/proc/{}", lock.pid)).exists() {
            let (pid, path) = (lock.pid, &path);
            tracing::warn!(pid, path = %path.display(), "removing a lock that names a stranger");
            fs::remove_file(path).map_err(failed("remove", path))?;
        }
    }
    Ok(())
}

/// The first process that works in a folder.
fn process_in(folder: &Path) -> Option<u32> {
    fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| works_in(*pid, folder))
}

fn works_in(pid: u32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == folder)
}

#[expect(
    deprecated,
    reason = "its successor is unsafe for the sake of types whose descriptor may change, which that \
              of an OwnedFd can't, and unsafe is forbidden here"
)]
fn open_pidfd(pid: u32) -> std::io::Result<AsyncFd<OwnedFd>> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(std::io::ErrorKind::NotFound)?;
    AsyncFd::new(pidfd_open(pid, PidfdFlags::NONBLOCK)?)
}

/// A PostgreSQL program with a clean environment, in a process group of its own and as the owner;
/// the standard library drops the supplementary groups of root when it changes the user.
#[expect(
    clippy::disallowed_methods,
    reason = "the server is no worker: it needs no plan of vassal-exec, and outlives the daemon"
)]
pub(crate) fn command(
    program: &Path,
    owner: Option<Owner>,
    log: &File,
) -> Result<Command, ClusterError> {
    let copy = || log.try_clone().map_err(failed("use", Path::new("the log")));
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(copy()?)
        .stderr(copy()?);
    if let Some(Owner { uid, gid }) = owner {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// A list of folders needs quotes where a name has a comma or a space in it.
fn setting(name: &str, folder: &Path) -> OsString {
    let mut text = format!("{name}=\"").into_bytes();
    for byte in folder.as_os_str().as_bytes() {
        if *byte == b'"' {
            text.push(b'"');
        }
        text.push(*byte);
    }
    text.push(b'"');
    OsString::from_vec(text)
}

fn open_log(folders: &Folders) -> Result<File, ClusterError> {
    let path = &folders.log;
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_KEPT_BYTES) {
        fs::rename(path, path.with_extension("log.1")).map_err(failed("set aside", path))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))
}

/// The last lines of a log from a place on, on one line.
pub(crate) fn last_lines(log: &Path, from: u64) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES).max(from)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => tail_of(&String::from_utf8_lossy(&bytes)),
        Err(error) => format!("(can't be read: {error})"),
    }
}

/// The last lines of a text, on one line.
pub(crate) fn tail_of(text: &str) -> String {
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let first = lines.len().saturating_sub(TAIL_LINES);
    lines[first..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_name_with_a_comma_and_a_quote_is_one_folder() {
        assert_eq!(setting("d", Path::new("/a, \"b\"")), "d=\"/a, \"\"b\"\"\"");
    }

    #[test]
    fn the_lock_file_is_read_by_its_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("postmaster.pid");
        assert!(LockFile::read(&path).unwrap().is_none());
        for (text, pid) in [("", None), ("x\n", None), ("7\n/d\n1\n5432\n/s\n", Some(7))] {
            fs::write(&path, text).unwrap();
            let lock = LockFile::read(&path).unwrap();
            assert_eq!(lock.as_ref().map(|lock| lock.pid), pid);
            assert!(lock.is_none_or(|lock| lock.sockets == Path::new("/s")));
        }
    }

    #[test]
    fn a_long_log_is_told_by_its_last_lines() {
        let lines: Vec<_> = (0..20).map(|line| format!("line {line}\n\n")).collect();
        let text = lines.concat();
        let tail = tail_of(&text);
        assert!(
            tail.starts_with("line 12 | ") && tail.ends_with("line 19"),
            "{tail}"
        );
    }
}
