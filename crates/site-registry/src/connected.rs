//! What the registry's task does while there is a link: read what notifications name, read
//! everything now and then, carry out changes, write the status board.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use site_model::SiteId;
use tokio::time::Instant;

use crate::board::{Batch, Board};
use crate::edit::{self, Edit, EditError};
use crate::ledger::PartialReading;
use crate::link::{Doing, Link, LinkError, Stale, bounded};
use crate::options::RegistryOptions;
use crate::reading::{FullReading, Reader};
use crate::source::RowSource;
use crate::task::{Command, RegistryTask, until};
use crate::{configured, django, report, schema};

/// Statuses that come within this time are written together.
const BOARD_SETTLE: Duration = Duration::from_millis(50);

/// For every session: nobody's settings of role or database may slow it, stall it or lead its names
/// elsewhere. `idle_session_timeout` came with PostgreSQL 14.
const SESSION_SETTINGS: &str = "
SET search_path = pg_catalog;
SET lock_timeout = '2s';
SET default_transaction_isolation = 'read committed';
SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout';";

/// An open link, read once.
#[derive(Debug)]
pub(crate) struct Connected {
    link: Link,
    reader: Reader,
    options: Arc<RegistryOptions>,
    /// Taken from the board, and not known to be written.
    in_flight: Option<Batch>,
    /// When the board is to be written next.
    board_due: Option<Instant>,
    resync_due: Instant,
}

impl Connected {
    /// Opens both sessions, subscribes, brings the schema up to date, and reads everything, in this
    /// order: what is committed after the subscription is notified, what was before is read.
    pub(crate) async fn open(
        options: Arc<RegistryOptions>,
        configure: bool,
    ) -> Result<(Self, FullReading), LinkError> {
        let mut link = Link::open(&options.target).await?;
        let client = &mut link.query.client;
        if options.migrate {
            schema::ensure(client).await?;
        } else {
            schema::require(client).await?;
        }
        if let (RowSource::Django(tables), true) = (&options.source, options.migrate) {
            django::follow(client, tables).await?;
        }
        for session in [&link.listen, &link.query] {
            let set = session.client.batch_execute(SESSION_SETTINGS);
            bounded(Doing::Connecting, set).await?;
        }
        if let RowSource::Query(source) = &options.source
            && let Some(listen) = source.listen()
        {
            bounded(Doing::Listening, link.listen.client.batch_execute(&listen)).await?;
        }
        let client = &mut link.query.client;
        if configure {
            configured::write(client, &options.source, &options.configured).await?;
        }
        let reader = Reader::prepare(client, &options.source).await?;
        let reading = reader.all(client).await?;
        let resync_due = Instant::now() + options.resync_interval;
        let connected = Self {
            link,
            reader,
            options,
            in_flight: None,
            board_due: None,
            resync_due,
        };
        Ok((connected, reading))
    }

    /// Follows the database until the link is lost, and says why it was.
    pub(crate) async fn follow(&mut self, task: &mut RegistryTask) -> LinkError {
        let error = match self.sweep(task).await {
            Ok(()) => self.follow_events(task).await,
            Err(error) => error,
        };
        // A statement notices that its session is gone before the session tells why.
        match error {
            LinkError::SessionEnded { .. } => self.link.cause_of_end().await.unwrap_or(error),
            error => error,
        }
    }

    async fn follow_events(&mut self, task: &mut RegistryTask) -> LinkError {
        let inbox = Arc::clone(&self.link.inbox);
        let board = Arc::clone(&task.channels.board);
        loop {
            // Commands come before rows: there is one for each operator who waits, while whoever
            // writes rows in a loop never lets the inbox become empty. Statuses come last, and the
            // board keeps the latest of each site meanwhile.
            let done = tokio::select! {
                biased;
                error = self.link.ended() => Err(error),
                Some(command) = task.channels.commands.recv() => self.obey(task, command).await,
                stale = inbox.stale() => self.read(task, stale).await,
                () = tokio::time::sleep_until(self.resync_due) => self.resync(task).await,
                () = until(self.board_due) => self.write_board(&board).await,
                () = board.changed(), if self.board_due.is_none() => {
                    self.board_due = Some(Instant::now() + BOARD_SETTLE);
                    Ok(())
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    async fn read(&mut self, task: &mut RegistryTask, stale: Stale) -> Result<(), LinkError> {
        match stale {
            Stale::Ids(ids) => self.read_some(task, ids).await,
            Stale::Everything => self.read_all(task).await,
        }
    }

    async fn read_all(&mut self, task: &mut RegistryTask) -> Result<(), LinkError> {
        let reading = self.reader.all(&mut self.link.query.client).await?;
        self.resync_due = Instant::now() + self.options.resync_interval;
        task.take_all(&reading);
        Ok(())
    }

    async fn read_some(
        &mut self,
        task: &mut RegistryTask,
        asked: BTreeSet<i64>,
    ) -> Result<(), LinkError> {
        let client = &self.link.query.client;
        let Some(found) = self.reader.some(client, &asked).await? else {
            return self.read_all(task).await;
        };
        let reading = PartialReading { asked, found };
        if !task.ledger.take_some(&reading, SystemTime::now()) {
            let existing = self.reader.ids(client).await?;
            task.ledger
                .take_with_ids(&reading, &existing, SystemTime::now());
        }
        task.publish();
        Ok(())
    }

    /// Reads everything, having made sure that notifications still come.
    async fn resync(&mut self, task: &mut RegistryTask) -> Result<(), LinkError> {
        self.link.check_subscription().await?;
        self.read_all(task).await
    }

    async fn obey(&mut self, task: &mut RegistryTask, command: Command) -> Result<(), LinkError> {
        // An asker that went away needs no answer.
        match command {
            Command::ConfirmRemovals(answer) => {
                let _gone = answer.send(task.confirm_removals());
                Ok(())
            }
            Command::Turn(answer) => {
                let _gone = answer.send(());
                Ok(())
            }
            Command::Resync(answer) => {
                let done = self.resync(task).await;
                let _gone = answer.send(done.clone().map_err(EditError::Link));
                done
            }
            Command::Edit(edit, answer) => {
                let edited = self.edit(task, &edit).await;
                let lost = match &edited {
                    Err(EditError::Link(error)) if ends_the_link(error) => Err(error.clone()),
                    Ok(_) | Err(_) => Ok(()),
                };
                let _gone = answer.send(edited);
                lost
            }
        }
    }

    /// Makes a change and reads its rows, so that who asked finds them changed.
    async fn edit(
        &mut self,
        task: &mut RegistryTask,
        edit: &Edit,
    ) -> Result<Vec<SiteId>, EditError> {
        let ids = edit::apply(&mut self.link.query.client, &self.options.source, edit).await?;
        if let Edit::Remove(site) = edit {
            task.ledger.remove(*site);
        }
        let read = match edit {
            Edit::ReloadAll => self.read_all(task).await,
            Edit::Add(_) | Edit::Set(..) | Edit::Remove(_) | Edit::Reload(_) => {
                let ids = ids.iter().map(|id| id.get()).collect();
                self.read_some(task, ids).await
            }
        };
        read.map_err(EditError::Link)?;
        Ok(ids)
    }

    /// Writes what is on the board; what comes meanwhile is for the next time, so that sites which change
    /// all the time don't keep the server busy with a few rows each. A status that the database doesn't take is no reason to lose
    /// sight of the rows: it is said, and tried again with the next change.
    async fn write_board(&mut self, board: &Board) -> Result<(), LinkError> {
        self.board_due = None;
        while let Some(batch) = board.take() {
            let batch = self.in_flight.insert(batch);
            let client = &mut self.link.query.client;
            let written = report::write(client, &self.options.node, batch).await;
            let batch = self.in_flight.take();
            if let Err(error) = written {
                if let Some(batch) = batch {
                    board.put_back(batch);
                }
                if ends_the_link(&error) {
                    return Err(error);
                }
                tracing::warn!(%error, hint = error.hint(), "the status of sites can't be written");
                return Ok(());
            }
            if !batch.is_some_and(|batch| batch.is_full()) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn sweep(&mut self, task: &RegistryTask) -> Result<(), LinkError> {
        let known: Vec<_> = task.ledger.desired().rows.keys().copied().collect();
        let known = task.channels.board.with_own(known);
        match report::sweep(&self.link.query.client, &self.options.node, &known).await {
            Err(error) if ends_the_link(&error) => Err(error),
            Err(error) => {
                tracing::warn!(%error, hint = error.hint(), "old statuses can't be deleted");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Writes what is left on the board before the end.
    pub(crate) async fn farewell(&mut self, board: &Board) {
        if let Some(interrupted) = self.in_flight.take() {
            board.put_back(interrupted);
        }
        if let Err(error) = self.write_board(board).await {
            tracing::warn!(%error, "the last statuses are not written");
        }
    }

    /// Closes both sessions. What was in flight is told again on the next link.
    pub(crate) async fn close(self) {
        self.link.close().await;
    }
}

/// Whether there is no use in asking this server again.
fn ends_the_link(error: &LinkError) -> bool {
    match error {
        LinkError::Unreachable(_)
        | LinkError::TimedOut { .. }
        | LinkError::LoginRefused(_)
        | LinkError::NoDatabase(_)
        | LinkError::Tls(_)
        | LinkError::RootCertificates { .. }
        | LinkError::Pooled
        // After a failover the server at hand may be the standby.
        | LinkError::ReadOnly(_)
        | LinkError::ServerTooOld(_)
        | LinkError::NoSchema
        | LinkError::NoDjango(_)
        | LinkError::OldSchema { .. }
        | LinkError::NewerSchema { .. }
        | LinkError::SessionEnded { .. }
        | LinkError::Cluster(_)
        | LinkError::NotYet => true,
        LinkError::Rights { .. } | LinkError::Statement { .. } => false,
    }
}
