//! Finding the machine's PostgreSQL programs.
//!
//! Distributions keep `initdb` and `postgres` out of `PATH`, one folder per major version.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders of one level per version: `/usr/lib/postgresql/15/bin`, `/usr/pgsql-16/bin`.
const VERSIONED: &[(&str, &str)] = &[
    ("/usr/lib/postgresql", "bin"),
    ("/usr", "bin"),
    ("/usr/libexec", ""),
    ("/opt/homebrew/opt", "bin"),
    ("/usr/local/opt", "bin"),
    ("/Library/PostgreSQL", "bin"),
];
/// Folders that hold the programs themselves.
const PLAIN: &[&str] = &[
    "/usr/local/pgsql/bin",
    "/usr/local/bin",
    "/usr/bin",
    "/usr/libexec/postgresql",
    "/run/current-system/sw/bin",
];

/// The programs of one PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Programs {
    /// Its major version: 15.
    pub major: u32,
    /// The folder that holds `initdb` and `postgres`.
    pub bin_dir: PathBuf,
}

impl Programs {
    /// `initdb`
    pub fn initdb(&self) -> PathBuf {
        self.bin_dir.join("initdb")
    }

    /// `postgres`
    pub fn postgres(&self) -> PathBuf {
        self.bin_dir.join("postgres")
    }

    /// `psql`: beside the others, or else wherever `PATH` has it, since it comes in a package of
    /// its own.
    pub fn psql(&self) -> PathBuf {
        let beside = self.bin_dir.join("psql");
        if beside.is_file() {
            beside
        } else {
            PathBuf::from("psql")
        }
    }
}

/// Every PostgreSQL of this machine, the newest first. `path` is the value of `PATH`.
///
/// Asks each for its version, so it starts a process per place found.
pub async fn find_programs(path: Option<&std::ffi::OsStr>) -> Vec<Programs> {
    let mut found = BTreeSet::new();
    for dir in candidates(path) {
        if let Some(major) = major_version(&dir.join("postgres")).await {
            found.insert(Programs {
                major,
                bin_dir: dir,
            });
        }
    }
    found.into_iter().rev().collect()
}

/// Folders with both programs, links resolved, so that each is looked at once.
fn candidates(path: Option<&std::ffi::OsStr>) -> BTreeSet<PathBuf> {
    let in_path = path.into_iter().flat_map(std::env::split_paths);
    let plain = PLAIN.iter().map(PathBuf::from);
    let versioned = VERSIONED
        .iter()
        .flat_map(|(root, below)| versions_below(Path::new(root), below));
    in_path
        .chain(plain)
        .chain(versioned)
        .filter_map(|dir| std::fs::canonicalize(dir.join("postgres")).ok())
        .filter_map(|program| program.parent().map(Path::to_path_buf))
        .filter(|dir| dir.join("initdb").is_file())
        .collect()
}

fn versions_below(root: &Path, below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let named = |name: &str| {
        let rest = name.strip_prefix("pgsql-").unwrap_or(name);
        let rest = rest.strip_prefix("postgresql@").unwrap_or(rest);
        let rest = rest.strip_prefix("postgresql").unwrap_or(rest);
        !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(named))
        .map(|entry| entry.path().join(below))
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks a program of the machine for its version; no worker is started here"
)]
async fn major_version(postgres: &Path) -> Option<u32> {
    let output = tokio::process::Command::new(postgres)
        .arg("--version")
        .env_clear()
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .ok()?;
    parse_version(std::str::from_utf8(&output.stdout).ok()?)
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `postgres (PostgreSQL) 19devel`
fn parse_version(text: &str) -> Option<u32> {
    let version = text.split_once(") ")?.1;
    let end = version.find(|c: char| !c.is_ascii_digit());
    version[..end.unwrap_or(version.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_any_build() {
        for (text, major) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                Some(15),
            ),
            ("postgres (PostgreSQL) 19devel\n", Some(19)),
            ("postgres (PostgreSQL) 9.6.24\n", Some(9)),
            ("no version", None),
            ("postgres (PostgreSQL) x", None),
        ] {
            assert_eq!(parse_version(text), major, "{text:?}");
        }
    }

    #[test]
    fn versions_are_found_below_a_folder_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "15",
            "pgsql-16",
            "postgresql@17",
            "postgresql14",
            "share",
            "pgsql-",
        ] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let mut found = versions_below(root.path(), "bin");
        found.sort();
        let names = [
            "15/bin",
            "pgsql-16/bin",
            "postgresql14/bin",
            "postgresql@17/bin",
        ];
        assert_eq!(found, names.map(|name| root.path().join(name)));
    }
}
