//! The one task that owns both sessions: connect, read everything, follow, and all over again.
//!
//! It is the only writer of desired state. Whatever it waits for has a bound, and while there is no
//! link it answers every command at once.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imbl::ordmap::DiffItem;
use site_model::SiteId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::board::Board;
use crate::cluster::ClusterState;
use crate::connected::Connected;
use crate::desired::{Desired, Row, Source};
use crate::edit::{Edit, EditError};
use crate::ledger::Ledger;
use crate::link::{Backoff, ConnectionState, ConnectionStatus, LinkError, QUEUE_WARNING};
use crate::options::RegistryOptions;
use crate::reading::FullReading;
use crate::snapshot;

/// How long the first reading may take before the snapshot on disk is used.
const SNAPSHOT_AFTER: Duration = Duration::from_secs(1);
/// Between two attempts at a server that can't be had.
const UNREACHABLE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// After a link that was had and lost: the server is there, and each attempt costs it a full
/// reading.
const LOST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// A link that lasted less was of no use.
const LASTED: Duration = Duration::from_secs(1);
/// What is left to write at the end may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a handle asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Read everything.
    Resync(oneshot::Sender<Result<(), EditError>>),
    /// Let go of the held sites.
    ConfirmRemovals(oneshot::Sender<Vec<SiteId>>),
    /// Say that the loop came round.
    Turn(oneshot::Sender<()>),
    /// Change rows.
    Edit(Box<Edit>, oneshot::Sender<Result<Vec<SiteId>, EditError>>),
}

/// The task's ends of the channels to the handles.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) desired: watch::Sender<Arc<Desired>>,
    pub(crate) connection: watch::Sender<ConnectionStatus>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) board: Arc<Board>,
    pub(crate) stop: CancellationToken,
}

/// The task's state.
#[derive(Debug)]
pub(crate) struct RegistryTask {
    pub(crate) options: Arc<RegistryOptions>,
    pub(crate) channels: Channels,
    pub(crate) ledger: Ledger,
    /// The `[[site]]` rows were written; they are, once per process.
    configured: bool,
    snapshot_due: Option<Instant>,
    /// Tables of whose changes nobody is told, as was last said.
    silent: Vec<String>,
}

/// What ended a wait.
enum Waited<T> {
    Done(T),
    Stopped,
}

impl RegistryTask {
    pub(crate) fn new(options: RegistryOptions, channels: Channels) -> Self {
        Self {
            ledger: Ledger::new(options.max_removals_percent),
            options: Arc::new(options),
            channels,
            configured: false,
            snapshot_due: None,
            silent: Vec::new(),
        }
    }

    /// Runs until it is told to stop.
    pub(crate) async fn run(mut self) {
        let keeper = tokio::spawn(snapshot::keep(
            self.options.snapshot_path.clone(),
            self.channels.desired.subscribe(),
            self.channels.stop.clone(),
        ));
        let keeper = AbortOnDropHandle::new(keeper);
        self.snapshot_due = Some(Instant::now() + SNAPSHOT_AFTER);
        self.connect_forever().await;
        // Ends by itself after one last write; a disk that hangs is not waited for.
        let _written = tokio::time::timeout(FAREWELL, keeper).await;
    }

    async fn connect_forever(&mut self) {
        let mut unreachable = Backoff::new(UNREACHABLE.0, UNREACHABLE.1);
        let mut lost = Backoff::new(LOST.0, LOST.1);
        loop {
            if let Waited::Stopped = self.until_cluster_runs().await {
                return;
            }
            let attempt = Connected::open(Arc::clone(&self.options), !self.configured);
            // Boxed, so that the task is not as large as its largest moment.
            let attempt = Box::pin(attempt);
            let (cause, delay) = match self.answering(attempt).await {
                Waited::Stopped => return,
                Waited::Done(Err(cause)) => (cause, unreachable.next_delay()),
                Waited::Done(Ok((link, reading))) => {
                    self.configured = true;
                    let began = Instant::now();
                    let Some(cause) = self.follow_until_stopped(link, reading).await else {
                        return;
                    };
                    unreachable.reset();
                    if began.elapsed() > LASTED {
                        lost.reset();
                    }
                    (cause, lost.next_delay())
                }
            };
            self.lost(cause).await;
            let pause = tokio::time::sleep(delay);
            if let Waited::Stopped = self.answering(pause).await {
                return;
            }
        }
    }

    /// Waits for the private cluster, where there is one, and says why it doesn't run.
    async fn until_cluster_runs(&mut self) -> Waited<()> {
        let Some(mut cluster) = self.options.cluster.clone() else {
            return Waited::Done(());
        };
        loop {
            let state = cluster.borrow_and_update().clone();
            match state {
                ClusterState::Running => return Waited::Done(()),
                ClusterState::Seeking => {}
                // Nobody can have changed a row of a server that doesn't run.
                ClusterState::Starting => self.begin_with_snapshot().await,
                ClusterState::Failed(cause) => {
                    self.lost(LinkError::Cluster(cause.to_string())).await;
                }
            }
            match self.answering(cluster.changed()).await {
                Waited::Done(Ok(())) => {}
                // Nobody keeps it any more; whether it runs shows when it is tried.
                Waited::Done(Err(_)) => return Waited::Done(()),
                Waited::Stopped => return Waited::Stopped,
            }
        }
    }

    /// Works on an open link; `None` when told to stop.
    async fn follow_until_stopped(
        &mut self,
        mut link: Connected,
        reading: FullReading,
    ) -> Option<LinkError> {
        self.connected(&reading);
        // The link may last for months, and rows don't stay as they are.
        drop(reading);
        let stop = self.channels.stop.clone();
        let lost = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            cause = link.follow(self) => Some(cause),
        };
        if lost.is_none() {
            let farewell = link.farewell(&self.channels.board);
            // A server that hangs keeps nobody; the next emperor writes them anew.
            let _flushed = tokio::time::timeout(FAREWELL, farewell).await;
        }
        link.close().await;
        lost
    }

    /// Awaits something that needs no link, answering commands meanwhile.
    async fn answering<T>(&mut self, awaited: impl Future<Output = T>) -> Waited<T> {
        let stop = self.channels.stop.clone();
        tokio::pin!(awaited);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Waited::Stopped,
                done = &mut awaited => return Waited::Done(done),
                () = until(self.snapshot_due) => self.begin_with_snapshot().await,
                Some(command) = self.channels.commands.recv() => self.answer_unlinked(command),
            }
        }
    }

    fn answer_unlinked(&mut self, command: Command) {
        let error = || {
            EditError::Link(match &self.channels.connection.borrow().state {
                ConnectionState::Connecting | ConnectionState::Connected => LinkError::NotYet,
                ConnectionState::Lost(cause) => cause.clone(),
            })
        };
        // An asker that went away needs no answer.
        match command {
            Command::Resync(answer) => drop(answer.send(Err(error()))),
            Command::Edit(_, answer) => drop(answer.send(Err(error()))),
            Command::ConfirmRemovals(answer) => drop(answer.send(self.confirm_removals())),
            Command::Turn(answer) => drop(answer.send(())),
        }
    }

    /// Lets go of what is held, and publishes the rest.
    pub(crate) fn confirm_removals(&mut self) -> Vec<SiteId> {
        let ids = self.ledger.confirm_removals();
        tracing::info!(sites = ids.len(), "removals confirmed");
        self.publish();
        ids
    }

    /// Without PostgreSQL, what was known before this process is better than nothing. It is looked
    /// for once.
    async fn begin_with_snapshot(&mut self) {
        if self.snapshot_due.take().is_none() || self.ledger.desired().is_known() {
            return;
        }
        let path = self.options.snapshot_path.clone();
        let loaded = tokio::task::spawn_blocking(move || snapshot::load(&path)).await;
        match loaded {
            Ok(Ok(Some((rows, read_at)))) => {
                tracing::info!(
                    sites = rows.len(),
                    "beginning with the snapshot of the last reading, until PostgreSQL answers"
                );
                self.ledger.restore(rows, read_at);
                self.publish();
            }
            Ok(Ok(None)) => tracing::info!("there is no snapshot to begin with"),
            Ok(Err(error)) => tracing::error!(%error, "the snapshot can't be used"),
            Err(error) => tracing::error!(%error, "the snapshot can't be read"),
        }
    }

    async fn lost(&mut self, cause: LinkError) {
        self.begin_with_snapshot().await;
        let mut news = false;
        self.channels.connection.send_if_modified(|status| {
            news = !status.state.is_lost_like(&cause);
            let state = ConnectionState::Lost(cause);
            let differs = status.state != state;
            status.state = state;
            differs
        });
        if news {
            self.tell_loss();
        }
    }

    fn tell_loss(&self) {
        let status = self.channels.connection.borrow().clone();
        let (target, cause) = (&status.target, status.brief());
        if self.ledger.desired().is_known() {
            tracing::warn!(
                target,
                cause,
                "no link to PostgreSQL; everything goes on as last known"
            );
        } else {
            tracing::error!(
                target,
                cause,
                "no link to PostgreSQL, and no snapshot of an earlier reading: no site runs until \
                 there is one"
            );
        }
    }

    /// Takes in the first reading of a link, and only then says that there is one: who hears of it finds
    /// the rows.
    fn connected(&mut self, reading: &FullReading) {
        self.snapshot_due = None;
        let target = &self.options.target;
        tracing::info!(%target, rows = reading.rows.len(), "connected to PostgreSQL");
        self.take_all(reading);
        self.channels.connection.send_modify(|status| {
            status.state = ConnectionState::Connected;
        });
        self.channels.board.rewrite_all();
    }

    /// Takes in a reading of everything, and publishes it.
    pub(crate) fn take_all(&mut self, reading: &FullReading) {
        let now = SystemTime::now();
        self.ledger.take_all(&reading.rows, now);
        self.tell_silent(&reading.silent);
        let usage = reading.notification_queue_usage;
        self.channels.connection.send_modify(|status| {
            status.notification_queue_usage = usage;
            status.last_read_at = Some(now);
        });
        if usage > QUEUE_WARNING {
            let status = self.channels.connection.borrow().detail();
            tracing::warn!(status, "the notification queue fills up");
        }
        self.publish();
    }

    /// Says of which tables no change is told, when that is news.
    fn tell_silent(&mut self, silent: &[String]) {
        if self.silent == silent {
            return;
        }
        silent.clone_into(&mut self.silent);
        if silent.is_empty() {
            tracing::info!("every change of a row is told at once again");
            return;
        }
        tracing::warn!(
            tables = silent.join(", "),
            found_within_seconds = self.options.resync_interval.as_secs(),
            "no trigger tells of changes in these tables, which may have been made anew: they are \
             found when all rows are read; `emperor db migrate` puts the triggers back"
        );
    }

    /// Publishes what the ledger has, where it differs, and logs what is new about it.
    pub(crate) fn publish(&self) {
        let next = self.ledger.desired();
        self.channels.desired.send_if_modified(|published| {
            let news = published.rows.diff(&next.rows).next().is_some()
                || published.held_removals != next.held_removals
                || std::mem::discriminant(&published.source)
                    != std::mem::discriminant(&next.source);
            if news {
                log_news(published, next);
            }
            // The time of the last reading alone wakes nobody.
            *published = Arc::new(next.clone());
            news
        });
    }
}

/// Tells of rejected rows and held removals when they are new.
fn log_news(before: &Desired, after: &Desired) {
    for change in before.rows.diff(&after.rows) {
        if let DiffItem::Add(id, Row::Rejected(rejected))
        | DiffItem::Update {
            new: (id, Row::Rejected(rejected)),
            ..
        } = change
        {
            let (slug, reason) = (&rejected.slug, &rejected.reason);
            tracing::warn!(site = %id, slug, %reason, "rejected a row");
        }
    }
    match (&before.held_removals, &after.held_removals) {
        (before, Some(held)) if before.as_ref().map(|b| &b.ids) != Some(&held.ids) => {
            tracing::error!(
                gone = held.ids.len(),
                of = held.of,
                "too many sites are gone from the database at once: they are kept running; if \
                 that was meant, run `emperor confirm-removals`"
            );
        }
        (Some(_), None) => tracing::info!("no removals are held any more"),
        (Some(_), Some(_)) | (None, _) => {}
    }
    if let (Source::Snapshot { .. }, Source::Database { .. }) = (before.source, after.source) {
        tracing::info!("the snapshot is replaced by what PostgreSQL has");
    }
}

/// Waits for a moment; for ever where there is none.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
