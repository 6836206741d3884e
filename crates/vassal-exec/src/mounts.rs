//! What the worker sees of the file system: a mount namespace, made while the rights for it are
//! still there. What is changed in it, nobody outside of it sees, and it ends with the instance.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FileType, Mode, OFlags, RawMode, chmod, fstat, mkdir, open, stat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_bind, mount_change, move_mount, open_tree, unmount,
};
use wire::exec::{ExecFailure, ExecStep, Mounts};

use crate::failure::AtStep;
use crate::walls::{Foreman, Obstacle};

const TMP: &str = "/tmp";
const VAR_TMP: &str = "/var/tmp";

/// Makes the namespace, and changes in it what the plan says.
pub(crate) fn enter(mounts: &Mounts, foreman: &Foreman<'_>) -> Result<(), ExecFailure> {
    let namespace = own_namespace();
    if namespace.is_err() {
        // Nothing below may be done to the emperor's own.
        return foreman.accept(namespace);
    }
    if !mounts.inaccessible.is_empty() {
        foreman.accept(hide(&mounts.inaccessible))?;
    }
    if let Some(bytes) = mounts.private_tmp {
        foreman.accept(private_tmp(bytes, &mounts.kept))?;
    }
    if let Some(writable) = &mounts.read_only_but {
        foreman.accept(read_only_but(writable))?;
    }
    Ok(())
}

/// What the machine mounts and unmounts later is seen in it too; not the other way round.
fn own_namespace() -> Result<(), Obstacle> {
    let step = ExecStep::MountNamespace;
    unshare(CloneFlags::CLONE_NEWNS).at(step, || "of its own".to_owned())?;
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", slave).at(step, || "apart from the machine's".to_owned())?;
    Ok(())
}

/// Puts something empty and closed over each path.
fn hide(paths: &[PathBuf]) -> Result<(), Obstacle> {
    let shown = |path: &PathBuf| path.display().to_string();
    let types = paths.iter().map(|path| {
        let found = stat(path).at(ExecStep::Inaccessible, || shown(path))?;
        Ok(FileType::from_raw_mode(found.st_mode as RawMode))
    });
    let types: Vec<FileType> = types.collect::<Result<_, ExecFailure>>()?;
    // Clones of a folder and a file on a file system that is taken away again.
    tmpfs(TMP, "size=64k,mode=0700").at(ExecStep::Inaccessible, || format!("(below {TMP})"))?;
    let blanks = types.into_iter().map(blank).collect::<Result<Vec<_>, _>>();
    unmount(TMP, UnmountFlags::DETACH).at(ExecStep::Inaccessible, || format!("(below {TMP})"))?;
    let blanks = blanks.at(ExecStep::Inaccessible, || format!("(below {TMP})"))?;
    for (path, blank) in paths.iter().zip(blanks) {
        put(&blank, path).at(ExecStep::Inaccessible, || shown(path))?;
    }
    Ok(())
}

/// A mount of something that nobody may read, of the kind of what it is to cover.
fn blank(kind: FileType) -> rustix::io::Result<OwnedFd> {
    let path = Path::new(TMP).join(if kind.is_dir() { "folder" } else { "file" });
    let made = if kind.is_dir() {
        mkdir(&path, Mode::empty())
    } else {
        open(&path, new_file(), Mode::empty()).map(drop)
    };
    match made {
        Err(rustix::io::Errno::EXIST) | Ok(()) => open_tree(CWD, &path, clone_flags()),
        Err(error) => Err(error),
    }
}

/// Covers `/tmp` and `/var/tmp`, and lets what is to be kept be found in them again.
fn private_tmp(bytes: u64, kept: &[PathBuf]) -> Result<(), Obstacle> {
    let step = ExecStep::PrivateTmp;
    let kept: BTreeSet<&Path> = kept.iter().map(PathBuf::as_path).collect();
    let outermost = kept.iter().filter(|path| {
        // What lies in another that is kept comes with it.
        let mut above = path.ancestors().skip(1);
        is_temporary(path) && !above.any(|folder| kept.contains(folder))
    });
    let clones = outermost.map(|path| {
        let clone = open_tree(CWD, *path, clone_flags() | OpenTreeFlags::AT_RECURSIVE);
        let clone = clone.at(step, || format!("{} in it", path.display()))?;
        Ok((*path, clone))
    });
    let clones: Vec<_> = clones.collect::<Result<_, ExecFailure>>()?;
    tmpfs(TMP, &format!("size={bytes},mode=1777")).at(step, || TMP.to_owned())?;
    match mount_bind(TMP, VAR_TMP) {
        // Nothing is there that could be shared.
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        refused => refused.at(step, || VAR_TMP.to_owned())?,
    }
    for (path, clone) in clones {
        let mounted = make_way(path, &clone).and_then(|()| put(&clone, path));
        mounted.at(step, || format!("{} in it", path.display()))?;
    }
    Ok(())
}

/// Makes something to mount a clone on, and the folders on the way to it.
fn make_way(path: &Path, clone: &OwnedFd) -> rustix::io::Result<()> {
    let way = path
        .ancestors()
        .skip(1)
        .filter(|folder| is_temporary(folder));
    let mut way: Vec<_> = way.collect();
    way.reverse();
    for folder in way {
        match mkdir(folder, Mode::empty()) {
            // Set whatever the umask is: the worker has to go through.
            Ok(()) => chmod(folder, Mode::from_raw_mode(0o755))?,
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
    match FileType::from_raw_mode(fstat(clone)?.st_mode as RawMode) {
        FileType::Directory => mkdir(path, Mode::empty()),
        _ => open(path, new_file(), Mode::empty()).map(drop),
    }
}

fn new_file() -> OFlags {
    OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC
}

/// Whether a path lies below one of them.
fn is_temporary(path: &Path) -> bool {
    let mut above = path.ancestors().skip(1);
    above.any(|folder| folder == Path::new(TMP) || folder == Path::new(VAR_TMP))
}

fn tmpfs(at: &str, options: &str) -> rustix::io::Result<()> {
    let options = CString::new(options).expect("numbers and words have no NUL");
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("emperor", at, "tmpfs", flags, &*options)
}

/// Makes every mount read-only, save those that are made of what stays writable.
fn read_only_but(writable: &[PathBuf]) -> Result<(), Obstacle> {
    let step = ExecStep::ReadOnly;
    for path in writable {
        // A mount of its own, so that it can be told from what is around it.
        let itself = open_tree(CWD, path, clone_flags() | OpenTreeFlags::AT_RECURSIVE);
        let itself = itself.at(step, || format!("all but {}", path.display()))?;
        put(&itself, path).at(step, || format!("all but {}", path.display()))?;
    }
    set_attributes(Path::new("/"), libc::MOUNT_ATTR_RDONLY, 0).at(step, || "/".to_owned())?;
    for path in writable {
        set_attributes(path, 0, libc::MOUNT_ATTR_RDONLY)
            .at(step, || format!("all but {}", path.display()))?;
    }
    Ok(())
}

fn clone_flags() -> OpenTreeFlags {
    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC
}

/// Mounts a clone at a path.
fn put(clone: &OwnedFd, at: &Path) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(clone.as_fd(), "", CWD, at, flags)
}

/// `mount_setattr(2)` on the mount at a path and on all below it, which no crate wraps.
fn set_attributes(path: &Path, set: u64, clear: u64) -> Result<(), Errno> {
    let opened = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    let attributes = libc::mount_attr {
        attr_set: set,
        attr_clr: clear,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the kernel reads the empty path, which ends with a NUL, and as many bytes of
    // `attributes` as it is told, which is the size of what stands there; both live until it
    // returns. It writes to neither. `opened` is open as long as it is borrowed here. What the call
    // does to mounts is no matter of this process's memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            opened.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop)
}
