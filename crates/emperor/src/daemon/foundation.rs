//! What the daemon stands on, laid in this order: its catalog, its locks, folders and users, the
//! sockets of clients, the sockets of its own programs. Each of it may be refused, and then nothing
//! was started.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tokio::net::UnixListener;
use tracing::warn;
use vassal_core::Catalog;

use super::catalog::{self, AssemblyError};
use super::lock::{FolderLock, LockError};
use super::process::{
    Launcher, LauncherOptions, Left, MEETING_PLACE, MissingProgram, OwnPrograms, PrepareError,
};
use super::router::listeners::{ListenError, Listeners};
use super::router::settings::ACCESS_LOG;
use super::router::socket::{self, LinkSocketError};
use crate::config::Config;
use crate::config::model::AccessLog;
use crate::control::{ControlSocket, SocketError};

/// Something the daemon stands on can't be had.
#[derive(Debug, Error)]
pub(crate) enum FoundationError {
    /// A program that belongs to this one is missing.
    #[error(transparent)]
    Programs(#[from] MissingProgram),
    /// Templates or overlays are wrong.
    #[error(transparent)]
    Catalog(#[from] AssemblyError),
    /// `state_dir` can't be made.
    #[error(
        "could not make state_dir {}: {source}; make it for the emperor's user, or choose another \
         state_dir in emperor.toml", path.display()
    )]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another emperor runs there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A listening socket can't be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Folders or users are not as they must be.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The control socket can't be had.
    #[error(transparent)]
    Control(#[from] SocketError),
    /// The fastrouter's link can't be had.
    #[error(transparent)]
    Link(#[from] LinkSocketError),
}

/// What the daemon stands on.
#[derive(Debug)]
pub(super) struct Foundation {
    /// Of `state_dir` and of `runtime_dir`.
    pub(super) locks: [FolderLock; 2],
    pub(super) catalog: Arc<Catalog>,
    pub(super) listeners: Listeners,
    pub(super) launcher: Arc<Launcher>,
    pub(super) control: ControlSocket,
    pub(super) link: UnixListener,
    pub(super) access_log: Option<OwnedFd>,
    /// What an emperor that was killed left running.
    pub(super) left: Left,
}

impl Foundation {
    /// Lays all of it, and finds what an emperor that was killed left running: that stays as it is.
    pub(super) async fn lay(config: &Config) -> Result<Self, FoundationError> {
        let programs = OwnPrograms::locate()?;
        let catalog = Arc::new(catalog::assemble(config)?);
        make_state_dir(&config.state_dir)?;
        let state_lock = FolderLock::take(&config.state_dir)?;
        let launcher = Launcher::prepare(launcher_options(config, programs)).await?;
        // Before anything is looked for: what runs there may be another emperor's, and well.
        let runtime_lock = FolderLock::take(&config.runtime_dir)?;
        let mut left = launcher.left().await;
        let regained = regain(&launcher, &mut left).await;
        let listeners = Listeners::bind(&config.router.listen, regained)?;
        let control = ControlSocket::bind(&config.runtime_dir).await?;
        let link = socket::bind(&config.runtime_dir, launcher.router_identity().gid)?;
        Ok(Self {
            locks: [state_lock, runtime_lock],
            catalog,
            listeners,
            launcher: Arc::new(launcher),
            control,
            link,
            access_log: open_access_log(config),
            left,
        })
    }
}

/// The listening sockets of a router that outlived its emperor. Where they can't be had, the router
/// has to end first: nobody else can listen where it does.
async fn regain(launcher: &Launcher, left: &mut Left) -> Vec<(String, OwnedFd)> {
    let Some(router) = left.fastrouters.first() else {
        return Vec::new();
    };
    let error = match router.sockets() {
        Ok(sockets) => return sockets,
        Err(error) => error,
    };
    warn!(
        pid = router.pid(), %error,
        "the listening sockets can't be had from the fastrouter that an earlier emperor left; it is \
         ended and started anew. As root or with CAP_SYS_PTRACE they can"
    );
    for router in std::mem::take(&mut left.fastrouters) {
        launcher.end_left_fastrouter(router).await;
    }
    Vec::new()
}

fn make_state_dir(path: &Path) -> Result<(), FoundationError> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.map_err(|source| FoundationError::StateDir {
        path: path.to_owned(),
        source,
    })
}

fn launcher_options(config: &Config, programs: OwnPrograms) -> LauncherOptions {
    LauncherOptions {
        programs,
        runtime_dir: config.runtime_dir.clone(),
        state_dir: config.state_dir.clone(),
        router_run_as: config.router.run_as.clone(),
        uid_range: config.policy.uid_range.clone(),
        meeting_place: Some(MEETING_PLACE.into()),
        allow_root: config.policy.allow_root,
        nice: config.spawn.nice,
        log_max_size_bytes: config.logs.max_size_bytes,
        logs_kept: config.logs.keep,
    }
}

/// A log that can't be opened must not keep requests from being served.
fn open_access_log(config: &Config) -> Option<OwnedFd> {
    match config.router.access_log {
        AccessLog::Off => return None,
        AccessLog::Json | AccessLog::Combined => {}
    }
    let path = config.state_dir.join("logs").join(ACCESS_LOG);
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o640);
    match options.open(&path) {
        Ok(file) => Some(file.into()),
        Err(error) => {
            warn!(path = %path.display(), %error, "no access log is written");
            None
        }
    }
}
