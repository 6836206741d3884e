//! Making a process: everything on disk first, then `vassal-exec`, then its plan.
//!
//! The record of the process is on disk before the plan is sent. A daemon that is killed in between
//! leaves a helper that finds its link closed and ends; one that is killed later leaves a process
//! that the next daemon knows of. There is no moment in which one could run unknown.

pub(super) mod fastrouter;
pub(super) mod instance;
pub(super) mod preloader;
mod router_walls;

use std::fs::remove_dir_all;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::SystemTime;

use rustix::fs::Uid;
use rustix::process::Pid;
use site_model::Incarnation;
use tokio::sync::watch;
use tokio::time::Instant;
use vassal_core::settings::Stop;
use wire::exec::{ExecFailure, ExecPlan, Identity, Walls};

use super::cgroup::Admission;
use super::failure::SpawnFailure;
use super::folder::InstanceFolder;
use super::helper::Helper;
use super::identity::Account;
use super::notify::{Notified, NotifySocket, Sender};
use super::output::{Capture, Sink};
use super::preloading::Forked;
use super::record::{InstanceRecord, Record, Runs};
use super::running::{Leash, RunningProcess};
use super::tools::Tools;

pub(crate) use fastrouter::FastrouterOrder;

/// The name under which a process finds a listening socket (`sd_listen_fds_with_names(3)`).
const LISTEN: &str = "listen";

/// Group may read, nobody else anything.
const UMASK: u32 = 0o027;

/// What is to run in a folder that was made for it.
struct Program<'a> {
    user: &'a Identity,
    stop: &'a Stop,
    sink: Sink,
    notify: Option<OwnedFd>,
    runs: Runs,
    plan: ExecPlan,
    admission: Admission,
    maker: Maker,
}

/// How a process comes to be.
#[derive(Debug)]
enum Maker {
    /// `vassal-exec` becomes it.
    VassalExec,
    /// It was forked already.
    Forked(Forked),
}

/// A process that waits for its plan.
#[derive(Debug)]
enum Waiting {
    Helper(Helper),
    /// With its standard output and standard error.
    Forked(Forked, [OwnedFd; 2]),
}

/// A process that waits for its plan, with everything it takes in place.
#[derive(Debug)]
pub(super) struct Prepared {
    waiting: Waiting,
    process: RunningProcess,
    notified: watch::Receiver<Notified>,
    plan: ExecPlan,
}

impl Program<'_> {
    /// Starts the helper with its output captured, and writes down that it runs.
    fn start(self, tools: &Tools, folder: &InstanceFolder) -> Result<Prepared, SpawnFailure> {
        let [out, err] = folder.make_pipes(self.user)?;
        let (waiting, child) = match self.maker {
            Maker::VassalExec => {
                let program = &tools.programs.vassal_exec;
                let helper = Helper::start(program, out.process_end, err.process_end)?;
                let child = Arc::clone(&helper.child);
                (Waiting::Helper(helper), child)
            }
            Maker::Forked(forked) => {
                let child = Arc::clone(&forked.child);
                let outputs = [out.process_end, err.process_end];
                (Waiting::Forked(forked, outputs), child)
            }
        };
        let pid = child.pid();
        if let Runs::Instance(InstanceRecord { lowered, .. }) = &self.runs
            && let Some(lowered) = lowered
        {
            lowered.lower(pid);
        }
        let admission = self.admission.take_in(pid);
        if self.plan.walls.required && !admission.missing.is_empty() {
            return Err(SpawnFailure::Required(admission.missing));
        }
        let leash = Leash {
            child,
            cgroup: admission.cgroup,
        };
        tools.halts.add(&leash.child);
        let record = Record::of(pid, self.user.uid, self.stop, self.runs);
        if let Some(record) = record.map(|record| record.without(&admission.missing)) {
            record.write(folder.opened(), folder.path())?;
        }
        let (notify, notified) = listen_to(self.notify, pid, self.user.uid)?;
        let capture = Capture {
            out: out.own_end,
            err: err.own_end,
            notify,
            sink: self.sink,
        };
        let process = RunningProcess {
            captured: capture.start(Arc::clone(&leash.child)),
            leash,
            folder: folder.path().to_path_buf(),
            started_at: SystemTime::now(),
            since: Instant::now(),
            sweeper: Arc::clone(&tools.sweeper),
            missing: admission.missing,
        };
        Ok(Prepared {
            waiting,
            process,
            notified,
            plan: self.plan,
        })
    }
}

impl Prepared {
    /// Lets it become its program; what it leaves when it can't is removed. `tell` says of a wall that
    /// is missing whose wish it was.
    async fn carry_out(
        mut self,
        descriptors: &[BorrowedFd<'_>],
        tell: impl Fn(&ExecFailure, &Walls) -> String,
    ) -> Result<RunningProcess, SpawnFailure> {
        let carried_out = match self.waiting {
            Waiting::Helper(helper) => helper.carry_out(&self.plan, descriptors).await,
            Waiting::Forked(forked, outputs) => {
                let carried_out = forked.carry_out(&self.plan, outputs, descriptors).await;
                carried_out.map(|()| Vec::new()).map_err(Into::into)
            }
        };
        match carried_out {
            Ok(missing) if missing.is_empty() => Ok(self.process),
            Ok(missing) => {
                let told = missing.iter();
                let told = told.map(|failure| tell(failure, &self.plan.walls));
                self.process.missing.extend(told);
                self.process.write_down_what_is_missing().await;
                Ok(self.process)
            }
            Err(failure) => {
                self.process.remove().await;
                Err(failure.of_walls(&self.plan.walls))
            }
        }
    }
}

/// Does the work in a new folder, and removes that again if the work fails.
fn in_new_folder<T>(
    tools: &Tools,
    whose: &str,
    incarnation: Incarnation,
    work: impl FnOnce(&InstanceFolder) -> Result<T, SpawnFailure>,
) -> Result<T, SpawnFailure> {
    let folder = InstanceFolder::make(tools.layout.instance(whose, incarnation))?;
    work(&folder).inspect_err(|_| {
        // What can't be removed now is removed by the next start; the failure itself says more.
        let _ = remove_dir_all(folder.path());
    })
}

pub(super) fn listen_to(
    socket: Option<OwnedFd>,
    session: Pid,
    uid: u32,
) -> Result<(Option<NotifySocket>, watch::Receiver<Notified>), SpawnFailure> {
    let Some(socket) = socket else {
        return Ok((None, watch::channel(Notified::default()).1));
    };
    let sender = Sender {
        session,
        uid: Uid::from_raw(uid),
    };
    let socket = NotifySocket::new(socket, sender).map_err(|error| SpawnFailure::Helper {
        doing: "listen to the notifications of",
        error,
    })?;
    let notified = socket.subscribe();
    Ok((Some(socket), notified))
}

/// Nobody but root can become somebody, and whoever isn't runs everything as itself.
fn identity_to_take(tools: &Tools, account: &Account) -> Option<Identity> {
    let can_change = tools.identities.can_change();
    can_change.then(|| account.identity.clone())
}
