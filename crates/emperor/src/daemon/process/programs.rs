//! Where Emperor's other programs are: beside its own executable, as `cargo build`, a package and a
//! copied folder all have them. Never sought on `PATH`: what runs as root is not to be found by an
//! environment variable.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The programs that the emperor starts.
#[derive(Debug, Clone)]
pub(crate) struct OwnPrograms {
    /// The helper that becomes the worker.
    pub(crate) vassal_exec: PathBuf,
    /// The router.
    pub(crate) fastrouter: PathBuf,
}

/// A program that belongs to this one is not there.
#[derive(Debug, Error)]
pub(crate) enum MissingProgram {
    /// The path of the running program can't be had.
    #[error("can't find out where this program lies, and its other programs lie beside it")]
    OwnPath(#[source] io::Error),
    /// There is no such file beside it.
    #[error("{} is missing: vassal-exec and fastrouter must lie beside emperor; install all three", .0.display())]
    NotThere(PathBuf),
}

impl OwnPrograms {
    /// Finds them beside the executable that is running.
    pub(crate) fn locate() -> Result<Self, MissingProgram> {
        let own = std::env::current_exe().map_err(MissingProgram::OwnPath)?;
        Self::within(own.parent().unwrap_or(Path::new("/")))
    }

    /// Finds them in a folder.
    pub(crate) fn within(folder: &Path) -> Result<Self, MissingProgram> {
        let find = |name: &str| {
            let path = folder.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(MissingProgram::NotThere(path))
            }
        };
        Ok(Self {
            vassal_exec: find("vassal-exec")?,
            fastrouter: find("fastrouter")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vassal-exec"), "").unwrap();
        let error = OwnPrograms::within(folder.path()).unwrap_err();
        let path = folder.path().join("fastrouter");
        assert!(error.to_string().starts_with(path.to_str().unwrap()));
    }
}
