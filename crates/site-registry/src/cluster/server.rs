//! One attempt at a running server: its folders, its programs, `initdb` where there is no cluster yet,
//! the process that runs or a new one, and the database in it.
//!
//! Each attempt looks at everything anew, so whatever an operator mends between two of them counts.

use std::path::Path;
use std::time::{Duration, Instant};

use super::folder::Folders;
use super::initdb::initdb;
use super::postmaster::{LockFile, Postmaster, remove_stale_locks};
use super::{ClusterError, ClusterOptions, DATABASE, Durability, Programs, ROLE, find_programs};
use crate::link::{Backoff, DatabaseTarget, Doing, LinkError, Session, bounded};

/// The oldest server the schema works on.
const OLDEST_MAJOR: u32 = 13;
/// A server that recovers from a crash may have much to read again.
const READY_WITHIN: Duration = Duration::from_mins(5);
/// Between two attempts to connect to a server that starts.
const READY_BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// A server that is there or is to be.
pub(crate) struct Server {
    folders: Folders,
    durability: Durability,
}

impl Server {
    /// Prepares its folders.
    pub(crate) fn prepare(options: &ClusterOptions) -> Result<Self, ClusterError> {
        Ok(Self {
            folders: Folders::prepare(options)?,
            durability: options.durability,
        })
    }

    /// What it wrote last.
    pub(crate) fn last_lines(&self, running: &Postmaster) -> String {
        running.last_lines(&self.folders.log)
    }

    /// Stops it.
    pub(crate) async fn stop(&self, running: Postmaster) -> Result<(), ClusterError> {
        running.stop(&self.folders.data).await
    }

    /// Stops whatever runs on the data folder.
    pub(crate) async fn stop_what_runs(&self) -> Result<(), ClusterError> {
        match Postmaster::find(&self.folders)? {
            Some(running) => self.stop(running).await,
            None => Ok(()),
        }
    }

    /// The server that a daemon before left, if there is one that can be used.
    pub(crate) async fn adopt(&self) -> Result<Option<Postmaster>, ClusterError> {
        let Some(running) = self.adoptable().await? else {
            return Ok(None);
        };
        match self.made_ready(running).await {
            Ok(ready) => Ok(Some(ready)),
            Err(error) => {
                tracing::warn!(%error, "the server that runs is of no use");
                Ok(None)
            }
        }
    }

    /// A new server that takes connections and has the database.
    pub(crate) async fn start(&self) -> Result<Postmaster, ClusterError> {
        let programs = choose_programs(&self.folders).await?;
        if !self.folders.is_initialised() {
            let dir = self.folders.data.display();
            tracing::info!(%dir, "making a private PostgreSQL cluster");
            initdb(&self.folders, &programs, self.durability).await?;
        }
        remove_stale_locks(&self.folders).await?;
        let started = Postmaster::spawn(&self.folders, &programs, self.durability)?;
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
                () = postmaster.ended() => return Err(self.ended(postmaster)),
            };
            if began.elapsed() > READY_WITHIN {
                return Err(ClusterError::NotReady {
                    seconds: READY_WITHIN.as_secs(),
                    cause,
                    log: self.folders.log.clone(),
                    lines: self.last_lines(postmaster),
                });
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = postmaster.ended() => return Err(self.ended(postmaster)),
            }
        }
    }

    fn ended(&self, postmaster: &Postmaster) -> ClusterError {
        ClusterError::Ended {
            log: self.folders.log.clone(),
            lines: self.last_lines(postmaster),
        }
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

/// What an operator makes without naming a schema belongs to `public`. PostgreSQL would look at the
/// schema first that has the name of the role, and that is this one's own. Set once: who sets it
/// otherwise has it otherwise.
const SEARCH_PATH: &str = "
DO $$ BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS entry
        WHERE s.setdatabase = (SELECT oid FROM pg_catalog.pg_database
                               WHERE datname = pg_catalog.current_database())
          AND entry LIKE 'search_path=%'
    ) THEN
        EXECUTE pg_catalog.format('ALTER DATABASE %I SET search_path = public, emperor',
                                  pg_catalog.current_database());
    END IF;
END $$";

/// Creates the database where it doesn't exist, and sees to its search path.
async fn ensure_database(sockets: &Path) -> Result<(), LinkError> {
    let own = DatabaseTarget::unix(sockets, ROLE, DATABASE);
    let session = match Session::open(&own).await {
        Ok(session) => session,
        Err(LinkError::NoDatabase(_)) => {
            create_database(sockets).await?;
            Session::open(&own).await?
        }
        Err(error) => return Err(error),
    };
    let set = bounded(Doing::Migrating, session.client.batch_execute(SEARCH_PATH)).await;
    session.close().await;
    set
}

async fn create_database(sockets: &Path) -> Result<(), LinkError> {
    let session = Session::open(&DatabaseTarget::unix(sockets, ROLE, "postgres")).await?;
    let create = format!("CREATE DATABASE {DATABASE}");
    let made = bounded(Doing::Migrating, session.client.batch_execute(&create)).await;
    session.close().await;
    made
}
