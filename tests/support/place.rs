//! A private folder that other users may enter, free ports, and the fixtures.

use std::fs::{self, Metadata};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};

use tempfile::TempDir;

use crate::program;

/// Where the place's own copies of the three programs are, if it has any.
pub(crate) const OWN_PROGRAMS: &str = "bin";

/// A folder that is gone afterwards.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    disks: Vec<PathBuf>,
}

impl Place {
    /// Makes it. Its path is short, since unix sockets below it have room for 107 bytes.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("emp-")
            .tempdir_in("/tmp")
            .unwrap();
        // Workers run as users of their own.
        open_to_all(folder.path());
        Self {
            folder,
            disks: Vec::new(),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// A folder in it, made if need be, that everybody may enter.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.join(name);
        fs::create_dir_all(&folder).unwrap();
        open_to_all(&folder);
        folder
    }

    /// Makes a disk in memory of a folder in it, with room for so much (`16m`). False where this
    /// process may not mount.
    pub fn disk(&mut self, name: &str, size: &str) -> bool {
        let folder = self.folder(name);
        let mut mount = program::command("mount");
        mount.args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={size},mode=755"),
            "tmpfs",
        ]);
        let mounted = is_root() && mount.arg(&folder).status().unwrap().success();
        if mounted {
            self.disks.push(folder);
        }
        mounted
    }

    /// A copy of one folder of `tests/fixtures`, so that workers can read it wherever the sources
    /// are, and nobody writes `__pycache__` into them.
    pub fn fixture(&self, name: &str) -> PathBuf {
        let copy = self.join(name);
        if !copy.exists() {
            let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
            copy_folder(&fixtures.join(name), &copy);
        }
        copy
    }

    /// A copy of the tiny worker.
    pub fn tiny_worker(&self) -> PathBuf {
        self.copy_of("tiny-worker")
    }

    /// A copy of the steady worker.
    pub fn steady_worker(&self) -> PathBuf {
        self.copy_of("steady-worker")
    }

    /// A copy of the worker whose pages are rows.
    pub fn paper_worker(&self) -> PathBuf {
        self.copy_of("paper-worker")
    }

    /// Copies the three programs, so that they can be replaced. An emperor that is started here
    /// afterwards is the copy.
    pub fn own_programs(&self) {
        self.folder(OWN_PROGRAMS);
        for program in ["emperor", "fastrouter", "vassal-exec"] {
            self.renew_program(program);
        }
    }

    /// Puts another file in the place of a program, as an upgrade does: the old one is unlinked and
    /// runs on.
    pub fn renew_program(&self, program: &str) {
        let path = self.join(OWN_PROGRAMS).join(program);
        let new = path.with_extension("new");
        copy_program(program, &new);
        fs::rename(new, path).unwrap();
    }

    fn copy_of(&self, program: &str) -> PathBuf {
        let copy = self.join(program);
        if !copy.exists() {
            copy_program(program, &copy);
        }
        copy
    }
}

/// By a process of its own: a file that this one writes to is open as well in whatever another test's thread
/// is about to start, and until that is on its way the kernel runs no such file.
fn copy_program(program: &str, to: &Path) {
    let mut copy = program::command("cp");
    program::run(copy.arg(program::built(program)).arg(to));
}

impl Drop for Place {
    fn drop(&mut self) {
        for disk in &self.disks {
            // Lazily, since a process of a failed test may still have a file open there.
            let mut unmount = program::command("umount");
            let _stays = unmount.arg("--lazy").arg(disk).status();
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// A port that nobody else in this process was given, below those that the kernel gives out for
/// outgoing connections. Tests of this package run in one process, so none takes another's.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Looks at everything below a folder. Who lives there goes on meanwhile, renames what it has written, and
/// removes what it needs no longer: what is gone when it is looked at isn't there.
pub fn walk(folder: &Path, see: &mut impl FnMut(&Path, &Metadata)) {
    for entry in there(folder, fs::read_dir(folder)).into_iter().flatten() {
        let path = entry.unwrap().path();
        let Some(found) = there(&path, fs::symlink_metadata(&path)) else {
            continue;
        };
        see(&path, &found);
        if found.is_dir() {
            walk(&path, see);
        }
    }
}

/// What was found at a path; `None`: nothing is there any more.
pub fn there<T>(path: &Path, found: io::Result<T>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => panic!("{}: {error}", path.display()),
    }
}

/// Whether this process may do anything; workers then run as users of their own.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The Python with the application servers.
pub fn python() -> PathBuf {
    provisioned("EMPEROR_TEST_PYTHON")
}

/// The Python with Django 4.2.
pub fn python_with_django_4_2() -> PathBuf {
    provisioned("EMPEROR_TEST_PYTHON_DJANGO_4_2")
}

/// node.
pub fn node() -> PathBuf {
    provisioned("EMPEROR_TEST_NODE")
}

fn provisioned(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable) else {
        panic!("{variable} isn't set: run these tests by `cargo xtask test`, which installs it");
    };
    path.into()
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    open_to_all(to);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}
