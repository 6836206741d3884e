//! What runs, and what can be done to it.

use std::fs::remove_dir_all;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{BoxStream, StreamExt, unfold};
use site_model::Protocol;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};
use vassal_core::Asked;
use vassal_core::ExitReason;
use vassal_core::lifecycle::{InstanceMemory, Sight};
use vassal_core::settings::{Health, Ready, StopSignal};

use super::cgroup::Cgroup;
use super::child::{Child, KILLED_PATIENCE};
use super::memory;
use super::notebook::Notebook;
use super::notify::Notified;
use super::output::Captured;
use super::priority::Lowered;
use super::probe::{ProbeFailure, Prober};
use super::record::Record;
use super::room::Taken;
use super::session::Sweeper;
use super::start::Start;
use super::worker_socket::WorkerSocket;
use crate::runtime::off_the_loop;

/// How long the last lines of a process may take to disk. Nothing is held up by a disk that does not
/// answer; what waits is written when it does.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// The least time between two looks that a worker itself can cause.
const STIR_PAUSE: Duration = Duration::from_millis(100);

/// One running instance. Dropped without [`remove`](Self::remove), its whole group is killed.
#[derive(Debug)]
pub(crate) struct RunningInstance {
    pub(super) process: RunningProcess,
    pub(super) socket: WorkerSocket,
    pub(super) notified: watch::Receiver<Notified>,
    pub(super) notebook: Arc<Notebook>,
    /// `None`: an earlier emperor started it.
    pub(super) start: Option<Start>,
    /// The priority that it is started with, if that isn't the usual one.
    pub(super) lowered: Option<Lowered>,
    pub(super) room: Taken,
}

/// A running program with its group and its folder.
#[derive(Debug)]
pub(crate) struct RunningProcess {
    pub(super) leash: Leash,
    pub(super) captured: Captured,
    pub(super) folder: PathBuf,
    pub(super) started_at: SystemTime,
    pub(super) since: Instant,
    pub(super) sweeper: Arc<Sweeper>,
    /// Limits and walls that it runs without.
    pub(super) missing: Vec<String>,
}

/// Kills the group when it is let go, even while somebody still waits for the exit.
#[derive(Debug)]
pub(super) struct Leash {
    pub(super) child: Arc<Child>,
    pub(super) cgroup: Option<Arc<Cgroup>>,
}

impl Leash {
    /// Kills the process group, and with a cgroup also what left it.
    fn kill(&self) {
        self.child.kill_group();
        if let Some(cgroup) = &self.cgroup {
            cgroup.kill();
        }
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        self.kill();
    }
}

impl RunningInstance {
    /// Its main process; also its process group and session.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where it is reached, once it is ready.
    pub(crate) fn socket(&self) -> &Path {
        self.socket.reached()
    }

    /// When it was started.
    pub(crate) fn started_at(&self) -> SystemTime {
        self.process.started_at
    }

    /// Limits and walls that were asked for and that it runs without, each with the reason.
    pub(crate) fn missing(&self) -> &[String] {
        &self.process.missing
    }

    /// As [`RunningProcess::exited`].
    pub(crate) fn exited(&self) -> impl Future<Output = ExitReason> + Send + 'static {
        self.process.exited()
    }

    /// As [`RunningProcess::signal`].
    pub(crate) fn signal(&self, signal: StopSignal) {
        self.process.signal(signal);
    }

    /// As [`RunningProcess::kill_group`].
    pub(crate) fn kill_group(&self) {
        self.process.kill_group();
    }

    /// Lets it go on where it was stopped.
    pub(crate) fn let_go_on(&self) {
        self.process.leash.child.let_go_on();
    }

    /// What can be seen of it without asking it.
    pub(crate) fn look(&self) -> Sight {
        let told = self.notified.borrow();
        Sight {
            stopped: self.process.leash.child.is_stopped(),
            spoke: told.spoke.map(Instant::into_std),
            watchdog: told.watchdog,
            broken: told.broken,
        }
    }

    /// An item for each time that there is something new to see that can't wait. Ends with it.
    pub(crate) fn stirs(&self) -> BoxStream<'static, ()> {
        let child = Arc::clone(&self.process.leash.child);
        let mut notified = self.notified.clone();
        notified.mark_unchanged();
        let held = (child, notified);
        let stirs = unfold(held, async |(child, mut notified)| {
            // A worker may say whatever it likes, as often as it likes.
            sleep(STIR_PAUSE).await;
            tokio::select! {
                () = child.halted() => {}
                told = notified.changed() => told.ok()?,
            }
            Some(((), (child, notified)))
        });
        stirs.boxed()
    }

    /// Resolves once the instance is ready, has the usual priority and what was to be remembered of it is
    /// written down, or its time (counted from its spawn) is up.
    ///
    /// An exit doesn't end it: await both. Cancel safe.
    pub(crate) fn probe(
        &self,
        ready: &Ready,
        asked: &Asked,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static {
        let prober = Prober {
            socket: self.socket.clone(),
            protocol,
            asked: asked.clone(),
            notified: self.notified.clone(),
            ready: ready.clone(),
            since: self.process.since,
            start: self.start.clone(),
        };
        let (lowered, leader) = (self.lowered, self.process.leash.child.pid());
        let notebook = Arc::clone(&self.notebook);
        async move {
            prober.run().await?;
            // From now on it may serve, and of what has no page the next emperor would know too little
            // to keep it.
            notebook.write_all().await;
            if let Some(lowered) = lowered {
                off_the_loop(move || lowered.take_back(leader)).await;
            }
            Ok(())
        }
    }

    /// As [`probe`](Self::probe), for an instance that serves already: its time counts from now.
    pub(crate) fn check(
        &self,
        health: &Health,
        asked: &Asked,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static {
        Prober {
            socket: self.socket.clone(),
            protocol,
            asked: asked.clone(),
            notified: self.notified.clone(),
            ready: Ready {
                probe: health.probe.clone(),
                warm: Arc::default(),
                timeout: health.timeout,
            },
            since: Instant::now(),
            start: None,
        }
        .run()
    }

    /// The last lines of its standard error: all of them once [`exited`](Self::exited) has resolved.
    pub(crate) fn last_stderr(&self) -> Vec<String> {
        self.process.captured.last_stderr()
    }

    /// Has it written down how far it is, for an emperor that comes after a death.
    pub(crate) fn remember(&self, memory: &InstanceMemory) {
        let file = memory::file_of(&self.process.folder);
        self.notebook
            .note(file, Some(memory::instance_text(memory)));
    }

    /// As [`RunningProcess::remove`].
    pub(crate) async fn remove(self) {
        // Its pipes and its notifications are closed with its end. What is left of it is looked for in
        // time, and thousands that are replaced are not kept waiting for that.
        drop(self.room);
        let file = memory::file_of(&self.process.folder);
        self.notebook.forget(&file).await;
        self.process.remove().await;
    }
}

impl RunningProcess {
    /// Completes its record, which was written before it was known: what it runs without is told by
    /// the next emperor too.
    pub(super) async fn write_down_what_is_missing(&self) {
        let (folder, missing) = (self.folder.clone(), self.missing.clone());
        let written =
            tokio::task::spawn_blocking(move || Record::complete(&folder, &missing)).await;
        if let Ok(Err(error)) = written {
            warn!(%error, "the next emperor will not tell what an instance runs without");
        }
    }

    /// Its pid, process group and session.
    pub(crate) fn pid(&self) -> u32 {
        self.leash.child.number()
    }

    /// Resolves once the main process has ended. What was left of its group is killed by then, and
    /// what it wrote was read.
    ///
    /// Cancel safe; may be asked again, and gives the same answer.
    pub(crate) fn exited(&self) -> impl Future<Output = ExitReason> + Send + 'static {
        let child = Arc::clone(&self.leash.child);
        let cgroup = self.leash.cgroup.clone();
        let drained = self.captured.drained();
        async move {
            let reason = child.exited().await;
            drained.await;
            cgroup.map_or(reason, |cgroup| cgroup.explain(reason))
        }
    }

    /// As [`exited`](Self::exited), without waiting for what it wrote: for whoever has nothing more
    /// urgent to do than to start another.
    pub(crate) fn ended(&self) -> impl Future<Output = ExitReason> + Send + 'static {
        Arc::clone(&self.leash.child).exited()
    }

    /// Whether it has ended, as far as the kernel has told by now.
    pub(super) fn has_ended(&self) -> bool {
        self.leash.child.has_ended()
    }

    /// Sends a signal to the main process alone: it is the one that knows in which order its
    /// children are to end. (systemd calls this `KillMode=mixed`.)
    pub(crate) fn signal(&self, signal: StopSignal) {
        self.leash.child.signal(signal);
    }

    /// Kills the whole process group, and what left it as far as the kernel knows of it.
    pub(crate) fn kill_group(&self) {
        self.leash.kill();
    }

    /// Kills what is left of it, waits until its output is in the log, and removes its folder.
    pub(crate) async fn remove(self) {
        let Self {
            leash,
            captured,
            folder,
            sweeper,
            ..
        } = self;
        leash.kill();
        let child = &leash.child;
        let pid = child.number();
        let exited = Arc::clone(child).exited();
        if timeout(KILLED_PATIENCE, exited).await.is_err() {
            // Its folder stays, so that the next start of the emperor finds and ends it.
            error!(pid, folder = %folder.display(), "a killed process does not end");
            return;
        }
        child.reap(&sweeper).await;
        if let Some(cgroup) = &leash.cgroup {
            cgroup.remove().await;
        }
        if timeout(LOG_PATIENCE, captured.settled()).await.is_err() {
            warn!(pid, "the last lines of a process wait for the disk");
        }
        remove_folder(folder).await;
    }
}

/// Removes a folder that a site's user may have filled. What lies in it is removed without following
/// symbolic links.
pub(super) async fn remove_folder(folder: PathBuf) {
    let shown = folder.display().to_string();
    let removed = tokio::task::spawn_blocking(move || remove_dir_all(folder)).await;
    if let Err(error) = removed.unwrap_or_else(|error| Err(error.into())) {
        warn!(folder = shown, %error, "an instance's folder can't be removed");
    }
}
