//! The registry from outside: its owner, and the handle that the daemon holds.
//!
//! [`Registry`] owns every task; [`RegistryHandle`] is what everybody else gets. Nothing a handle
//! does waits for a server that hangs: levels are read from `watch` channels, status rows go to a
//! board, and a change is answered with an error at once where there is no link.

use std::sync::Arc;

use imbl::OrdMap;
use site_model::SiteId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use vassal_core::StatusTold;

use crate::board::Board;
use crate::desired::Desired;
use crate::edit::{Edit, EditError, NewSite, SiteChange};
use crate::link::ConnectionStatus;
use crate::options::RegistryOptions;
use crate::task::{Channels, Command, RegistryTask};

/// Commands that wait for the registry's task. Each is an operator at a command line who waits for
/// its answer, so more than a few at once would only make them wait elsewhere.
const COMMANDS: usize = 32;

/// The running registry, and the owner of its tasks: they end when it is dropped.
#[derive(Debug)]
pub struct Registry {
    handle: RegistryHandle,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// Access to the running registry.
#[derive(Debug, Clone)]
pub struct RegistryHandle {
    commands: mpsc::Sender<Command>,
    board: Arc<Board>,
    desired: watch::Receiver<Arc<Desired>>,
    connection: watch::Receiver<ConnectionStatus>,
}

impl Registry {
    /// Starts the registry on the current tokio runtime, and returns at once.
    ///
    /// [`RegistryHandle::desired`] begins with [`Source::Nothing`](crate::Source::Nothing). It
    /// becomes the first reading or, where PostgreSQL doesn't answer within a second or its private
    /// cluster has to be started first, the snapshot on disk.
    pub fn start(mut options: RegistryOptions) -> Self {
        options
            .target
            .set_application_name(&format!("emperor {}", options.node));
        let status = ConnectionStatus::new(options.target.to_string());
        let (desired_sender, desired) = watch::channel(Arc::new(Desired::nothing()));
        let (connection_sender, connection) = watch::channel(status);
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let board = Arc::new(Board::default());
        let stop = CancellationToken::new();
        let channels = Channels {
            desired: desired_sender,
            connection: connection_sender,
            commands: receiver,
            board: Arc::clone(&board),
            stop: stop.clone(),
        };
        let task = tokio::spawn(RegistryTask::new(options, channels).run());
        Self {
            handle: RegistryHandle {
                commands,
                board,
                desired,
                connection,
            },
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Access for others.
    pub fn handle(&self) -> RegistryHandle {
        self.handle.clone()
    }

    /// Writes what is still on the status board and the snapshot, closes both sessions, and ends
    /// the tasks. Takes a few seconds at most, also where the server hangs.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the registry's task did not end by itself");
        }
    }
}

impl RegistryHandle {
    /// Desired state: a level that always holds the latest.
    pub fn desired(&self) -> watch::Receiver<Arc<Desired>> {
        self.desired.clone()
    }

    /// The link to PostgreSQL.
    pub fn connection(&self) -> watch::Receiver<ConnectionStatus> {
        self.connection.clone()
    }

    /// Puts a site's status on the board; the latest per site is written to
    /// `emperor.site_status`, again after every reconnect. Never waits. False: it was the same.
    pub fn report(&self, told: impl Into<StatusTold>) -> bool {
        self.board.report(told.into())
    }

    /// Takes a site off the board and its row out of `emperor.site_status`. Never waits. False: it was not
    /// there.
    pub fn forget(&self, site: SiteId) -> bool {
        self.board.forget(site)
    }

    /// The latest status of a site, as it is on the board.
    pub fn told(&self, site: SiteId) -> Option<StatusTold> {
        self.board.get(site)
    }

    /// The latest status of every site on the board.
    pub fn all_told(&self) -> OrdMap<SiteId, StatusTold> {
        self.board.all()
    }

    /// Reads every row again; afterwards [`desired`](Self::desired) has it.
    pub async fn resync(&self) -> Result<(), EditError> {
        self.ask(Command::Resync).await?
    }

    /// Resolves once the registry's task has come round its loop: what it waits for has a bound, so
    /// this has one too, unless the task is stuck.
    pub async fn turn(&self) -> Result<(), EditError> {
        self.ask(Command::Turn).await
    }

    /// Lets go of the sites that are held although their rows are gone, and returns them.
    pub async fn confirm_removals(&self) -> Result<Vec<SiteId>, EditError> {
        self.ask(Command::ConfirmRemovals).await
    }

    /// Adds a site and returns its id.
    pub async fn add_site(&self, site: NewSite) -> Result<SiteId, EditError> {
        let ids = self.edit(Edit::Add(site)).await?;
        // Unreachable in practice: the statement that adds returns the row it made.
        ids.first()
            .copied()
            .ok_or_else(|| EditError::Refused("the insert returned no id".into()))
    }

    /// Changes columns and further hosts of a site, all of it or nothing.
    pub async fn set_site(&self, site: SiteId, change: SiteChange) -> Result<(), EditError> {
        self.edit(Edit::Set(site, change)).await.map(drop)
    }

    /// Sets `enabled`.
    pub async fn enable(&self, site: SiteId) -> Result<(), EditError> {
        self.set_site(site, SiteChange::enabled(true)).await
    }

    /// Clears `enabled`.
    pub async fn disable(&self, site: SiteId) -> Result<(), EditError> {
        self.set_site(site, SiteChange::enabled(false)).await
    }

    /// Deletes a site with its further hosts. A removal asked for here is never held.
    pub async fn remove_site(&self, site: SiteId) -> Result<(), EditError> {
        self.edit(Edit::Remove(site)).await.map(drop)
    }

    /// Asks for new instances of these sites, as `emperor.reload(site_id)` does.
    pub async fn request_reload(&self, sites: Vec<SiteId>) -> Result<(), EditError> {
        self.edit(Edit::Reload(sites)).await.map(drop)
    }

    /// Asks for new instances of every site, as `emperor.reload(NULL)` does.
    pub async fn request_reload_all(&self) -> Result<(), EditError> {
        self.edit(Edit::ReloadAll).await.map(drop)
    }

    async fn edit(&self, edit: Edit) -> Result<Vec<SiteId>, EditError> {
        let edit = Box::new(edit);
        self.ask(|answer| Command::Edit(edit, answer)).await?
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, EditError> {
        let (sender, answer) = oneshot::channel();
        let sent = self.commands.send(command(sender)).await;
        sent.map_err(|_| EditError::Stopping)?;
        answer.await.map_err(|_| EditError::Stopping)
    }
}
