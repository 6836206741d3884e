//! The folder of one instance.
//!
//! | entry | owner | mode | what |
//! |---|---|---|---|
//! | `.` | emperor | 0711 | |
//! | `private/` | the site's user | 0700 | rendered files; `instance.dir` |
//! | `s` | emperor, router's group | 0660 | the socket the worker inherits (`listen = "fd"`) |
//! | `sock/` | the site's user, router's group | 2700 | holds the socket `s` that the worker binds (`listen = "path"`) |
//! | `r/` | emperor, router's group | 0710 | holds the name `s` under which that socket is reached |
//! | `log/out`, `log/err` | the site's user | 0600 | FIFOs for its output |
//! | `notify` | the site's user | 0600 | `NOTIFY_SOCKET` |
//! | `instance.json` | emperor | 0600 | which process runs here |
//! | `memory.json` | emperor | 0600 | how far it is |
//!
//! Everything is made by name *within* a folder that is held open, with no symbolic link followed,
//! and given to the site's user last: until then that user can't have put anything in its way.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, chownat, fchmod, fchown, mkdirat, mknodat,
    openat,
};
use rustix::pipe::fcntl_setpipe_size;
use tokio::net::unix::pipe::Receiver;
use vassal_core::RenderedFile;
use wire::exec::Identity;

use super::failure::{Doing, PathFailure, SpawnFailure};

const PASSAGE: u32 = 0o711;
const PRIVATE: u32 = 0o700;
const FILE: u32 = 0o600;
/// Set-group-id: what the worker binds there belongs to the router's group from the first moment.
const BIND_FOLDER: u32 = 0o2700;
const REACH_FOLDER: u32 = 0o710;

/// For both ends, so that neither ever finds the pipe without the other.
const PIPE: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Room for what a process writes while no emperor reads. The kernel gives less (1 MiB, unless it was told
/// otherwise) to all whose pipes it counts, and gives them hardly any once they have many; to ask for
/// more is refused to those and to nobody else. Theirs keep the 64 KiB they are made with.
pub(super) const PIPE_BYTES: usize = 2 * 1024 * 1024;

/// An instance's folder, held open.
#[derive(Debug)]
pub(super) struct InstanceFolder {
    path: PathBuf,
    opened: OwnedFd,
}

/// One of a process's outputs.
#[derive(Debug)]
pub(super) struct Pipe {
    /// For the process: opened for reading as well, so that its writing end never finds the pipe
    /// without a reader, whatever becomes of the emperor.
    pub(super) process_end: OwnedFd,
    /// For the emperor.
    pub(super) own_end: Receiver,
}

impl InstanceFolder {
    /// Makes it.
    pub(super) fn make(path: PathBuf) -> Result<Self, PathFailure> {
        mkdirat(CWD, &path, Mode::from_raw_mode(PRIVATE)).doing("make the folder", &path)?;
        let opened = openat(CWD, &path, folder_flags(), Mode::empty()).doing("open", &path)?;
        fchmod(&opened, Mode::from_raw_mode(PASSAGE)).doing("set the mode of", &path)?;
        Ok(Self { path, opened })
    }

    /// Opens one that an earlier emperor made.
    pub(super) fn open(path: PathBuf) -> Result<Self, PathFailure> {
        let opened = openat(CWD, &path, folder_flags(), Mode::empty()).doing("open", &path)?;
        Ok(Self { path, opened })
    }

    /// The emperor's ends of the pipes that an earlier emperor made: what was written since is in
    /// them, since the process itself holds them open.
    pub(super) fn open_pipes(&self) -> Result<[Receiver; 2], PathFailure> {
        let path = self.path.join("log");
        let open = |name| own_end(&self.opened, &format!("log/{name}"), &path.join(name));
        Ok([open("out")?, open("err")?])
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// `SITE.INCARNATION`
    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub(super) fn opened(&self) -> &OwnedFd {
        &self.opened
    }

    pub(super) fn private(&self) -> PathBuf {
        self.path.join("private")
    }

    pub(super) fn notify(&self) -> PathBuf {
        self.path.join("notify")
    }

    /// Where the socket is that the emperor binds.
    pub(super) fn bound_socket(&self) -> PathBuf {
        self.path.join("s")
    }

    /// Where the worker is to bind its socket.
    pub(super) fn socket_to_bind(&self) -> PathBuf {
        self.path.join("sock/s")
    }

    /// Where that socket is reached.
    pub(super) fn socket_let_out(&self) -> PathBuf {
        self.path.join("r/s")
    }

    /// Makes the private folder with its files.
    pub(super) fn make_private(
        &self,
        files: &[RenderedFile],
        user: &Identity,
    ) -> Result<(), SpawnFailure> {
        let path = self.private();
        let folder = self.make_within("private", &path)?;
        for file in files {
            write_file(&folder, &path, file, user)?;
        }
        give(&folder, user).doing("give to its user", &path)?;
        Ok(())
    }

    /// Makes the folders for a socket that the worker binds: one to bind it in, one to reach it.
    pub(super) fn make_socket_folders(
        &self,
        user: &Identity,
        router: Gid,
    ) -> Result<(), PathFailure> {
        let own = rustix::process::geteuid();
        self.make_shared("sock", Uid::from_raw(user.uid), router, BIND_FOLDER)?;
        self.make_shared("r", own, router, REACH_FOLDER)
    }

    fn make_shared(
        &self,
        name: &str,
        owner: Uid,
        group: Gid,
        mode: u32,
    ) -> Result<(), PathFailure> {
        let path = self.path.join(name);
        let folder = self.make_within(name, &path)?;
        fchown(&folder, Some(owner), Some(group)).doing("give to its user", &path)?;
        // After the owner: changing that takes the set-group-id bit away.
        fchmod(&folder, Mode::from_raw_mode(mode)).doing("set the mode of", &path)
    }

    /// Makes and opens the pipes for standard output and standard error.
    pub(super) fn make_pipes(&self, user: &Identity) -> Result<[Pipe; 2], PathFailure> {
        let path = self.path.join("log");
        let folder = self.make_within("log", &path)?;
        fchmod(&folder, Mode::from_raw_mode(PASSAGE)).doing("set the mode of", &path)?;
        Ok([
            make_pipe(&folder, &path, "out", user)?,
            make_pipe(&folder, &path, "err", user)?,
        ])
    }

    fn make_within(&self, name: &str, path: &Path) -> Result<OwnedFd, PathFailure> {
        mkdirat(&self.opened, name, Mode::from_raw_mode(PRIVATE)).doing("make the folder", path)?;
        openat(&self.opened, name, folder_flags(), Mode::empty()).doing("open", path)
    }
}

fn folder_flags() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

fn give(what: &OwnedFd, user: &Identity) -> rustix::io::Result<()> {
    fchown(
        what,
        Some(Uid::from_raw(user.uid)),
        Some(Gid::from_raw(user.gid)),
    )
}

fn write_file(
    folder: &OwnedFd,
    path: &Path,
    file: &RenderedFile,
    user: &Identity,
) -> Result<(), SpawnFailure> {
    let name = file.name.as_str();
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(SpawnFailure::FileName(name.to_owned()));
    }
    let path = path.join(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::from_raw_mode(FILE)).doing("write", &path)?;
    give(&opened, user).doing("give to its user", &path)?;
    File::from(opened)
        .write_all(file.text.as_bytes())
        .doing("write", &path)?;
    Ok(())
}

fn own_end(folder: &OwnedFd, name: &str, path: &Path) -> Result<Receiver, PathFailure> {
    let flags = PIPE | OFlags::NONBLOCK;
    let opened = openat(folder, name, flags, Mode::empty()).doing("open the pipe", path)?;
    // Refuses what is no pipe.
    Receiver::from_owned_fd(opened).doing("read", path)
}

fn make_pipe(
    folder: &OwnedFd,
    path: &Path,
    name: &str,
    user: &Identity,
) -> Result<Pipe, PathFailure> {
    let path = path.join(name);
    let mode = Mode::from_raw_mode(FILE);
    mknodat(folder, name, FileType::Fifo, mode, 0).doing("make the pipe", &path)?;
    let process_end = openat(folder, name, PIPE, Mode::empty()).doing("open the pipe", &path)?;
    // Refused, it is as large as pipes are.
    let _as_it_is = fcntl_setpipe_size(&process_end, PIPE_BYTES);
    let pipe = Pipe {
        process_end,
        own_end: own_end(folder, name, &path)?,
    };
    // Its own user may open it by name, as programs do that log to /dev/stderr.
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    chownat(
        folder,
        name,
        Some(uid),
        Some(gid),
        AtFlags::SYMLINK_NOFOLLOW,
    )
    .doing("give to its user", &path)?;
    Ok(pipe)
}
