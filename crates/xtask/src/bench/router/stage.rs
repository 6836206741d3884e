//! What all contenders share: a private folder, one core for the proxy, one for everything else,
//! and the backend.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;

use super::error::{RouterBenchError, file};
use super::process::{Process, pinned};

/// The surroundings of a measurement; all of it is gone with this value.
#[derive(Debug)]
pub(super) struct Stage {
    // Dropped in this order: the folder after who uses it.
    _backend: Process,
    folder: TempDir,
    /// Where the proxies run, one at a time.
    pub(super) proxy_core: usize,
    /// Where the load generator and the backend run.
    pub(super) load_core: usize,
}

impl Stage {
    /// Makes the folder and starts the backend.
    pub(super) fn set() -> Result<Self, RouterBenchError> {
        Self::with_backend(&[])
    }

    /// The same, with a backend whose answers may be kept.
    pub(super) fn of_kept_pages() -> Result<Self, RouterBenchError> {
        Self::with_backend(&["--kept"])
    }

    fn with_backend(arguments: &[&str]) -> Result<Self, RouterBenchError> {
        let &[proxy_core, load_core, ..] = usable_cores()?.as_slice() else {
            return Err(RouterBenchError::Cores { found: 1 });
        };
        // nginx's worker is another user when root starts it, and has to reach the backend.
        let folder = tempfile::Builder::new()
            .prefix("emperor-bench-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .map_err(file(&std::env::temp_dir()))?;
        let backend = start_backend(&socket_in(folder.path()), load_core, arguments)?;
        Ok(Self {
            _backend: backend,
            folder,
            proxy_core,
            load_core,
        })
    }

    /// The folder for configurations, logs and sockets.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The socket of the backend.
    pub(super) fn backend(&self) -> PathBuf {
        socket_in(self.folder())
    }

    /// Writes a file into the folder.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, RouterBenchError> {
        let path = self.folder().join(name);
        fs::write(&path, text).map_err(file(&path))?;
        Ok(path)
    }
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("backend.sock")
}

fn start_backend(
    socket: &Path,
    core: usize,
    arguments: &[&str],
) -> Result<Process, RouterBenchError> {
    let listener = UnixListener::bind(socket).map_err(file(socket))?;
    let for_all = Permissions::from_mode(0o666);
    fs::set_permissions(socket, for_all).map_err(file(socket))?;
    listener.set_nonblocking(true).map_err(file(socket))?;
    let this_program = std::env::current_exe().map_err(file(Path::new("/proc/self/exe")))?;
    let mut command = pinned(core, this_program);
    command.args(["bench", "backend"]).args(arguments);
    command.stdin(std::os::fd::OwnedFd::from(listener));
    command.stdout(Stdio::null());
    Ok(Process::start(&mut command)?)
}

/// The cores this process may run on.
pub(super) fn usable_cores() -> Result<Vec<usize>, RouterBenchError> {
    let path = Path::new("/proc/self/status");
    let status = fs::read_to_string(path).map_err(file(path))?;
    let mut lines = status.lines();
    let list = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores = list.and_then(|list| parse_list(list.trim()));
    cores.ok_or_else(|| RouterBenchError::Proc {
        path: path.to_owned(),
        text: status.clone(),
    })
}

/// A list as the kernel writes it: `0-3,8`.
fn parse_list(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
        cores.extend(from..=to);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_understood() {
        let check = |list, expected: &[usize]| {
            assert_eq!(parse_list(list).as_deref(), Some(expected), "{list}");
        };
        check("0", &[0]);
        check("0-1", &[0, 1]);
        check("1,4-6", &[1, 4, 5, 6]);
        assert_eq!(parse_list("none"), None);
    }
}
