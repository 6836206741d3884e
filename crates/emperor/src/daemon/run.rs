//! The life of the daemon: lay the foundation, open the house, follow signals, close the house.
//!
//! The order of the beginning: everything that can be refused comes before anything that others
//! could notice; listening sockets before the database, so that clients wait instead of being
//! refused while it is reached. The database itself is never waited for: without it the sites of the
//! last reading are served. The order of the end is the reverse: no new requests, then no
//! workers, then no database.

use std::sync::Arc;

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{error, info, warn};
use vassal_core::lifecycle::Haste;

use super::catalog;
use super::command::{RESYNC_PATIENCE, Reread, RereadCommand, RereadError};
use super::foundation::{Foundation, FoundationError};
use super::house::{House, OpenError, Opened};
use super::router::settings::settings;
use super::service_manager::{self, ServiceManager, Subject};
use crate::config::{self, Config, Surroundings};

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
    let Opened {
        house,
        subject,
        rereads,
    } = House::open(&config, foundation)?;
    let mut daemon = Daemon { config, house };
    let told = Told {
        signals: &mut signals,
        rereads,
    };
    let ended = daemon.follow(told, subject, on_failure).await;
    service_manager::stopping();
    daemon.close(&mut signals).await;
    ended
}

/// Those who tell the main loop what to do.
struct Told<'a> {
    signals: &'a mut Signals,
    rereads: mpsc::Receiver<RereadCommand>,
}

struct Daemon {
    config: Config,
    house: House,
}

impl Daemon {
    /// Serves until it is told to end, or something breaks.
    async fn follow(
        &mut self,
        told: Told<'_>,
        subject: Subject,
        on_failure: ClusterFailure,
    ) -> Result<(), RunError> {
        let Told {
            signals,
            mut rereads,
        } = told;
        let cluster_failed = self.house.cluster_failed();
        let mut cluster_failed = std::pin::pin!(cluster_failed);
        let manager = ServiceManager::default();
        let attending = manager.attend(subject, self.house.ready());
        let mut attending = std::pin::pin!(attending);
        loop {
            tokio::select! {
                never = &mut attending => match never {},
                asked = signals.next() => match asked {
                    Asked::End => return Ok(()),
                    // What went wrong is in the log; a signal has nobody to be told.
                    Asked::Reread => drop(self.read_again(&manager).await),
                    Asked::Leave => {
                        self.house.remembered().await;
                        leave();
                    }
                },
                cause = &mut cluster_failed, if on_failure == ClusterFailure::Fatal => {
                    return Err(OpenError::Cluster(cause).into());
                }
                Some(answer) = rereads.recv() => {
                    let read = self.read_again(&manager).await;
                    // Whoever asked and went away gets no answer.
                    drop(answer.send(read));
                }
                part = self.house.broken() => return Err(RunError::Broken(part)),
            }
        }
    }

    /// Configuration, templates and rows are read again. What can't be read changes nothing.
    async fn read_again(&mut self, manager: &ServiceManager) -> Result<Reread, RereadError> {
        info!("reading configuration, templates and rows again");
        manager.reading_again();
        let read = self.read_all_again().await;
        manager.read_again();
        match &read {
            Ok(_) => {}
            Err(error @ (RereadError::Config(_) | RereadError::Assembly(_))) => {
                error!(%error, "the configuration is refused; the one before stays");
            }
            Err(error @ (RereadError::Rows(_) | RereadError::Slow)) => {
                warn!(%error, "the configuration is in force");
            }
        }
        read
    }

    async fn read_all_again(&mut self) -> Result<Reread, RereadError> {
        let (config, reread) = self.reread()?;
        if config.keeps_pages_otherwise(&self.config) {
            self.house.renew_purging(&config).await;
        }
        self.config = config;
        self.house.renew_router();
        let rows = self.house.registry();
        match timeout(RESYNC_PATIENCE, rows.resync()).await {
            Ok(read) => read?,
            Err(_) => return Err(RereadError::Slow),
        }
        Ok(reread)
    }

    fn reread(&self) -> Result<(Config, Reread), RereadError> {
        let config = config::load(
            self.config.file.as_deref(),
            &Surroundings::of_this_process(),
        )?;
        let catalog = catalog::assemble(&config)?;
        let needs_restart = config.differences_that_need_a_restart(&self.config);
        if !needs_restart.is_empty() {
            let keys = needs_restart.join(", ");
            warn!(keys, "these take effect at the next start only");
        }
        let settings = settings(&config.router, &self.config.state_dir);
        self.house
            .reconfigure(Arc::new(catalog), settings, config.reload_settle);
        Ok((config, Reread { needs_restart }))
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

/// SIGUSR2: ends this process and nothing else. The fastrouter, the workers and the private PostgreSQL
/// are for the next emperor to go on with, as they would be had this one been killed; the exit status
/// says that this was meant.
fn leave() -> ! {
    info!("leaving everything to the next emperor");
    // No destructor may run: they end what runs.
    std::process::exit(0)
}

/// The signals that the daemon answers.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    leave: Signal,
}

/// What a signal means.
enum Asked {
    End,
    Reread,
    Leave,
}

impl Signals {
    fn follow() -> Result<Self, RunError> {
        let follow = |kind| signal(kind).map_err(RunError::Signals);
        Ok(Self {
            terminate: follow(SignalKind::terminate())?,
            interrupt: follow(SignalKind::interrupt())?,
            hangup: follow(SignalKind::hangup())?,
            leave: follow(SignalKind::user_defined2())?,
        })
    }

    /// The next thing it is told. Cancel safe.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::End,
            _ = self.interrupt.recv() => Asked::End,
            _ = self.hangup.recv() => Asked::Reread,
            _ = self.leave.recv() => Asked::Leave,
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
