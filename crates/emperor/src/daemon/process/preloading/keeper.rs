//! The task that owns a preloader: starts it, passes on what is asked of it, and ends it once nobody
//! wants anything more.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};
use vassal_core::ExitReason;
use wire::frame;
use wire::preload::{Exit, PreloaderOrder, PreloaderWord};

use super::super::failure::{PreloadFailure, SpawnFailure};
use super::super::helper;
use super::super::running::RunningProcess;
use super::super::spawning::preloader::{self, Begun};
use super::super::tools::Tools;
use super::Preloaders;
use super::charter::{Charter, Render};
use super::handle::{Ask, Loaded, Preloader, State};
use crate::runtime::off_the_loop;

/// How long it may take for an order to be taken. It does nothing but forks, each of which takes
/// milliseconds.
const ORDER_PATIENCE: Duration = Duration::from_secs(10);

/// How long one that hung up may take to end.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// The least time between two looks whether anybody wants it.
const LEAST_KEEP: Duration = Duration::from_secs(1);

/// What one task owns.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) tools: Arc<Tools>,
    pub(super) charter: Arc<Charter>,
    pub(super) asked: mpsc::Receiver<Ask>,
    pub(super) told: watch::Sender<State>,
    pub(super) registry: Weak<Preloaders>,
    /// Held by those who use it.
    pub(super) own: Weak<Preloader>,
}

/// What is said between the emperor and a preloader.
#[derive(Debug)]
struct Talk {
    link: UnixStream,
    received: BytesMut,
    /// Who waits to be told how a worker ended: at most as many as there are workers.
    asking: HashMap<i32, oneshot::Sender<ExitReason>>,
}

impl Keeper {
    pub(super) async fn run(mut self, render: Render) {
        let Begun { process, link } = match self.begin(render).await {
            Ok(begun) => begun,
            Err(failure) => {
                let failure = PreloadFailure::NotStarted {
                    prospect: failure.prospect(),
                    text: failure.to_string(),
                };
                self.told.send_replace(State::Failed(failure));
                return;
            }
        };
        let mut talk = Talk {
            link,
            received: BytesMut::new(),
            asking: HashMap::new(),
        };
        match self.load(&process, &mut talk).await {
            Ok(()) => {
                info!(pid = process.pid(), "a preloader can be forked");
                if let Some(lowered) = self.tools.lowered {
                    let pid = process.leash.child.pid();
                    off_the_loop(move || lowered.take_back(pid)).await;
                }
                self.told.send_replace(State::Ready);
                self.serve(&process, &mut talk).await;
            }
            Err(failure) => {
                warn!(%failure, "a preloader failed");
                self.told.send_replace(State::Failed(failure));
            }
        }
        // From here on nobody finds it any more; its workers know nothing of its end.
        drop((self, talk));
        process.remove().await;
    }

    async fn begin(&self, render: Render) -> Result<Begun, SpawnFailure> {
        let (tools, charter) = (Arc::clone(&self.tools), Arc::clone(&self.charter));
        let prepared = off_the_loop(move || preloader::prepare(&tools, &charter, &render)).await?;
        let env = prepared.env().to_vec();
        let begun = prepared.begin().await?;
        if let Some(own) = self.own.upgrade() {
            own.loaded(Loaded {
                pid: begun.process.leash.child.pid(),
                env,
                missing: [&self.charter.missing[..], &begun.process.missing].concat(),
            });
        }
        Ok(begun)
    }

    async fn load(&self, process: &RunningProcess, talk: &mut Talk) -> Result<(), PreloadFailure> {
        let after = self.charter.preload.timeout;
        let loading = async {
            tokio::select! {
                // What it said before it ended is read by then.
                reason = process.exited() => Some(reason),
                word = talk.word() => match word {
                    Ok(PreloaderWord::Ready) => None,
                    // It closed its link, or speaks otherwise: it has ended, or will be.
                    Ok(PreloaderWord::Ended { .. }) | Err(_) => {
                        // Its last words come before its end; only one that goes on is killed.
                        if timeout(END_PATIENCE, process.exited()).await.is_err() {
                            process.kill_group();
                        }
                        Some(process.exited().await)
                    }
                },
            }
        };
        let loaded = timeout(after, loading).await;
        let said = || process.captured.last_stderr();
        match loaded {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => Err(PreloadFailure::Ended {
                reason,
                said: said(),
            }),
            Err(_) => Err(PreloadFailure::TimedOut {
                after,
                said: said(),
            }),
        }
    }

    /// Returns once nobody wants it any more, or it doesn't work any more.
    async fn serve(&mut self, process: &RunningProcess, talk: &mut Talk) {
        let keep = self.charter.preload.keep.max(LEAST_KEEP);
        let mut unused_at = Instant::now() + keep;
        loop {
            tokio::select! {
                ask = self.asked.recv() => {
                    let Some(ask) = ask else { return };
                    unused_at = Instant::now() + keep;
                    let passed_on = timeout(ORDER_PATIENCE, talk.pass_on(ask)).await;
                    if !matches!(passed_on, Ok(Ok(()))) {
                        warn!(pid = process.pid(), "a preloader takes no orders and is ended; its workers go on");
                        return;
                    }
                }
                word = talk.word() => match word {
                    Ok(PreloaderWord::Ended { pid, exit }) => talk.tell(pid, exit),
                    Ok(PreloaderWord::Ready) => {}
                    Err(error) => {
                        warn!(pid = process.pid(), %error, "a preloader is gone; its workers go on");
                        return;
                    }
                },
                () = sleep_until(unused_at) => {
                    unused_at = Instant::now() + keep;
                    if self.registry.upgrade().is_none_or(|all| all.let_go(&self.own)) {
                        debug!(pid = process.pid(), "a preloader is not wanted any more");
                        return;
                    }
                }
            }
        }
    }
}

impl Talk {
    /// The next thing it says. Cancel safe.
    async fn word(&mut self) -> io::Result<PreloaderWord> {
        loop {
            if let Some(word) = frame::decode(&mut self.received).map_err(io::Error::other)? {
                return Ok(word);
            }
            if self.link.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn pass_on(&mut self, ask: Ask) -> io::Result<()> {
        match ask {
            Ask::Fork(link) => self.fork(&link).await,
            Ask::Ended(pid, asking) => {
                let pid = pid_number(pid);
                if let Some(asking) = asking {
                    self.asking.insert(pid, asking);
                }
                helper::send(&self.link, &PreloaderOrder::Ended { pid }, &[]).await
            }
            Ask::LetGo => Ok(()),
        }
    }

    async fn fork(&self, link: &OwnedFd) -> io::Result<()> {
        helper::send(&self.link, &PreloaderOrder::Fork, &[link.as_fd()]).await
    }

    fn tell(&mut self, pid: i32, exit: Exit) {
        let reason = match exit {
            Exit::Exited { status } => ExitReason::Exited { status },
            Exit::Killed {
                signal,
                core_dumped,
            } => ExitReason::Killed {
                signal,
                core_dumped,
            },
            Exit::Unknown => ExitReason::Unknown,
        };
        if let Some(asking) = self.asking.remove(&pid) {
            // Whoever asked may not wait any more.
            let _ = asking.send(reason);
        }
    }
}

fn pid_number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}
