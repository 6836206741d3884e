//! Keeps one fastrouter running: starts it on the emperor's sockets, starts it again when it ends,
//! and replaces it without a lost request when its program, or what only a start can change, is
//! another one. A router that an earlier emperor left goes on.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use vassal_core::ExitReason;
use vassal_core::settings::StopSignal;

use super::board::RouteBoard;
use super::listeners::Listeners;
use super::roster::{Enlisted, Standing};
use crate::daemon::process::{
    FastrouterOrder, FastrouterRecord, Launcher, LeftFastrouter, RunningProcess, SpawnFailure,
};

/// The pause before the second try; the first one after a crash has none, since every moment
/// without a router is one in which clients wait.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A router that ran this long had started well. Starting one each time costs little of the machine.
const STARTED_WELL: Duration = Duration::from_secs(1);
/// How long a successor may take until it has the table: one that is slower is no success.
const SUCCESSION_TIME: Duration = Duration::from_secs(30);
/// How much longer than `router.drain_timeout` a router may take to end: it lets idle connections
/// be first, and writes what is left of its access log.
const DRAIN_MARGIN: Duration = Duration::from_secs(5);

/// What the keeper is told at its start.
#[derive(Debug)]
pub(crate) struct KeeperOptions {
    /// Starts the process.
    pub(crate) launcher: Arc<Launcher>,
    /// What it accepts on.
    pub(crate) listeners: Listeners,
    /// The opened access log, if one is written.
    pub(crate) access_log: Option<OwnedFd>,
    /// Where the emperor listens for it.
    pub(crate) link: PathBuf,
    /// How many threads it is to have.
    pub(crate) threads: usize,
    /// Routers that an earlier emperor left, the last one first.
    pub(crate) left: Vec<LeftFastrouter>,
    /// What they are told.
    pub(crate) board: Arc<RouteBoard>,
}

/// What the keeper tells, and is told.
#[derive(Debug)]
pub(crate) struct KeeperChannels {
    /// How the router is.
    pub(crate) state: watch::Sender<RouterState>,
    /// Asks to look whether the router is still the one that would be started now.
    pub(crate) renewal: Arc<Notify>,
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
    channels: KeeperChannels,
    cancel: CancellationToken,
) {
    let mut keeper = Keeper {
        options,
        channels,
        cancel,
        departing: JoinSet::new(),
    };
    let mut left = keeper.take_over().await;
    let mut short_lives = 0;
    while !keeper.cancel.is_cancelled() {
        let began = Instant::now();
        let Err(cause) = keeper.run_once(left.take()).await else {
            break;
        };
        error!(%cause, "the fastrouter does not run; it is started again");
        keeper.tell(RouterState::Failed {
            cause: cause.to_string(),
        });
        short_lives = if began.elapsed() < STARTED_WELL {
            short_lives + 1
        } else {
            0
        };
        if let Some(pause) = pause_after(short_lives) {
            tokio::select! {
                () = keeper.cancel.cancelled() => {}
                () = sleep(pause) => {}
            }
        }
    }
    while keeper.departing.join_next().await.is_some() {}
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
            Self::Ended(reason) => write!(f, "it {reason}"),
        }
    }
}

/// Why a successor is none.
#[derive(Debug)]
enum NoSuccessor {
    Gone(Gone),
    Late,
    /// The emperor ends.
    Cancelled,
}

/// A router, and how it was started.
#[derive(Debug)]
struct Router {
    process: RunningProcess,
    made: FastrouterRecord,
    /// Given up once the process has ended: until then it may have requests.
    enlisted: Enlisted,
}

impl Router {
    /// Removes what is left of it.
    async fn remove(self) {
        drop(self.enlisted);
        self.process.remove().await;
    }
}

struct Keeper {
    options: KeeperOptions,
    channels: KeeperChannels,
    cancel: CancellationToken,
    /// Routers that only end their requests, and what is left of those that have ended. At most one
    /// for each replacement within the last `router.drain_timeout`.
    departing: JoinSet<()>,
}

impl Keeper {
    /// Goes on with the router that an earlier emperor left.
    async fn take_over(&mut self) -> Option<Router> {
        let mut current = None;
        for left in std::mem::take(&mut self.options.left) {
            let made = left.made.clone();
            match self.options.launcher.take_over_fastrouter(left).await {
                Ok(Some(process)) if current.is_none() => {
                    info!(pid = process.pid(), "took over the fastrouter");
                    current = Some(self.enlist(process, made, Standing::Away));
                }
                // It was departing when the earlier emperor died.
                Ok(Some(process)) => self.depart(self.enlist(process, made, Standing::Away)),
                Ok(None) => {}
                Err(error) => warn!(%error, "a fastrouter can't be taken over"),
            }
        }
        // It may be another program by now.
        self.channels.renewal.notify_one();
        current
    }

    /// One life of a router; `Ok` is the end that was asked for.
    async fn run_once(&mut self, left: Option<Router>) -> Result<(), Gone> {
        let mut router = if let Some(router) = left {
            router
        } else {
            self.tell(RouterState::Starting);
            self.start().await.map_err(Gone::NotStarted)?
        };
        self.announce(&router.process);
        loop {
            tokio::select! {
                reason = router.process.ended() => {
                    // Its last lines too are read beside the start of another one, for which clients
                    // wait: nothing that waits stands between the two.
                    self.departing.spawn(router.remove());
                    return Err(Gone::Ended(reason));
                }
                () = self.cancel.cancelled() => {
                    self.end(router).await;
                    return Ok(());
                }
                () = self.channels.renewal.notified() => {
                    if let Some(successor) = self.renew(&router).await {
                        let before = std::mem::replace(&mut router, successor);
                        self.depart(before);
                    }
                    self.announce(&router.process);
                }
                Some(_) = self.departing.join_next() => {}
            }
        }
    }

    fn tell(&self, state: RouterState) {
        self.channels.state.send_replace(state);
    }

    fn announce(&self, process: &RunningProcess) {
        let pid = process.pid();
        self.options.board.roster().set_current(pid);
        self.tell(RouterState::Running { pid });
    }

    fn enlist(
        &self,
        process: RunningProcess,
        made: FastrouterRecord,
        standing: Standing,
    ) -> Router {
        let roster = self.options.board.roster();
        Router {
            enlisted: roster.enlist(process.pid(), standing),
            process,
            made,
        }
    }

    /// How a router would be started now.
    fn make(&self) -> FastrouterRecord {
        let options = &self.options;
        let has_log = options.access_log.is_some();
        FastrouterRecord {
            places: options.listeners.places().to_vec(),
            make: options.launcher.fastrouter_make(options.threads, has_log),
        }
    }

    async fn start(&self) -> Result<Router, SpawnFailure> {
        let (options, made) = (&self.options, self.make());
        let order = FastrouterOrder {
            listeners: options.listeners.sockets(),
            access_log: options.access_log.as_ref(),
            link: &options.link,
            threads: options.threads,
            record: &made,
        };
        let process = options.launcher.spawn_fastrouter(order).await?;
        info!(pid = process.pid(), "the fastrouter runs");
        Ok(self.enlist(process, made, Standing::New))
    }

    /// Starts a successor where the router is no longer the one that would be started. The old one
    /// serves until the new one has the table.
    async fn renew(&self, router: &Router) -> Option<Router> {
        if router.made == self.make() {
            return None;
        }
        let pid = router.process.pid();
        info!(
            pid,
            "the fastrouter is another program now, and is replaced"
        );
        match self.succession().await {
            Ok(successor) => {
                info!(pid = successor.process.pid(), "the new fastrouter serves");
                return Some(successor);
            }
            Err(NoSuccessor::Gone(cause)) => {
                error!(pid, %cause, "the new fastrouter can't be used; the one before goes on");
            }
            Err(NoSuccessor::Late) => error!(
                pid,
                after_seconds = SUCCESSION_TIME.as_secs(),
                "the new fastrouter did not take over the table; the one before goes on"
            ),
            Err(NoSuccessor::Cancelled) => {}
        }
        None
    }

    async fn succession(&self) -> Result<Router, NoSuccessor> {
        // Before the rows are known there is no table to be had.
        tokio::select! {
            () = self.options.board.opened() => {}
            () = self.cancel.cancelled() => return Err(NoSuccessor::Cancelled),
        }
        let started = self.start().await;
        let successor = started.map_err(|failure| NoSuccessor::Gone(Gone::NotStarted(failure)))?;
        let pid = successor.process.pid();
        let roster = self.options.board.roster();
        let outcome = tokio::select! {
            served = timeout(SUCCESSION_TIME, roster.served_by(pid)) => {
                served.map_err(|_| NoSuccessor::Late)
            }
            reason = successor.process.exited() => Err(NoSuccessor::Gone(Gone::Ended(reason))),
            () = self.cancel.cancelled() => Err(NoSuccessor::Cancelled),
        };
        match outcome {
            Ok(()) => Ok(successor),
            Err(cause) => {
                successor.remove().await;
                Err(cause)
            }
        }
    }

    /// Lets a router that was replaced end its requests. It follows the table meanwhile.
    fn depart(&mut self, router: Router) {
        let cancel = self.cancel.clone();
        let board = Arc::clone(&self.options.board);
        self.departing.spawn(async move {
            // It takes no new connection, and lets clients finish what they may be saying.
            router.process.signal(StopSignal::Quit);
            tokio::select! {
                () = drained(&router.process, &board) => {},
                () = cancel.cancelled() => end(&router.process, &board).await,
            }
            router.remove().await;
        });
    }

    /// At the emperor's own end: clients that come now are refused, since nobody would answer.
    async fn end(&mut self, router: Router) {
        // The router has these sockets too, and takes what waits in them before it lets go.
        self.options.listeners.close();
        end(&router.process, &self.options.board).await;
        router.remove().await;
    }
}

async fn end(process: &RunningProcess, board: &RouteBoard) {
    process.signal(StopSignal::Term);
    drained(process, board).await;
}

/// Waits until a router has ended its requests, which it bounds by itself; one that doesn't is
/// killed.
async fn drained(process: &RunningProcess, board: &RouteBoard) {
    let bound = Duration::from_millis(board.settings().drain_timeout_ms) + DRAIN_MARGIN;
    if timeout(bound, process.exited()).await.is_err() {
        warn!(
            pid = process.pid(),
            after_seconds = bound.as_secs(),
            "a fastrouter that was to end its requests does not end, and is killed"
        );
        process.kill_group();
        process.exited().await;
    }
}

/// The pause after so many routers in a row that did not start well, if there is any.
fn pause_after(short_lives: u32) -> Option<Duration> {
    let doublings = short_lives.checked_sub(2)?;
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings.min(16));
    Some(pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_router_that_keeps_dying_is_tried_ever_more_slowly_and_the_first_time_at_once() {
        let pauses = (2..=10).map(|lives| pause_after(lives).unwrap().as_millis());
        let expected = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000];
        assert_eq!(pauses.collect::<Vec<_>>(), expected);
        assert_eq!([0, 1].map(pause_after), [None, None]);
        assert_eq!(pause_after(u32::MAX), Some(LONGEST_PAUSE));
    }
}
