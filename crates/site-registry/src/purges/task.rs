//! The one task that follows purges: connect, tell what was missed, follow, and all over again.
//!
//! What it knows to be told is its position. It lives as long as the process; before the first link
//! it is what `emperor.purge_readers` remembers of this node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use site_model::SiteId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::event::{EventId, Mark, Position, Purge};
use super::following::{CaughtUp, End, Following};
use super::news::{Batch, FeedState, News, PurgeOptions, Reader};
use super::post::{Outgoing, Post};
use super::reading;
use crate::cluster::ClusterState;
use crate::link::{Backoff, Doing, Inbox, LinkError, Session};
use crate::schema;

/// Between two attempts at a server that can't be had.
const UNREACHABLE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How often old purges are deleted, and after how many there are probably more.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);
const MANY_FORGOTTEN: i64 = 5_000;
/// What is left to write at the end may take so long.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a handle asks for.
#[derive(Debug)]
pub(super) enum Command {
    /// Record a purge.
    Purge {
        site: Option<SiteId>,
        what: Purge,
        answer: oneshot::Sender<Result<EventId, LinkError>>,
    },
    /// Record that sites have lost hosts.
    PurgeHosts {
        lost: Vec<(SiteId, String)>,
        answer: oneshot::Sender<Result<(), LinkError>>,
    },
}

/// The task's ends of the channels to the handles.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) news: mpsc::Sender<News>,
    pub(super) state: watch::Sender<FeedState>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) post: Arc<Post>,
    pub(super) stop: CancellationToken,
}

/// The task's state.
#[derive(Debug)]
pub(super) struct FeedTask {
    pub(super) options: PurgeOptions,
    pub(super) channels: Channels,
    /// What every reader has been told, since the first link.
    pub(super) told: Option<Mark>,
    /// Counts what was told; no number is used again for anything else.
    pub(super) readings: u64,
    /// What each reader has acknowledged, as far as that is written.
    written: BTreeMap<Reader, Mark>,
    /// The link is known to be lost, and its readers know it.
    pub(super) lost: bool,
}

impl FeedTask {
    pub(super) fn new(options: PurgeOptions, channels: Channels) -> Self {
        Self {
            options,
            channels,
            told: None,
            readings: 0,
            written: BTreeMap::new(),
            lost: false,
        }
    }

    /// Runs until it is told to stop, or nobody listens any more.
    pub(super) async fn run(mut self) {
        let stop = self.channels.stop.clone();
        let mut backoff = Backoff::new(UNREACHABLE.0, UNREACHABLE.1);
        loop {
            let End::Lost(cause) = self.one_link(&mut backoff).await else {
                return;
            };
            if self.tell_lost(cause).await.is_err() {
                return;
            }
            let pause = tokio::time::sleep(backoff.next_delay());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = &mut pause => break,
                    Some(command) = self.channels.commands.recv() => self.refuse(command),
                }
            }
        }
    }

    async fn one_link(&mut self, backoff: &mut Backoff) -> End {
        let stop = self.channels.stop.clone();
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            opened = self.open() => opened,
        };
        let mut link = match opened {
            Ok(link) => link,
            Err(cause) => return End::Lost(cause),
        };
        let end = match self.catch_up(&mut link).await {
            Ok(()) => {
                backoff.reset();
                let Err(end) = self.follow(&mut link).await;
                end
            }
            Err(end) => end,
        };
        if matches!(end, End::Stopped) {
            let farewell = self.farewell(&link);
            // A server that hangs keeps nobody; what isn't acknowledged is read again.
            let _written = tokio::time::timeout(FAREWELL, farewell).await;
        }
        link.session.close().await;
        end
    }

    async fn open(&mut self) -> Result<Following, LinkError> {
        if let Some(mut cluster) = self.options.cluster.clone() {
            // Nobody keeps it any more where this fails; whether it runs shows when it is tried.
            let _kept = cluster
                .wait_for(|state| matches!(state, ClusterState::Running))
                .await;
        }
        let inbox = Arc::new(Inbox::default());
        let session = Session::open_with(&self.options.target, &inbox).await?;
        schema::check(&session.client).await?;
        reading::begin(&session.client).await?;
        let server = reading::present(&session.client).await?.server;
        let new = reading::prepare(&session.client).await?;
        let now = Instant::now();
        Ok(Following {
            session,
            inbox,
            server,
            new,
            look_due: now + self.options.look_interval,
            forget_due: now + FORGET_INTERVAL,
        })
    }

    /// Hands a batch over, as soon as there is room for it. Until then nothing is read: the rest waits
    /// in the table.
    pub(super) async fn tell(
        &mut self,
        link: &mut Following,
        reader: Option<Reader>,
        found: CaughtUp,
    ) -> Result<(), End> {
        if reader.is_none() {
            self.readings += 1;
        }
        let mark = Mark {
            number: self.readings,
            position: Arc::new(found.position),
        };
        let batch = Batch {
            reader,
            missed: found.missed,
            events: found.events,
            mark: mark.clone(),
        };
        self.room(link).await?.send(News::Batch(batch));
        self.told = Some(mark);
        Ok(())
    }

    /// Waits for room among the news. Whoever waits for this node's caches goes on waiting meanwhile.
    async fn room(&self, link: &mut Following) -> Result<mpsc::OwnedPermit<News>, End> {
        loop {
            let news = self.channels.news.clone();
            tokio::select! {
                biased;
                () = self.channels.stop.cancelled() => return Err(End::Stopped),
                permit = news.reserve_owned() => return permit.map_err(|_| End::Stopped),
                error = link.session.ended(Doing::Purging) => return Err(End::Lost(error)),
                () = tokio::time::sleep(self.options.look_interval) => {}
            }
            reading::still_there(&link.session.client, &self.options.node).await?;
        }
    }

    async fn follow(&mut self, link: &mut Following) -> Result<std::convert::Infallible, End> {
        let inbox = Arc::clone(&link.inbox);
        let post = Arc::clone(&self.channels.post);
        let stop = self.channels.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Err(End::Stopped),
                error = link.session.ended(Doing::Purging) => return Err(End::Lost(error)),
                () = inbox.purges() => self.look(link).await?,
                () = tokio::time::sleep_until(link.look_due) => self.look_unasked(link).await?,
                Some(command) = self.channels.commands.recv() => obey(link, command).await,
                () = post.waiting() => self.write(link).await?,
            }
        }
    }

    /// Reads what is new, and tells it.
    async fn look(&mut self, link: &mut Following) -> Result<(), End> {
        let Some(told) = self.told.clone() else {
            return Ok(());
        };
        let since = &told.position.snapshot;
        let found = reading::new_events(&link.session.client, &link.new, since, None).await;
        let (snapshot, events) = found?;
        let found = CaughtUp {
            position: Position {
                snapshot,
                server: link.server.clone(),
            },
            missed: false,
            events,
        };
        self.take(link, found).await
    }

    async fn take(&mut self, link: &mut Following, found: CaughtUp) -> Result<(), End> {
        if found.missed || !found.events.is_empty() {
            return self.tell(link, None, found).await;
        }
        self.advance_told(found.position);
        Ok(())
    }

    /// Where there was nothing to do, who had done everything before has done this too.
    fn advance_told(&mut self, position: Position) {
        if let Some(told) = &mut self.told {
            let before = told.number;
            told.position = Arc::new(position);
            for mark in self.written.values_mut() {
                if mark.number == before {
                    mark.position = Arc::clone(&told.position);
                }
            }
        }
    }

    /// Looks as often as it was promised: where no notification comes, perhaps none is needed, perhaps none
    /// arrives; and where they come all the time, there is the rest to do.
    async fn look_unasked(&mut self, link: &mut Following) -> Result<(), End> {
        link.look_due = Instant::now() + self.options.look_interval;
        reading::check_subscription(&link.session.client).await?;
        if let Some(told) = self.told.clone() {
            // A process that was stopped for minutes may find purges deleted, although its link stands.
            let found = self.read_since(link, &told.position).await?;
            self.take(link, found).await?;
        }
        self.tell_current(link).await?;
        let client = &link.session.client;
        let positions = self.written.iter();
        let positions = positions.map(|(reader, mark)| (reader, &*mark.position));
        if !self.written.is_empty() {
            reading::advance(client, &self.options.node, positions).await?;
        }
        if Instant::now() >= link.forget_due {
            let forgotten = reading::forget(client).await?;
            tracing::debug!(forgotten, "old purges are deleted");
            if forgotten < MANY_FORGOTTEN {
                link.forget_due = Instant::now() + FORGET_INTERVAL;
            }
        }
        Ok(())
    }

    /// Says in the database that the caches are there, and to the caches that they are known to be.
    pub(super) async fn tell_current(&self, link: &mut Following) -> Result<(), End> {
        let asked = Instant::now();
        reading::still_there(&link.session.client, &self.options.node).await?;
        self.room(link).await?.send(News::Current(asked));
        Ok(())
    }

    /// Writes what readers have to say; what can't be written is tried again on the next link.
    async fn write(&mut self, link: &Following) -> Result<(), End> {
        let outgoing = self.channels.post.take();
        let client = &link.session.client;
        if let Err(error) = reading::write(client, &self.options.node, &outgoing).await {
            self.channels.post.put_back(outgoing);
            return Err(End::Lost(error));
        }
        self.note_written(outgoing);
        Ok(())
    }

    fn note_written(&mut self, outgoing: Outgoing) {
        for (reader, mut mark) in outgoing.marks {
            // Looks without news have moved on since.
            if let Some(told) = self.told.as_ref().filter(|told| told.number == mark.number) {
                mark.position = Arc::clone(&told.position);
            }
            self.written.insert(reader, mark);
        }
    }

    async fn farewell(&mut self, link: &Following) {
        if let Err(End::Lost(error)) = self.write(link).await {
            tracing::warn!(%error, "the last acknowledged purges are not written");
            return;
        }
        if let Err(error) = reading::leave(&link.session.client, &self.options.node).await {
            tracing::warn!(%error, "whoever waits for purges waits for this node for some seconds");
        }
    }

    async fn tell_lost(&mut self, cause: LinkError) -> Result<(), ()> {
        self.channels.state.send_if_modified(|state| {
            let lost = FeedState::Lost(cause.clone());
            let differs = *state != lost;
            *state = lost;
            differs
        });
        if self.lost {
            return Ok(());
        }
        self.lost = true;
        if cause.is_of_the_schema() {
            // Whoever follows the rows makes it at the first start, and tells of it where it can't.
            tracing::debug!(%cause, "purges are not followed yet");
        } else {
            tracing::warn!(%cause, hint = cause.hint(), "purges are not followed");
        }
        tokio::select! {
            biased;
            () = self.channels.stop.cancelled() => Err(()),
            sent = self.channels.news.send(News::Lost(cause)) => sent.map_err(drop),
        }
    }

    fn refuse(&self, command: Command) {
        let cause = match &*self.channels.state.borrow() {
            FeedState::Lost(cause) => cause.clone(),
            FeedState::Following => LinkError::NotYet,
        };
        // An asker that went away needs no answer.
        match command {
            Command::Purge { answer, .. } => drop(answer.send(Err(cause))),
            Command::PurgeHosts { answer, .. } => drop(answer.send(Err(cause))),
        }
    }
}

async fn obey(link: &Following, command: Command) {
    let client = &link.session.client;
    // An asker that went away needs no answer; a session that ended says so itself.
    match command {
        Command::Purge { site, what, answer } => {
            drop(answer.send(reading::purge(client, site, &what).await));
        }
        Command::PurgeHosts { lost, answer } => {
            drop(answer.send(reading::purge_hosts(client, &lost).await));
        }
    }
}
