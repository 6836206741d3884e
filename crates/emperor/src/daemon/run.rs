//! The life of the daemon: lay the foundation, open the house, follow signals, close the house.
//!
//! The order of the beginning: everything that can be refused comes before anything that others
//! could notice; listening sockets before the database, so that clients wait instead of being
//! refused while it is reached. The database itself is never waited for: without it the sites of the
//! last reading are served. The order of the end is the reverse: no new requests, then no
//! workers, then no database.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tracing::{error, info, warn};
use vassal_core::lifecycle::Haste;

use super::catalog::{self, AssemblyError};
use super::foundation::{Foundation, FoundationError};
use super::house::{House, OpenError};
use super::router::settings::settings;
use crate::config::{self, Config, Surroundings};

/// How long rows may take to be read again at SIGHUP before the service manager is told that this
/// is done; the reading itself goes on.
const RESYNC_PATIENCE: Duration = Duration::from_secs(10);

/// Why the daemon does not run.
#[derive(Debug, Error)]
pub(crate) enum RunError {
    /// Something it stands on can't be had.
    #[error(transparent)]
    Foundation(#[from] FoundationError),
    /// The database can't be had.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Signals can't be followed.
    #[error("could not follow signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A part of the daemon ended by itself.
    #[error("{0} ended; this is a defect of the emperor, please report it with the log")]
    Broken(&'static str),
}

/// What it means that the private cluster doesn't start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClusterFailure {
    /// The sites of the last reading are served, and it is tried again.
    Retried,
    /// Somebody is looking on who should rather be told: the daemon ends with the cause.
    Fatal,
}

/// Runs the daemon until it is told to end.
pub(crate) async fn run(config: Config, on_failure: ClusterFailure) -> Result<(), RunError> {
    let mut signals = Signals::follow()?;
    let foundation = Foundation::lay(&config).await?;
    let house = House::open(&config, foundation)?;
    let mut daemon = Daemon { config, house };
    let ended = daemon.follow(&mut signals, on_failure).await;
    notify(&[sd_notify::NotifyState::Stopping]);
    daemon.close(&mut signals).await;
    ended
}

struct Daemon {
    config: Config,
    house: House,
}

impl Daemon {
    /// Serves until it is told to end, or something breaks.
    async fn follow(
        &mut self,
        signals: &mut Signals,
        on_failure: ClusterFailure,
    ) -> Result<(), RunError> {
        let cluster_failed = self.house.cluster_failed();
        let mut cluster_failed = std::pin::pin!(cluster_failed);
        let ready = self.house.ready();
        let mut ready = std::pin::pin!(ready);
        let mut announced = false;
        loop {
            tokio::select! {
                () = &mut ready, if !announced => {
                    announced = true;
                    info!("ready");
                    notify(&[sd_notify::NotifyState::Ready]);
                }
                asked = signals.next() => match asked {
                    Asked::End => return Ok(()),
                    Asked::Reread => self.reload().await,
                },
                cause = &mut cluster_failed, if on_failure == ClusterFailure::Fatal => {
                    return Err(OpenError::Cluster(cause).into());
                }
                part = self.house.broken() => return Err(RunError::Broken(part)),
            }
        }
    }

    /// SIGHUP: configuration, templates and rows are read again. What can't be read changes
    /// nothing.
    async fn reload(&mut self) {
        info!("reading configuration, templates and rows again");
        notify_reloading();
        match self.reread() {
            Ok(config) => self.config = config,
            Err(error) => error!(%error, "the configuration is refused; the one before stays"),
        }
        let registry = self.house.registry();
        match timeout(RESYNC_PATIENCE, registry.resync()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the rows can't be read again now"),
            Err(_) => warn!("the rows are still being read"),
        }
        notify(&[sd_notify::NotifyState::Ready]);
    }

    fn reread(&self) -> Result<Config, RereadError> {
        let config = config::load(
            self.config.file.as_deref(),
            &Surroundings::of_this_process(),
        )?;
        let catalog = catalog::assemble(&config)?;
        let fixed = config.differences_that_need_a_restart(&self.config);
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            warn!(keys, "these take effect at the next start only");
        }
        let settings = settings(&config.router, &self.config.state_dir);
        self.house.reconfigure(Arc::new(catalog), settings);
        Ok(config)
    }

    /// Ends everything in order; when told to end once more, at once.
    async fn close(self, signals: &mut Signals) {
        let mut house = self.house;
        info!("ending: requests, then vassals, then the database");
        let haste = tokio::select! {
            () = house.stop_router() => Haste::Orderly,
            () = signals.stop() => Haste::AtOnce,
        };
        house.stop_vassals(haste);
        tokio::select! {
            () = house.vassals_gone() => {}
            () = signals.stop() => {
                warn!("told to end once more: vassals are killed");
                house.stop_vassals(Haste::AtOnce);
                house.vassals_gone().await;
            }
        }
        house.close().await;
    }
}

/// Why a configuration is not taken over.
#[derive(Debug, Error)]
enum RereadError {
    #[error(transparent)]
    Config(#[from] config::ConfigError),
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
}

/// The signals that the daemon answers.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal means.
enum Asked {
    End,
    Reread,
}

impl Signals {
    fn follow() -> Result<Self, RunError> {
        let follow = |kind| signal(kind).map_err(RunError::Signals);
        Ok(Self {
            terminate: follow(SignalKind::terminate())?,
            interrupt: follow(SignalKind::interrupt())?,
            hangup: follow(SignalKind::hangup())?,
        })
    }

    /// The next thing it is told. Cancel safe.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::Reread,
        }
    }

    /// Resolves when it is told to end. Cancel safe.
    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells the service manager, where there is one.
fn notify(state: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager can't be told");
    }
}

fn notify_reloading() {
    match sd_notify::NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[sd_notify::NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "the service manager can't be told"),
    }
}
