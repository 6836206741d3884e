//! What follows purges, where somebody keeps pages. It begins anew where a configuration that was read again
//! has it that others do: whoever reads purges goes on where it was, as under another emperor.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use purge_targets::Limits;
use site_registry::purges::{FeedState, PurgeOptions};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::warn;

use super::part::{Part, ended};
use crate::config::Config;
use crate::daemon::purging::{Purges, Purging};
use crate::daemon::router::board::RouteBoard;

/// How long the database may take to be asked where each reader was, before whoever had the configuration
/// read again is answered all the same.
const FOLLOWED_PATIENCE: Duration = Duration::from_secs(5);

/// What follows purges, if anything does.
pub(super) struct PurgingPart {
    options: PurgeOptions,
    board: Arc<RouteBoard>,
    /// By which hosts sites are reached, where a target is to lose what it holds of others.
    journal: PathBuf,
    purges: watch::Sender<Option<Purges>>,
    part: Option<Part>,
}

impl PurgingPart {
    /// Begins to follow purges, where somebody keeps pages.
    pub(super) fn start(config: &Config, options: PurgeOptions, board: &Arc<RouteBoard>) -> Self {
        let mut part = Self {
            options,
            board: Arc::clone(board),
            journal: config.state_dir.join("hosts.journal"),
            purges: watch::Sender::new(None),
            part: None,
        };
        part.begin(config);
        part
    }

    /// Access for others, as it is now.
    pub(super) fn purges(&self) -> watch::Receiver<Option<Purges>> {
        self.purges.subscribe()
    }

    /// Others keep pages from now on. Until purges are followed again, no cache is used. Returns once they
    /// are: a new target begins with the present, and what is purged after this is to reach it.
    pub(super) async fn renew(&mut self, config: &Config) {
        self.end().await;
        self.begin(config);
        let Some(mut state) = self.purges.borrow().as_ref().map(|it| it.feed.state()) else {
            return;
        };
        let followed = state.wait_for(|state| matches!(state, FeedState::Following));
        if timeout(FOLLOWED_PATIENCE, followed).await.is_err() {
            warn!("purges are not followed yet; a new target misses what is purged until they are");
        }
    }

    /// Resolves when it has ended by itself; never, where nothing follows purges. Cancel safe.
    pub(super) async fn ended(&mut self) {
        ended(self.part.as_mut()).await;
    }

    pub(super) async fn end(&mut self) {
        if let Some(part) = self.part.take() {
            part.end().await;
            self.board.caches().suspend();
        }
    }

    fn begin(&mut self, config: &Config) {
        // Before anything is published: a route is written down before it leads anywhere.
        if config.purge_targets.is_empty() {
            self.board.lost_hosts().let_go(&self.journal);
        } else {
            self.board.keep_hosts(&self.journal);
        }
        let start = || {
            let (options, limits) = (self.options.clone(), Limits::default());
            Purging::start(options, &config.purge_targets, limits, &self.board)
        };
        let purging = config.keeps_pages().then(start);
        self.purges
            .send_replace(purging.as_ref().map(Purging::purges));
        self.part = purging.map(|it| Part::start(|stop| it.run(stop)));
    }
}
