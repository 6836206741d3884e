//! What an earlier emperor left running, and how it is taken over.
//!
//! Nothing here holds a process before it is taken over: an emperor that can't start for whatever
//! reason leaves all of them as they are.

use std::collections::BTreeMap;
use std::fs::read_dir;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Gid, Uid, chown, lstat};
use site_model::{Incarnation, Protocol, Revision, SiteId};
use tokio::time::Instant;
use tracing::{info, warn};
use vassal_core::lifecycle::InstanceMemory;
use vassal_core::{ExitReason, PoolReloads};

use super::child::Child;
use super::failure::{Doing, PathFailure, SpawnFailure};
use super::folder::InstanceFolder;
use super::layout::Layout;
use super::listen;
use super::memory::{self, SiteMemory};
use super::output::{Capture, Origin, Sink};
use super::pidfd::Pidfd;
use super::priority::Lowered;
use super::record::{FastrouterRecord, Record, Runs};
use super::running::{Leash, RunningInstance, RunningProcess};
use super::spawning::listen_to;
use super::tools::Tools;
use super::worker_socket::WorkerSocket;

/// The number of the first descriptor that a program inherits (`SD_LISTEN_FDS_START`).
const FIRST_DESCRIPTOR: i32 = 3;

/// Everything that an earlier emperor left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Instances, in the order of their incarnations.
    pub(crate) instances: Vec<LeftInstance>,
    /// What was remembered of sites.
    pub(crate) sites: BTreeMap<SiteId, SiteMemory>,
    /// How often new instances of pools were asked for.
    pub(crate) pools: BTreeMap<SiteId, PoolReloads>,
    /// Routers, the last one first.
    pub(crate) fastrouters: Vec<LeftFastrouter>,
    /// Folders of what can't be taken over.
    pub(super) unknown: Vec<PathBuf>,
}

/// An instance that an earlier emperor started. Whether it lives shows when it is taken over.
#[derive(Debug)]
pub(crate) struct LeftInstance {
    folder: PathBuf,
    record: Record,
    binds: bool,
    lowered: Option<Lowered>,
    /// Its site.
    pub(crate) site: SiteId,
    /// Its spawn.
    pub(crate) incarnation: Incarnation,
    /// What it runs.
    pub(crate) revision: Revision,
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// The row it was made from, as the registry writes rows.
    pub(crate) row: String,
    /// How far it is.
    pub(crate) memory: InstanceMemory,
}

/// A router that an earlier emperor started.
#[derive(Debug)]
pub(crate) struct LeftFastrouter {
    folder: PathBuf,
    record: Record,
    incarnation: Incarnation,
    /// How it was started.
    pub(crate) made: FastrouterRecord,
}

/// What became of an instance that was left.
#[derive(Debug)]
pub(crate) enum TakenOver<W> {
    /// It lives, and is this emperor's from now on.
    Running(Box<W>),
    /// It ended before.
    Ended(ExitReason),
}

/// Looks through the folders of what is there for a while. Blocks.
pub(super) fn look(layout: &Layout) -> Left {
    let instances = &layout.instances();
    let mut left = Left {
        sites: memory::read_sites(&layout.sites()),
        pools: memory::read_pools(&layout.pool_memories()),
        ..Left::default()
    };
    let entries = match read_dir(instances) {
        Ok(entries) => entries,
        Err(error) => {
            warn!(folder = %instances.display(), %error, "left-over instances can't be looked for");
            return left;
        }
    };
    for entry in entries.flatten() {
        left.add(entry.path());
    }
    left.instances.sort_by_key(|instance| instance.incarnation);
    left.fastrouters
        .sort_by_key(|router| std::cmp::Reverse(router.incarnation));
    left
}

impl Left {
    fn add(&mut self, folder: PathBuf) {
        let Some(record) = Record::read(&folder) else {
            return self.unknown.push(folder);
        };
        match record.runs().cloned() {
            Some(Runs::Instance(_)) => match LeftInstance::new(folder, record) {
                Ok(instance) => self.instances.push(instance),
                Err(folder) => self.unknown.push(folder),
            },
            Some(Runs::Fastrouter(made)) if record.living().is_some() => {
                self.fastrouters.push(LeftFastrouter {
                    incarnation: incarnation_in(&folder),
                    folder,
                    record,
                    made,
                });
            }
            Some(Runs::Fastrouter(_) | Runs::Preloader) | None => self.unknown.push(folder),
        }
    }
}

/// The last part of a folder's name; 0 is no spawn's.
fn incarnation_in(folder: &Path) -> Incarnation {
    let number = folder.extension().and_then(|number| number.to_str());
    Incarnation::new(number.and_then(|n| n.parse().ok()).unwrap_or(0))
}

impl LeftInstance {
    /// Gives the folder back where too little is known: it was being spawned, or is of another
    /// version.
    fn new(folder: PathBuf, record: Record) -> Result<Self, PathBuf> {
        let Some(Runs::Instance(known)) = record.runs().cloned() else {
            return Err(folder);
        };
        let parsed = (
            SiteId::of_vassal(known.site).ok(),
            known.revision.parse().ok(),
            memory::read_instance(&folder),
        );
        let (Some(site), Some(revision), Some(memory)) = parsed else {
            return Err(folder);
        };
        Ok(Self {
            folder,
            record,
            binds: known.binds,
            lowered: known.lowered,
            site,
            incarnation: Incarnation::new(known.incarnation),
            revision,
            protocol: known.protocol.into(),
            row: known.row,
            memory,
        })
    }

    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it is reached.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join(if self.binds { "r/s" } else { "s" })
    }

    /// When it was started.
    pub(crate) fn started_at(&self) -> std::time::SystemTime {
        self.record.started_at()
    }

    /// Takes it over. Blocks, and needs a runtime. `None`: it has ended, or its end is waited for.
    pub(super) fn take_over(&self, tools: &Tools) -> Result<Option<RunningInstance>, SpawnFailure> {
        let Some(child) = Child::found(&self.record) else {
            return Ok(None);
        };
        let folder = InstanceFolder::open(self.folder.clone())?;
        let notify = notify_again(&folder)?;
        let (notify, notified) = listen_to(notify, child.pid(), self.record.uid())?;
        let origin = Origin {
            number: self.memory.number,
            incarnation: self.incarnation,
        };
        let sink = Sink::Site(tools.logbook.of(self.site), origin);
        let socket = self.give_to_router(tools)?;
        let [out, err] = folder.open_pipes()?;
        let capture = Capture {
            out,
            err,
            notify,
            sink,
        };
        info!(site = %self.site, incarnation = %self.incarnation, pid = child.number(), "took over an instance");
        Ok(Some(RunningInstance {
            process: running(child, capture, &self.folder, &self.record, tools),
            socket,
            notified,
            notebook: Arc::clone(&tools.notebook),
            start: None,
            lowered: self.lowered,
            room: tools.room.take_anyhow(),
        }))
    }

    /// The router may be another user than it was.
    fn give_to_router(&self, tools: &Tools) -> Result<WorkerSocket, PathFailure> {
        let router = Gid::from_raw(tools.identities.router().identity.gid);
        let give =
            |path: &Path| chown(path, None, Some(router)).doing("give the router's group", path);
        let reached = self.socket();
        if !self.binds {
            give(&reached)?;
            return Ok(WorkerSocket::Inherited(reached));
        }
        give(&self.folder.join("r"))?;
        if reached.exists() {
            give(&reached)?;
        }
        Ok(WorkerSocket::Own {
            bound: self.folder.join("sock/s"),
            link: reached,
            uid: self.record.uid(),
            router,
        })
    }
}

impl LeftFastrouter {
    /// Its folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        let pid = self.record.living()?;
        Some(pid.as_raw_nonzero().get().cast_unsigned())
    }

    /// Its listening sockets, each with its place: the same open files, for this process too.
    pub(crate) fn sockets(&self) -> io::Result<Vec<(String, OwnedFd)>> {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let held = Pidfd::open(self.record.living().ok_or_else(gone)?)?;
        // Held first and compared then: what was compared is what is held.
        self.record.living().ok_or_else(gone)?;
        let places = self.made.places.iter().zip(FIRST_DESCRIPTOR..);
        places
            .map(|(place, number)| Ok((place.clone(), held.descriptor(number)?)))
            .collect()
    }

    /// Takes it over. Blocks, and needs a runtime. `None`: it has ended.
    pub(super) fn take_over(&self, tools: &Tools) -> Result<Option<RunningProcess>, SpawnFailure> {
        let Some(child) = Child::found(&self.record) else {
            return Ok(None);
        };
        let [out, err] = InstanceFolder::open(self.folder.clone())?.open_pipes()?;
        let capture = Capture {
            out,
            err,
            notify: None,
            sink: Sink::Emperor("fastrouter"),
        };
        Ok(Some(running(
            child,
            capture,
            &self.folder,
            &self.record,
            tools,
        )))
    }
}

/// The socket that `NOTIFY_SOCKET` names died with who had bound it; the name is bound anew.
fn notify_again(folder: &InstanceFolder) -> Result<Option<OwnedFd>, SpawnFailure> {
    let path = folder.notify();
    let owner = match lstat(&path) {
        Ok(found) => (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid)),
        Err(_) => return Ok(None),
    };
    std::fs::remove_file(&path).doing("remove", &path)?;
    listen::notify_socket(&path, owner.0, owner.1).map(Some)
}

fn running(
    child: Child,
    capture: Capture,
    folder: &Path,
    record: &Record,
    tools: &Tools,
) -> RunningProcess {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let leash = Leash {
        child: Arc::new(child),
        cgroup: tools.cgroups.regain(&name),
    };
    tools.halts.add(&leash.child);
    RunningProcess {
        captured: capture.start(Arc::clone(&leash.child)),
        leash,
        folder: folder.to_path_buf(),
        started_at: record.started_at(),
        // A probe that was cut off has its whole time again.
        since: Instant::now(),
        sweeper: Arc::clone(&tools.sweeper),
        missing: record.missing().to_vec(),
    }
}
