//! The feed from outside: what it is started with, what it tells, and the handle to answer with.

use std::sync::Arc;
use std::time::Duration;

use site_model::SiteId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::event::{DeadLetter, EventId, Mark, Purge, PurgeEvent};
use super::post::Post;
use super::task::{Channels, Command, FeedTask};
use crate::cluster::ClusterState;
use crate::link::{DatabaseTarget, LinkError};

/// Batches that wait for the wiring. While it is behind by so many, the rest waits in the table, where
/// it costs nothing.
const BATCHES: usize = 8;
/// Operators who wait for the id of their purge.
const COMMANDS: usize = 32;

/// What the feed is started with.
#[derive(Debug, Clone)]
pub struct PurgeOptions {
    /// The database.
    pub target: DatabaseTarget,
    /// How the private cluster is, where the database is in one.
    pub cluster: Option<watch::Receiver<ClusterState>>,
    /// This machine's name.
    pub node: String,
    /// Names of the targets that read along, each with a cursor of its own.
    pub targets: Vec<String>,
    /// How often to look whether or not there are notifications; at most [`LONGEST_LOOK`].
    pub look_interval: Duration,
}

/// With the time its answer may take, a look has to come well within `emperor.purge_lease()`.
pub const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Who reads purges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// The caches of this node, for which `emperor.purge_wait()` waits.
    Cache,
    /// A target in front of them, by its name.
    Target(String),
}

impl Reader {
    /// The reader as the table has it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Cache => "cache".into(),
            Self::Target(name) => format!("target {name}"),
        }
    }
}

/// What the feed tells, in the order in which it is to be obeyed.
#[derive(Debug, Clone)]
pub enum News {
    /// The link is down: from now on purges may be missed, so nothing may be answered from a cache
    /// before the batches up to the next [`Self::Current`] have been carried out.
    Lost(LinkError),
    /// Purges. After this batch, everything that was committed before it was read is known.
    Batch(Batch),
    /// All that was committed before this moment has been told, and from then on the database knows that
    /// this node's caches are there. Told of every look, so every [`LONGEST_LOOK`] at most; where it stays
    /// away, `emperor.purge_wait()` soon stops waiting for them.
    Current(Instant),
}

/// What one reading found.
#[derive(Debug, Clone)]
pub struct Batch {
    /// For whom; `None`: for every reader.
    pub reader: Option<Reader>,
    /// Purges may have been missed for good: everything of every site has to go.
    pub missed: bool,
    /// The purges, in their order.
    pub events: Vec<PurgeEvent>,
    /// To acknowledge when all of it is done.
    pub mark: Mark,
}

/// Whether purges arrive, for `emperor status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedState {
    /// They do.
    Following,
    /// They don't.
    Lost(LinkError),
}

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
}
