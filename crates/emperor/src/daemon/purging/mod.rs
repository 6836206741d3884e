//! From committed purges to whoever holds the pages: the routers' caches, and the targets in front.
//!
//! One task reads the feed and waits for nobody: what routers have to forget goes to the
//! [`CacheBoard`](super::router::caches::CacheBoard), and each target has a task of its own. What each has done is acknowledged in the
//! database, so that the next emperor goes on there.
//!
//! Knows neither SQL nor the link nor how a target is purged.

mod front;
mod lost_hosts;
mod marks;
mod orders;

use std::sync::Arc;

use purge_targets::{Limits, Target};
use site_registry::purges::{
    Batch, FeedState, Mark, News, PurgeFeed, PurgeHandle, PurgeOptions, Reader,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::router::board::RouteBoard;
use front::Front;
pub(crate) use front::FrontView;
use marks::Marks;

/// What is told about purges: where they come from, and how the targets stand.
#[derive(Debug, Clone)]
pub(crate) struct Purges {
    /// Where purges are recorded.
    pub(crate) feed: PurgeHandle,
    /// The targets, as the configuration has them.
    pub(crate) fronts: Vec<FrontView>,
}

/// The running feed, and those who carry out what it tells.
#[derive(Debug)]
pub(super) struct Purging {
    feed: PurgeFeed,
    board: Arc<RouteBoard>,
    fronts: Vec<Front>,
    /// What the routers have been told and not confirmed yet.
    marks: Marks<Mark>,
    confirmed: watch::Receiver<u64>,
}

impl Purging {
    /// Begins to follow purges, and to try the targets.
    pub(super) fn start(
        options: PurgeOptions,
        targets: &[Target],
        limits: Limits,
        board: &Arc<RouteBoard>,
    ) -> Self {
        let names = targets.iter().map(|target| target.name.clone());
        let feed = PurgeFeed::start(PurgeOptions {
            targets: names.collect(),
            start_over: board.lost_hosts().are_unknown(),
            ..options
        });
        let handle = feed.handle();
        let front = |target: &Target| Front::start(target.clone(), limits, handle.clone());
        Self {
            fronts: targets.iter().map(front).collect(),
            feed,
            marks: Marks::default(),
            confirmed: board.caches().confirmed(),
            board: Arc::clone(board),
        }
    }

    /// Access for others.
    pub(super) fn purges(&self) -> Purges {
        Purges {
            feed: self.feed.handle(),
            fronts: self.fronts.iter().map(Front::view).collect(),
        }
    }

    /// Carries purges on until it is told to end.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        // The hosts of a site are those of its route. Until there are routes, the rest waits in the table.
        let opened = stop.run_until_cancelled(self.board.opened()).await;
        if opened.is_some() {
            let (board, feed) = (Arc::clone(&self.board), self.feed.handle());
            tokio::select! {
                () = self.carry_on(&stop) => {}
                never = lost_hosts::record(&board, &feed) => match never {},
            }
        }
        for front in self.fronts {
            front.shutdown().await;
        }
        self.feed.shutdown().await;
    }

    async fn carry_on(&mut self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = self.confirmed.changed() => self.acknowledge(),
                news = self.feed.next() => match news {
                    Some(News::Lost(_)) => self.board.caches().suspend(),
                    Some(News::Batch(batch)) => self.obey(batch).await,
                    Some(News::Current(since)) => {
                        // Each reader was told before where it begins.
                        self.board.lost_hosts().started_over();
                        self.board.caches().renew(since);
                    }
                    None => return,
                },
            }
        }
    }

    async fn obey(&mut self, batch: Batch) {
        match &batch.reader {
            None => {
                self.tell_routers(&batch);
                for front in &self.fronts {
                    front.take(&batch, &self.board).await;
                }
            }
            Some(Reader::Cache) => self.tell_routers(&batch),
            Some(Reader::Target(name)) => {
                for front in self.fronts.iter().filter(|front| front.is(name)) {
                    front.take(&batch, &self.board).await;
                }
            }
        }
    }

    fn tell_routers(&mut self, batch: &Batch) {
        let caching = || self.board.caching_sites();
        let forget = orders::forget(batch, caching);
        let number = self.board.caches().tell(forget);
        self.marks.push(number, batch.mark.clone());
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        let confirmed = *self.confirmed.borrow_and_update();
        if let Some(mark) = self.marks.reached(confirmed) {
            self.feed.handle().acknowledge(Reader::Cache, mark);
        }
    }
}

impl Purges {
    /// Whether purges arrive.
    pub(crate) fn state(&self) -> FeedState {
        self.feed.state().borrow().clone()
    }
}
