//! The Python environments of the tests: pinned versions, in folders that workers can enter.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::{fs, path};

use super::error::ProvisionError;
use super::needs::SYSTEM_PYTHON;
use crate::progress::say;
use crate::shell;
use crate::workspace::Workspace;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Environment {
    folder: &'static str,
    requirements: &'static str,
    holds: &'static str,
}

/// What most tests use.
pub(super) const NEWEST: Environment = Environment {
    folder: "test-python",
    requirements: "tests/fixtures/python/requirements.txt",
    holds: "gunicorn, uWSGI, uvicorn, granian, Django and django CMS",
};
/// For those that are run with the oldest Django that is tried, too.
pub(super) const DJANGO_4_2: Environment = Environment {
    folder: "test-python-django-4.2",
    requirements: "tests/fixtures/python/requirements-django-4.2.txt",
    holds: "gunicorn and Django 4.2",
};

/// Written last, so that an environment that was left half made is made again.
const STAMP: &str = ".requirements.txt";

/// The interpreter of an environment that holds what its requirements name.
pub(super) fn environment(
    workspace: &Workspace,
    wanted: Environment,
) -> Result<PathBuf, ProvisionError> {
    let requirements_file = workspace.path(wanted.requirements);
    let requirements = read(&requirements_file)?;
    let folder = place(workspace, wanted.folder)?;
    let python = folder.join("bin/python");
    if fs::read_to_string(folder.join(STAMP)).is_ok_and(|made_from| made_from == requirements) {
        return Ok(python);
    }
    say(&format!(
        "Making a Python environment with {}",
        wanted.holds
    ));
    let mut make = shell::command(SYSTEM_PYTHON);
    shell::run(make.args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut install = shell::command(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg("--requirement")
        .arg(&requirements_file);
    shell::run(&mut install)?;
    write(&folder.join(STAMP), &requirements)?;
    Ok(python)
}

/// Whether this process may do anything.
pub(super) fn is_root() -> Result<bool, ProvisionError> {
    Ok(metadata(Path::new("/proc/self"))?.uid() == 0)
}

/// Below `target`, unless it lies where other users can't enter (root's home, say) and workers will
/// be other users: then in `/var/tmp`, which survives a reboot.
fn place(workspace: &Workspace, name: &str) -> Result<PathBuf, ProvisionError> {
    let usual = workspace.target.join(name);
    if !is_root()? || enterable_by_all(&workspace.target) {
        return Ok(usual);
    }
    let shared = PathBuf::from(format!("/var/tmp/emperor-{name}"));
    match fs::DirBuilder::new().mode(0o755).create(&shared) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(file(&shared)(error));
        }
        Ok(()) | Err(_) => {}
    }
    // Root is about to run what is in there.
    let found = fs::symlink_metadata(&shared).map_err(file(&shared))?;
    if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(ProvisionError::Foreign { path: shared });
    }
    Ok(shared)
}

fn enterable_by_all(folder: &Path) -> bool {
    let Ok(folder) = path::absolute(folder) else {
        return false;
    };
    let enterable = |ancestor: &Path| {
        fs::metadata(ancestor).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    };
    folder.ancestors().all(enterable)
}

fn metadata(path: &Path) -> Result<fs::Metadata, ProvisionError> {
    fs::metadata(path).map_err(file(path))
}

fn read(path: &Path) -> Result<String, ProvisionError> {
    fs::read_to_string(path).map_err(file(path))
}

fn write(path: &Path, text: &str) -> Result<(), ProvisionError> {
    fs::write(path, text).map_err(file(path))
}

fn file(path: &Path) -> impl Fn(io::Error) -> ProvisionError {
    move |source| ProvisionError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_below_a_closed_one_can_t_be_entered_by_all() {
        assert!(enterable_by_all(Path::new("/usr/bin")));
        let closed = std::env::temp_dir().join(format!("xtask-closed-{}", std::process::id()));
        let inner = closed.join("inner");
        fs::create_dir_all(&inner).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let answer = enterable_by_all(&inner);
        fs::remove_dir_all(&closed).unwrap();
        assert!(!answer);
    }
}
