//! Why a private cluster doesn't run, each in one line with what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::link::LinkError;

/// Why a private cluster can't be started or stopped.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL is not installed (looked for initdb and postgres in PATH and in \
         /usr/lib/postgresql/*/bin and the like); install it: apt install postgresql (Debian, \
         Ubuntu), dnf install postgresql-server (Fedora, RHEL), apk add postgresql (Alpine); or \
         set database.url"
    )]
    NoPrograms,
    /// The data folder was made by another major version than any that is installed.
    #[error(
        "{dir} was made by PostgreSQL {made_by}, found here: {found}; install PostgreSQL \
         {made_by}, or upgrade the folder with pg_upgrade"
    )]
    OtherMajor {
        /// The data folder.
        dir: PathBuf,
        /// The version in its `PG_VERSION`.
        made_by: String,
        /// The versions installed.
        found: String,
    },
    /// The installed PostgreSQL is older than 13.
    #[error("the installed PostgreSQL is {found}; 13 or newer is needed")]
    TooOld {
        /// The versions installed.
        found: String,
    },
    /// The emperor is root, PostgreSQL refuses to run as root, and there is nobody else.
    #[error(
        "PostgreSQL doesn't run as root, and there is no user \"postgres\"; create one: useradd \
         --system postgres (a number without an account won't do: initdb looks its name up)"
    )]
    NoOwner,
    /// The user that PostgreSQL runs as can't get to the folder.
    #[error(
        "PostgreSQL runs as uid {uid} and can't pass {folder} on the way to {dir}; run chmod o+x \
         {folder}, or choose another state_dir"
    )]
    ClosedFolder {
        /// The user.
        uid: u32,
        /// The folder in the way.
        folder: PathBuf,
        /// Where it was to get to.
        dir: PathBuf,
    },
    /// The path of the socket is longer than the kernel allows.
    #[error(
        "the socket path {path} has {length} bytes, the kernel allows 107; choose a shorter \
         runtime_dir"
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// A file operation failed.
    #[error("could not {doing} {path}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("could not run {program}: {source}")]
    Run {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// `initdb` failed.
    #[error("initdb could not make {dir}: {output}")]
    Initdb {
        /// The data folder.
        dir: PathBuf,
        /// The last lines it wrote.
        output: String,
    },
    /// The server ended while it started.
    #[error("PostgreSQL ended while starting; its last lines ({log}): {lines}")]
    Ended {
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        lines: String,
    },
    /// The server runs and takes no connection.
    #[error(
        "PostgreSQL takes no connection after {seconds}s ({cause}); its last lines ({log}): \
         {lines}"
    )]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The last attempt's error.
        cause: LinkError,
        /// Its log.
        log: PathBuf,
        /// The last lines of it.
        lines: String,
    },
    /// Another server runs on the data folder and doesn't end.
    #[error("process {pid} runs on {dir} and doesn't end; end it by hand")]
    Occupied {
        /// The process.
        pid: u32,
        /// The data folder.
        dir: PathBuf,
    },
}

impl ClusterError {
    /// Whether two attempts failed for one cause: what they say differs in numbers at most, such as
    /// the times and pids in a server's last lines.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let words = |error: &Self| error.to_string().replace(|c: char| c.is_ascii_digit(), "");
        std::mem::discriminant(self) == std::mem::discriminant(other) && words(self) == words(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_that_failed_for_one_cause_are_alike() {
        let ended = |lines: &str| ClusterError::Ended {
            log: "/log".into(),
            lines: lines.to_owned(),
        };
        let first = ended("2026-01-02 03:04:05.678 UTC [12] FATAL:  could not map: disk full");
        let again = ended("2026-01-02 03:04:59.001 UTC [3456] FATAL:  could not map: disk full");
        let other = ended("2026-01-02 03:04:59.001 UTC [3456] FATAL:  no such setting");
        assert!(first.is_like(&again));
        assert!(!first.is_like(&other));
        assert!(!first.is_like(&ClusterError::NoPrograms));
    }
}
