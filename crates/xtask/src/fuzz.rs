//! `cargo xtask fuzz`: every parser of bytes from outside, each under libFuzzer for a while.
//!
//! The targets are the files of `tests/fuzz/targets`, a workspace of its own, since they are built
//! with instrumentation that the compiler calls unstable (hence `RUSTC_BOOTSTRAP`: the toolchain
//! stays the stable one). Corpora grow under `tests/fuzz/corpus`, from the committed seeds.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use thiserror::Error;

use crate::progress::say;
use crate::workspace::Workspace;
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// These targets alone
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Why nothing could be fuzzed.
#[derive(Debug, Error)]
pub(crate) enum FuzzError {
    /// A folder of the fuzz package is not as it should be.
    #[error("could not use {path}")]
    Folder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A target was asked for that doesn't exist.
    #[error("there is no fuzz target {name:?}; there are {}", known.join(", "))]
    UnknownTarget { name: String, known: Vec<String> },
}

/// Runs the targets one after the other and stops at the first that finds something.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    provision::for_fuzz()?;
    let folder = workspace.path("tests/fuzz");
    for target in chosen(known_targets(&folder)?, &arguments.targets)? {
        say(&format!("fuzzing {target} for {} s", arguments.seconds));
        run_target(workspace, &folder, &target, arguments.seconds)?;
    }
    say("no target found anything");
    Ok(())
}

fn run_target(
    workspace: &Workspace,
    folder: &Path,
    target: &str,
    seconds: u32,
) -> Result<(), TaskError> {
    // The first corpus is the one that libFuzzer writes to; the seeds are only read.
    let corpus = folder.join("corpus").join(target);
    fs::create_dir_all(&corpus).map_err(|source| FuzzError::Folder {
        path: corpus.clone(),
        source,
    })?;
    let mut fuzz = workspace.cargo("fuzz");
    fuzz.env("RUSTC_BOOTSTRAP", "1")
        .args(["run", "--fuzz-dir"])
        .arg(folder)
        .arg(target)
        .arg(corpus)
        .arg(folder.join("seeds").join(target))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .args(["-print_final_stats=1", "-max_len=8192", "-timeout=10"]);
    Ok(shell::run(&mut fuzz)?)
}

fn known_targets(folder: &Path) -> Result<Vec<String>, FuzzError> {
    let path = folder.join("targets");
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&path)? {
            let file = entry?.path();
            names.extend(file.file_stem().map(|stem| stem.to_string_lossy().into()));
        }
        names.sort();
        Ok(names)
    };
    read().map_err(|source| FuzzError::Folder {
        path: path.clone(),
        source,
    })
}

fn chosen(known: Vec<String>, wanted: &[String]) -> Result<Vec<String>, FuzzError> {
    if let Some(name) = wanted.iter().find(|name| !known.contains(name)) {
        let name = name.clone();
        return Err(FuzzError::UnknownTarget { name, known });
    }
    if wanted.is_empty() {
        return Ok(known);
    }
    Ok(wanted.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_every_target_runs_and_a_wrong_name_runs_none() {
        let known = || vec!["host".to_owned(), "template".to_owned()];
        assert_eq!(chosen(known(), &[]).unwrap(), known());
        assert_eq!(chosen(known(), &["host".into()]).unwrap(), ["host"]);
        assert!(chosen(known(), &["hosts".into()]).is_err());
    }
}
