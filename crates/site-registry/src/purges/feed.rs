//! The feed from outside: its owner, and the handle to answer with.

use std::sync::Arc;

use site_model::SiteId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::event::{DeadLetter, EventId, Mark, Purge};
use super::news::{FeedState, LONGEST_LOOK, News, PurgeOptions, Reader};
use super::post::Post;
use super::task::{Channels, Command, FeedTask};
use crate::link::LinkError;

/// Batches that wait for the wiring. While it is behind by so many, the rest waits in the table, where
/// it costs nothing.
const BATCHES: usize = 8;
/// Operators who wait for the id of their purge.
const COMMANDS: usize = 32;

/// The running feed, and the owner of its task: it ends when this is dropped.
#[derive(Debug)]
pub struct PurgeFeed {
    handle: PurgeHandle,
    news: mpsc::Receiver<News>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// Access to the running feed.
#[derive(Debug, Clone)]
pub struct PurgeHandle {
    post: Arc<Post>,
    state: watch::Receiver<FeedState>,
    commands: mpsc::Sender<Command>,
}

impl PurgeFeed {
    /// Starts to follow purges on the current tokio runtime, and returns at once. The schema has to be
    /// there: until the registry has made it, the feed is lost.
    pub fn start(mut options: PurgeOptions) -> Self {
        options.look_interval = options.look_interval.min(LONGEST_LOOK);
        options
            .target
            .set_application_name(&format!("emperor {} purges", options.node));
        let (news_sender, news) = mpsc::channel(BATCHES);
        let (state_sender, state) = watch::channel(FeedState::Lost(LinkError::NotYet));
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let post = Arc::new(Post::default());
        let stop = CancellationToken::new();
        let channels = Channels {
            news: news_sender,
            state: state_sender,
            commands: receiver,
            post: Arc::clone(&post),
            stop: stop.clone(),
        };
        let task = tokio::spawn(FeedTask::new(options, channels).run());
        Self {
            handle: PurgeHandle {
                post,
                state,
                commands,
            },
            news,
            stop,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Access for others.
    pub fn handle(&self) -> PurgeHandle {
        self.handle.clone()
    }

    /// The next news; `None` once the feed has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Writes what was acknowledged last, says that nobody needs to wait for this node, and ends.
    pub async fn shutdown(self) {
        let Self {
            news, stop, task, ..
        } = self;
        // A task that waits for room among the news must not be waited for.
        drop(news);
        stop.cancel();
        if let Err(error) = task.await {
            tracing::error!(%error, "the task that follows purges did not end by itself");
        }
    }
}

impl PurgeHandle {
    /// A reader has carried out everything up to a mark. Written soon, with what else there is; never
    /// waits.
    pub fn acknowledge(&self, reader: Reader, mark: Mark) {
        self.post.acknowledge(reader, mark);
    }

    /// Keeps what a target did not take in `emperor.purge_dead_letters`. Never waits.
    pub fn dead_letter(&self, letter: DeadLetter) {
        self.post.dead_letter(letter);
    }

    /// Whether purges arrive.
    pub fn state(&self) -> watch::Receiver<FeedState> {
        self.state.clone()
    }

    /// Purges pages as the functions of the schema do; `None`: of every site. Whoever follows hears of
    /// it through the table, this feed too.
    ///
    /// # Errors
    ///
    /// Where there is no link, or where the database refuses: no such site, no such path.
    pub async fn purge(&self, site: Option<SiteId>, what: Purge) -> Result<EventId, LinkError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Purge { site, what, answer };
        let ended = |()| LinkError::NotYet;
        self.commands.send(command).await.map_err(|_| ended(()))?;
        answered.await.map_err(|_| ended(()))?
    }

    /// Purges all that stands under hosts, each with the site that has lost it and may be gone itself. Once
    /// this returns, it outlives every crash. Whoever follows hears of it through the table, this feed too.
    ///
    /// # Errors
    ///
    /// Where there is no link, or where the database refuses.
    pub async fn purge_hosts(&self, lost: Vec<(SiteId, String)>) -> Result<(), LinkError> {
        let (answer, answered) = oneshot::channel();
        let command = Command::PurgeHosts { lost, answer };
        let sent = self.commands.send(command).await;
        sent.map_err(|_| LinkError::NotYet)?;
        answered.await.map_err(|_| LinkError::NotYet)?
    }
}
