//! Keeps one fastrouter running: starts it on the emperor's sockets, and starts it again when it
//! ends.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use vassal_core::ExitReason;
use vassal_core::settings::StopSignal;

use crate::daemon::process::{FastrouterOrder, Launcher, RunningProcess, SpawnFailure};

use super::listeners::Listeners;

/// The pause before the second try; the first one after a crash has none, since every moment
/// without a router is one in which clients wait.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A router that ran this long had started well: its end is answered at once.
const STARTED_WELL: Duration = Duration::from_secs(10);
/// How long a router may take to end its requests at the emperor's own end.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What the keeper is told at its start.
#[derive(Debug)]
pub(crate) struct KeeperOptions {
    /// Starts the process.
    pub(crate) launcher: Arc<Launcher>,
    /// What it accepts on.
    pub(crate) listeners: Arc<Listeners>,
    /// The opened access log, if one is written.
    pub(crate) access_log: Option<OwnedFd>,
    /// Where the emperor listens for it.
    pub(crate) link: PathBuf,
    /// How many threads it is to have.
    pub(crate) threads: usize,
}

/// How the fastrouter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RouterState {
    /// It is being started.
    Starting,
    /// It runs.
    Running {
        /// Its process.
        pid: u32,
    },
    /// It does not run; it is tried again after a pause.
    Failed {
        /// Why.
        cause: String,
    },
}

/// Runs the fastrouter until it is cancelled, and then ends it.
pub(crate) async fn keep(
    options: KeeperOptions,
    state: watch::Sender<RouterState>,
    cancel: CancellationToken,
) {
    let mut pause = Duration::ZERO;
    while !cancel.is_cancelled() {
        let began = Instant::now();
        state.send_replace(RouterState::Starting);
        let ended = run_once(&options, &state, &cancel).await;
        let Err(cause) = ended else { return };
        error!(%cause, "the fastrouter does not run; it is started again");
        state.send_replace(RouterState::Failed {
            cause: cause.to_string(),
        });
        pause = next_pause(pause, began.elapsed());
        tokio::select! {
            () = cancel.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
}

/// Why a fastrouter is gone although nobody wanted it to.
#[derive(Debug)]
enum Gone {
    NotStarted(SpawnFailure),
    Ended(ExitReason),
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted(failure) => write!(f, "it did not start: {failure}"),
            Self::Ended(reason) => write!(f, "it ended: {reason}"),
        }
    }
}

/// One life of a router; `Ok` is the end that was asked for.
async fn run_once(
    options: &KeeperOptions,
    state: &watch::Sender<RouterState>,
    cancel: &CancellationToken,
) -> Result<(), Gone> {
    let order = FastrouterOrder {
        listeners: options.listeners.sockets(),
        access_log: options.access_log.as_ref(),
        link: &options.link,
        threads: options.threads,
    };
    let process = options
        .launcher
        .spawn_fastrouter(order)
        .await
        .map_err(Gone::NotStarted)?;
    info!(pid = process.pid(), "the fastrouter runs");
    state.send_replace(RouterState::Running { pid: process.pid() });
    let ended = tokio::select! {
        reason = process.exited() => Err(Gone::Ended(reason)),
        () = cancel.cancelled() => {
            end(&process).await;
            Ok(())
        }
    };
    process.remove().await;
    ended
}

async fn end(process: &RunningProcess) {
    process.signal(StopSignal::Term);
    if timeout(DRAIN_TIME, process.exited()).await.is_err() {
        warn!(
            after_seconds = DRAIN_TIME.as_secs(),
            "the fastrouter still had requests and is killed"
        );
        process.kill_group();
        process.exited().await;
    }
}

fn next_pause(last: Duration, lived: Duration) -> Duration {
    if lived >= STARTED_WELL {
        Duration::ZERO
    } else {
        (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_keeps_dying_is_tried_ever_more_slowly_and_a_good_one_at_once() {
        let quick = Duration::from_millis(1);
        let mut pause = Duration::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pause = next_pause(pause, quick);
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(next_pause(LONGEST_PAUSE, STARTED_WELL), Duration::ZERO);
    }
}
