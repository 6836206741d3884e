//! Starting a private cluster, keeping it running, and stopping it.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::folder::Folders;
use super::initdb::initdb;
use super::postmaster::{LockFile, Postmaster, last_lines, remove_stale_locks};
use super::{
    ClusterError, ClusterOptions, DATABASE, Durability, Programs, ROLE, find_programs, url,
};
use crate::link::{Backoff, DatabaseTarget, Doing, LinkError, Session, bounded};

/// The oldest server the schema works on.
const OLDEST_MAJOR: u32 = 13;
/// A server that recovers from a crash may have much to read again.
const READY_WITHIN: Duration = Duration::from_mins(5);
/// Between two attempts to connect to a server that starts.
const READY_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// Between two starts of a server that ends by itself.
const RESTART_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// A server that ran for less ends again and again.
const LASTED: Duration = Duration::from_mins(1);

/// A private cluster that runs, and is started again when it ends by itself.
///
/// Dropping it leaves the server running, as the death of the daemon does; [`stop`](Self::stop) is
/// what ends it.
#[derive(Debug)]
pub struct PrivateCluster {
    target: DatabaseTarget,
    url: String,
    programs: Programs,
    stop: CancellationToken,
    keeper: AbortOnDropHandle<Result<(), ClusterError>>,
}

impl PrivateCluster {
    /// Finds the programs, makes the cluster where there is none, starts the server or adopts the
    /// one that runs, and returns when it takes connections and the database exists.
    ///
    /// Not cancel safe in the sense that a server may have been started when the future is dropped;
    /// the next start adopts it.
    pub async fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let folders = Folders::prepare(options)?;
        let programs = choose_programs(&folders).await?;
        if !folders.is_initialised() {
            tracing::info!(dir = %folders.data.display(), "making a private PostgreSQL cluster");
            initdb(&folders, &programs, options.durability).await?;
        }
        let cluster = Keeper {
            folders,
            programs: programs.clone(),
            durability: options.durability,
        };
        let postmaster = cluster.run_server().await?;
        tracing::info!(
            pid = postmaster.pid(),
            dir = %cluster.folders.data.display(),
            "the private PostgreSQL takes connections"
        );
        let sockets = cluster.folders.sockets.clone();
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(cluster.keep(postmaster, stop.clone()));
        Ok(Self {
            target: DatabaseTarget::unix(&sockets, ROLE, DATABASE),
            url: url(&sockets),
            programs,
            stop,
            keeper: AbortOnDropHandle::new(keeper),
        })
    }

    /// The database, for [`RegistryOptions`](crate::RegistryOptions).
    pub fn target(&self) -> DatabaseTarget {
        self.target.clone()
    }

    /// Its URL, for other programs. It holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The programs it runs with; `psql` is among them.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Stops the server: a second for its clients to leave, then with their transactions rolled
    /// back. To be called after the registry's sessions are closed.
    pub async fn stop(self) -> Result<(), ClusterError> {
        self.stop.cancel();
        // The task is neither aborted nor does it panic; a runtime that shuts down is the rest.
        self.keeper.await.unwrap_or(Ok(()))
    }
}

/// The programs that fit the data folder; for a new one, the newest.
async fn choose_programs(folders: &Folders) -> Result<Programs, ClusterError> {
    let found = find_programs(std::env::var_os("PATH").as_deref()).await;
    if found.is_empty() {
        return Err(ClusterError::NoPrograms);
    }
    let versions = || {
        let texts: Vec<_> = found.iter().map(|p| p.major.to_string()).collect();
        texts.join(", ")
    };
    if folders.is_initialised() {
        let made_by = folders.made_by()?;
        let fits = found.iter().find(|p| p.major.to_string() == made_by);
        return fits.cloned().ok_or_else(|| ClusterError::OtherMajor {
            dir: folders.data.clone(),
            made_by,
            found: versions(),
        });
    }
    let newest = found.iter().find(|p| p.major >= OLDEST_MAJOR);
    newest
        .cloned()
        .ok_or_else(|| ClusterError::TooOld { found: versions() })
}

/// Owns the server's process.
struct Keeper {
    folders: Folders,
    programs: Programs,
    durability: Durability,
}

impl Keeper {
    /// Starts the server again whenever it ends, until it is to stop.
    async fn keep(
        self,
        mut postmaster: Postmaster,
        stop: CancellationToken,
    ) -> Result<(), ClusterError> {
        let mut backoff = Backoff::new(RESTART_BACKOFF.0, RESTART_BACKOFF.1);
        loop {
            let began = Instant::now();
            tokio::select! {
                () = stop.cancelled() => return postmaster.stop(&self.folders.data).await,
                () = postmaster.ended() => {}
            }
            tracing::error!(
                last_lines = last_lines(&self.folders.log),
                "the private PostgreSQL ended by itself; starting it again"
            );
            if began.elapsed() > LASTED {
                backoff.reset();
            }
            postmaster = tokio::select! {
                started = self.start_again(&mut backoff) => started,
                () = stop.cancelled() => return self.stop_what_runs().await,
            };
        }
    }

    /// Starts the server, however many attempts it takes.
    async fn start_again(&self, backoff: &mut Backoff) -> Postmaster {
        loop {
            tokio::time::sleep(backoff.next_delay()).await;
            match self.run_server().await {
                Ok(started) => return started,
                Err(error) => tracing::error!(%error, "the private PostgreSQL doesn't start"),
            }
        }
    }

    /// Stops a server that was being started.
    async fn stop_what_runs(&self) -> Result<(), ClusterError> {
        match Postmaster::find(&self.folders)? {
            Some(running) => running.stop(&self.folders.data).await,
            None => Ok(()),
        }
    }

    /// A server that takes connections and has the database: the one that runs, or a new one.
    async fn run_server(&self) -> Result<Postmaster, ClusterError> {
        if let Some(running) = self.adoptable().await? {
            match self.made_ready(running).await {
                Ok(ready) => return Ok(ready),
                Err(error) => tracing::warn!(%error, "the server that runs is of no use"),
            }
        }
        remove_stale_locks(&self.folders).await?;
        let started = Postmaster::spawn(&self.folders, &self.programs, self.durability)?;
        self.made_ready(started).await
    }

    /// Waits until the server can be used. One that can't must not lie in the way of the next.
    async fn made_ready(&self, mut postmaster: Postmaster) -> Result<Postmaster, ClusterError> {
        match self.ready(&mut postmaster).await {
            Ok(()) => Ok(postmaster),
            Err(error) => {
                postmaster.stop(&self.folders.data).await?;
                Err(error)
            }
        }
    }

    /// The server that a daemon before left running, if its socket is where it is sought now.
    async fn adoptable(&self) -> Result<Option<Postmaster>, ClusterError> {
        let Some(running) = Postmaster::find(&self.folders)? else {
            return Ok(None);
        };
        let lock = LockFile::read(&self.folders.lock())?;
        if lock.is_some_and(|lock| lock.sockets == self.folders.sockets)
            && self.folders.socket().exists()
        {
            tracing::info!(
                pid = running.pid(),
                "adopting the private PostgreSQL that runs"
            );
            return Ok(Some(running));
        }
        tracing::info!(
            pid = running.pid(),
            "the private PostgreSQL has its socket elsewhere; starting it anew"
        );
        running.stop(&self.folders.data).await?;
        Ok(None)
    }

    /// Waits until the database is there.
    async fn ready(&self, postmaster: &mut Postmaster) -> Result<(), ClusterError> {
        let mut backoff = Backoff::new(READY_BACKOFF.0, READY_BACKOFF.1);
        let began = Instant::now();
        loop {
            let attempt = ensure_database(&self.folders.sockets);
            let cause = tokio::select! {
                made = attempt => match made {
                    Ok(()) => return Ok(()),
                    Err(cause) => cause,
                },
                () = postmaster.ended() => return Err(self.ended()),
            };
            if began.elapsed() > READY_WITHIN {
                return Err(ClusterError::NotReady {
                    seconds: READY_WITHIN.as_secs(),
                    cause,
                    log: self.folders.log.clone(),
                    lines: last_lines(&self.folders.log),
                });
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = postmaster.ended() => return Err(self.ended()),
            }
        }
    }

    fn ended(&self) -> ClusterError {
        ClusterError::Ended {
            log: self.folders.log.clone(),
            lines: last_lines(&self.folders.log),
        }
    }
}

/// Creates the database where it doesn't exist.
async fn ensure_database(sockets: &Path) -> Result<(), LinkError> {
    match Session::open(&DatabaseTarget::unix(sockets, ROLE, DATABASE)).await {
        Ok(session) => {
            session.close().await;
            return Ok(());
        }
        Err(LinkError::NoDatabase(_)) => {}
        Err(error) => return Err(error),
    }
    let session = Session::open(&DatabaseTarget::unix(sockets, ROLE, "postgres")).await?;
    let create = format!("CREATE DATABASE {DATABASE}");
    let made = bounded(Doing::Migrating, session.client.batch_execute(&create)).await;
    session.close().await;
    made
}
