//! Keeping a private cluster running: started, started again whenever it ends, and stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::folder::check_socket_path;
use super::postmaster::Postmaster;
use super::server::Server;
use super::{ClusterError, ClusterOptions, DATABASE, ROLE, url};
use crate::link::{Backoff, DatabaseTarget};

/// Between two starts of a server that doesn't start or ends by itself.
const RESTART_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_mins(1));
/// A server that ran for less ends again and again.
const LASTED: Duration = Duration::from_mins(1);

/// A private cluster that is kept running: started, and started again when it doesn't start or ends
/// by itself.
///
/// Dropping it leaves the server running, as the death of the daemon does; [`stop`](Self::stop) is
/// what ends it.
#[derive(Debug)]
pub struct PrivateCluster {
    target: DatabaseTarget,
    url: String,
    state: watch::Receiver<ClusterState>,
    stop: CancellationToken,
    keeper: AbortOnDropHandle<Result<(), ClusterError>>,
}

/// How a private cluster is.
#[derive(Debug, Clone)]
pub enum ClusterState {
    /// A server is looked for that a daemon before left running.
    Seeking,
    /// There is none; one is being started.
    Starting,
    /// It takes connections, and the database exists.
    Running,
    /// It doesn't start. Tried again.
    Failed(Arc<ClusterError>),
}

impl PrivateCluster {
    /// Begins to keep the cluster running, and returns at once. What goes wrong then is told by
    /// [`state`](Self::state), and tried again with growing pauses.
    ///
    /// # Errors
    ///
    /// What no attempt can mend, because only other options can.
    pub fn begin(options: ClusterOptions) -> Result<Self, ClusterError> {
        check_socket_path(&options.socket_dir)?;
        // Where it can't be made absolute, the working folder is gone, and nothing relative is found.
        let sockets = std::path::absolute(&options.socket_dir);
        let sockets = sockets.unwrap_or_else(|_| options.socket_dir.clone());
        let stop = CancellationToken::new();
        let (sender, state) = watch::channel(ClusterState::Seeking);
        let keeper = Keeper {
            options,
            state: sender,
            stop: stop.clone(),
        };
        Ok(Self {
            target: DatabaseTarget::unix(&sockets, ROLE, DATABASE),
            url: url(&sockets),
            state,
            stop,
            keeper: AbortOnDropHandle::new(tokio::spawn(keeper.keep())),
        })
    }

    /// The same, and returns when the server takes connections.
    ///
    /// # Errors
    ///
    /// Why the first attempt failed. There is no second one then.
    pub async fn start(options: ClusterOptions) -> Result<Self, Arc<ClusterError>> {
        let mut cluster = Self::begin(options)?;
        let settled = |state: &ClusterState| match state {
            ClusterState::Seeking | ClusterState::Starting => false,
            ClusterState::Running | ClusterState::Failed(_) => true,
        };
        let state = cluster.state.wait_for(settled).await;
        match state.as_deref() {
            Ok(ClusterState::Failed(cause)) => Err(Arc::clone(cause)),
            Ok(ClusterState::Seeking | ClusterState::Starting | ClusterState::Running) | Err(_) => {
                drop(state);
                Ok(cluster)
            }
        }
    }

    /// How it is: a level.
    pub fn state(&self) -> watch::Receiver<ClusterState> {
        self.state.clone()
    }

    /// The database, for [`RegistryOptions`](crate::RegistryOptions).
    pub fn target(&self) -> DatabaseTarget {
        self.target.clone()
    }

    /// Its URL, for other programs. It holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server: a second for its clients to leave, then with their transactions rolled
    /// back. To be called after the registry's sessions are closed.
    pub async fn stop(self) -> Result<(), ClusterError> {
        self.stop.cancel();
        // The task is neither aborted nor does it panic; a runtime that shuts down is the rest.
        self.keeper.await.unwrap_or(Ok(()))
    }
}

/// Owns the server's process.
struct Keeper {
    options: ClusterOptions,
    state: watch::Sender<ClusterState>,
    stop: CancellationToken,
}

impl Keeper {
    /// Starts the server, again whenever it ends, until it is to stop.
    async fn keep(self) -> Result<(), ClusterError> {
        let mut backoff = Backoff::new(RESTART_BACKOFF.0, RESTART_BACKOFF.1);
        loop {
            let (server, mut postmaster) = tokio::select! {
                started = self.start(&mut backoff) => started,
                () = self.stop.cancelled() => return self.stop_what_runs().await,
            };
            let began = Instant::now();
            tokio::select! {
                () = self.stop.cancelled() => return server.stop(postmaster).await,
                () = postmaster.ended() => {}
            }
            tracing::error!(
                last_lines = server.last_lines(&postmaster),
                "the private PostgreSQL ended by itself; starting it again"
            );
            self.state.send_replace(ClusterState::Starting);
            if began.elapsed() > LASTED {
                backoff.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next_delay()) => {}
                () = self.stop.cancelled() => return Ok(()),
            }
        }
    }

    /// Starts the server, however many attempts it takes.
    async fn start(&self, backoff: &mut Backoff) -> (Server, Postmaster) {
        loop {
            let cause = match self.attempt().await {
                Ok(started) => return started,
                Err(cause) => cause,
            };
            let delay = backoff.next_delay();
            self.tell(&cause, delay);
            self.state
                .send_replace(ClusterState::Failed(Arc::new(cause)));
            tokio::time::sleep(delay).await;
        }
    }

    /// Tells a cause once, however many attempts fail for it.
    fn tell(&self, cause: &ClusterError, again_in: Duration) {
        let is_known = match &*self.state.borrow() {
            ClusterState::Failed(known) => known.is_like(cause),
            ClusterState::Seeking | ClusterState::Starting | ClusterState::Running => false,
        };
        if is_known {
            tracing::warn!(
                ?again_in,
                "the private PostgreSQL still doesn't start, for the same cause"
            );
        } else {
            tracing::error!(%cause, ?again_in, "the private PostgreSQL doesn't start");
        }
    }

    async fn attempt(&self) -> Result<(Server, Postmaster), ClusterError> {
        let server = Server::prepare(&self.options)?;
        let postmaster = if let Some(running) = server.adopt().await? {
            running
        } else {
            self.say_starting();
            server.start().await?
        };
        let dir = self.options.dir.display();
        tracing::info!(pid = postmaster.pid(), %dir, "the private PostgreSQL takes connections");
        self.state.send_replace(ClusterState::Running);
        Ok((server, postmaster))
    }

    /// A cause that is known is not forgotten while the next attempt is made.
    fn say_starting(&self) {
        self.state.send_if_modified(|state| match state {
            ClusterState::Seeking => {
                *state = ClusterState::Starting;
                true
            }
            ClusterState::Starting | ClusterState::Running | ClusterState::Failed(_) => false,
        });
    }

    /// Stops a server that was being started. Where not even its folders can be had, which was told
    /// when it was tried, there is none.
    async fn stop_what_runs(&self) -> Result<(), ClusterError> {
        match Server::prepare(&self.options) {
            Ok(server) => server.stop_what_runs().await,
            Err(_) => Ok(()),
        }
    }
}
