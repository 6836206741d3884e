//! What can be asked of a preloader.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Pid;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use vassal_core::ExitReason;

use super::super::failure::PreloadFailure;

/// Questions that wait for a preloader. Whoever asks more waits until there is room.
pub(super) const ASKED_AT_ONCE: usize = 64;

/// How long it may take to say how a worker ended. It may be stopped, or busy with forks.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);

/// A preloader. It ends once nobody holds it.
#[derive(Debug)]
pub(in super::super) struct Preloader {
    uid: u32,
    /// Set once it runs.
    process: OnceLock<Loaded>,
    asks: mpsc::Sender<Ask>,
    state: watch::Receiver<State>,
    began: Instant,
    /// Another has taken its place, or nobody finds it any more.
    unlisted: CancellationToken,
}

/// What is known of one that runs.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) pid: Pid,
    pub(super) env: Vec<(String, String)>,
    pub(super) missing: Vec<String>,
}

/// How far it is.
#[derive(Debug, Clone)]
pub(super) enum State {
    Loading,
    Ready,
    Failed(PreloadFailure),
}

/// What its keeper is asked.
#[derive(Debug)]
pub(super) enum Ask {
    /// Fork a worker with this end of its link.
    Fork(OwnedFd),
    /// How a worker has ended; nobody may want to know.
    Ended(Pid, Option<oneshot::Sender<ExitReason>>),
    /// Nothing: it was wanted until now.
    LetGo,
}

impl Preloader {
    pub(super) fn new(uid: u32, asks: mpsc::Sender<Ask>, state: watch::Receiver<State>) -> Self {
        Self {
            uid,
            process: OnceLock::new(),
            asks,
            state,
            began: Instant::now(),
            unlisted: CancellationToken::new(),
        }
    }

    /// It runs.
    pub(super) fn loaded(&self, loaded: Loaded) {
        // It is started once.
        let _ = self.process.set(loaded);
    }

    /// Its process; that of `init`, which forks no worker, before it is ready.
    pub(in super::super) fn pid(&self) -> Pid {
        self.process.get().map_or(Pid::INIT, |loaded| loaded.pid)
    }

    /// Its environment.
    pub(in super::super) fn env(&self) -> &[(String, String)] {
        self.process.get().map_or(&[], |loaded| &loaded.env)
    }

    /// Limits and walls that were asked for and that it runs without, and so do its workers.
    pub(in super::super) fn missing(&self) -> &[String] {
        self.process.get().map_or(&[], |loaded| &loaded.missing)
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn unlisted(&self) -> &CancellationToken {
        &self.unlisted
    }

    /// Resolves once nothing more will be forked from it. Cancel safe.
    pub(super) async fn outdated(&self) {
        tokio::select! {
            () = self.unlisted.cancelled() => {}
            () = self.asks.closed() => {}
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready) && !self.is_gone()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.asks.is_closed()
    }

    /// Resolves once it can be forked, or never will. Cancel safe.
    pub(super) async fn ready(&self) -> Result<(), PreloadFailure> {
        let mut state = self.state.clone();
        let settled = state
            .wait_for(|state| !matches!(state, State::Loading))
            .await;
        match settled.as_deref() {
            Ok(State::Ready) => Ok(()),
            Ok(State::Failed(failure)) => Err(failure.clone()),
            Ok(State::Loading) | Err(_) => Err(PreloadFailure::Gone),
        }
    }

    /// Has a worker forked that speaks on this end of its link.
    pub(super) async fn order_fork(&self, link: OwnedFd) -> Result<(), PreloadFailure> {
        let ordered = self.asks.send(Ask::Fork(link)).await;
        ordered.map_err(|_| PreloadFailure::Gone)
    }

    /// Who it and its workers run as.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// How a worker that has ended did so.
    pub(in super::super) async fn how_ended(&self, pid: Pid) -> ExitReason {
        let (told, how) = oneshot::channel();
        let answer = async {
            self.asks.send(Ask::Ended(pid, Some(told))).await.ok()?;
            how.await.ok()
        };
        // A preloader that is gone, or doesn't answer, tells nothing.
        let answer = timeout(ANSWER_PATIENCE, answer).await.ok().flatten();
        answer.unwrap_or(ExitReason::Unknown)
    }

    /// From now on its time runs, unless others want it.
    pub(super) fn let_go(&self) {
        // Where there is no room, it is wanted.
        let _ = self.asks.try_send(Ask::LetGo);
    }

    /// Nobody asks for that worker any more.
    pub(in super::super) fn forget(&self, pid: Pid) {
        // Where there is no room, its entry in the table of processes stays until the preloader ends.
        let _ = self.asks.try_send(Ask::Ended(pid, None));
    }
}
