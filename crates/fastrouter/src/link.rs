//! The router's end of the link: follows the emperor's table for as long as the router lives.
//!
//! The link may break at any moment, and the emperor may be away for long. Meanwhile the threads go
//! on with the last table they were given; on the next connection the emperor says everything
//! again. Nothing here touches a request.

mod cache;
mod load;
mod questions;

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use site_model::{
    Generation, HostConflict, Incarnation, NotPositive, RouteTable, SiteId, SiteRoute, Slug,
};
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::codec::Framed;
use tracing::{info, warn};
use wire::codec::{CodecError, FrameCodec};
use wire::route::{BadRoute, FromRouter, PROTOCOL_VERSION, RouteFrame, ToRouter, parse_change};

use self::load::LOAD_BOUND;
use crate::fleet::{Fleet, ThreadLost};
use crate::pages::PageKeeper;
use crate::settings::{Settings, SettingsError};

/// Pause before the first new try to connect, and the longest one.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Why one connection ended.
#[derive(Debug, Error)]
enum LinkError {
    #[error("the emperor closed the link")]
    Closed,
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("the emperor's settings: {0}")]
    Settings(#[from] SettingsError),
    #[error("a part of a table that did not begin")]
    StrayPart,
    #[error("a question about a site that can't be: {0}")]
    Site(#[from] NotPositive),
    #[error(transparent)]
    ThreadLost(#[from] ThreadLost),
}

/// A table or a change that can't be used; the table in force stays, and the whole is asked for.
#[derive(Debug, Error)]
enum Unusable {
    #[error(transparent)]
    Route(#[from] BadRoute),
    #[error(transparent)]
    Conflict(#[from] HostConflict),
    #[error("a change came before any table")]
    Early,
    #[error("a change came after a table that could not be used")]
    Refused,
    #[error("generation {came} came after {known}")]
    Gap { known: Generation, came: Generation },
}

/// Follows the emperor that listens at `path` for as long as it is polled, through the drain too:
/// requests may wait for what it says.
pub(crate) async fn follow(path: &Path, fleet: Fleet) -> ThreadLost {
    let mut follower = Follower {
        fleet,
        default_site: None,
        pages: PageKeeper::default(),
        purged: 0,
        sweeping: None,
        unswept: 0,
        table: None,
        arriving: None,
        standing: Standing::Following,
    };
    let mut pause = FIRST_PAUSE;
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => {
                pause = FIRST_PAUSE;
                let ended = follower.session(stream).await;
                // From here on nobody tells of purges.
                follower.pages.hearing().is_lost();
                match ended {
                    LinkError::ThreadLost(lost) => return lost,
                    error => warn!(%error, "the link ended; the last table stays in force"),
                }
            }
            // The emperor is away: said once, by the end of the session before.
            Err(error) => tracing::debug!(%error, path = %path.display(), "no emperor listens"),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct Follower {
    fleet: Fleet,
    default_site: Option<Slug>,
    pages: PageKeeper,
    /// The number of the last purge of the emperor's.
    purged: u64,
    sweeping: Option<JoinHandle<()>>,
    /// Purges since the last sweep was thought of.
    unswept: usize,
    /// What is in force; nothing before the first whole table, and the threads were given none.
    table: Option<Arc<RouteTable>>,
    /// What is on its way, between [`ToRouter::TableBegin`] and [`ToRouter::TableEnd`].
    arriving: Option<Arriving>,
    standing: Standing,
}

/// A whole table on its way. Its parts become routes as they come, so that it doesn't stand in memory
/// as text too.
struct Arriving {
    generation: Generation,
    /// Or the first of them that is none.
    routes: Result<Vec<SiteRoute>, BadRoute>,
}

/// How the table in force stands to the emperor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// A change can build on it.
    Following,
    /// The whole that came can't be used. It is not asked for again at once: the emperor would say
    /// the same, in a circle without a pause. The next change may mend it, and asks.
    Refused,
    /// The whole was asked for: changes say nothing until it comes.
    Asked,
}

/// The link, frame by frame.
type Frames = Framed<UnixStream, FrameCodec<ToRouter, FromRouter>>;

/// The answers that are still being gathered: at most one per question of the emperor, which asks
/// once per draining instance and once per look at the figures.
type Answers = JoinSet<Result<FromRouter, ThreadLost>>;

impl Follower {
    /// One connection, and why it ended.
    async fn session(&mut self, stream: UnixStream) -> LinkError {
        let mut frames = Frames::new(stream, FrameCodec::default());
        if let Err(error) = frames.send(&hello(self.purged)).await {
            return error.into();
        }
        info!("connected to the emperor");
        (self.arriving, self.standing) = (None, Standing::Following);
        let (say, loads) = mpsc::channel(LOAD_BOUND);
        let telling = load::tell(self.fleet.clone(), say);
        let hearing = Arc::clone(self.pages.hearing());
        let Err(error) = tokio::select! {
            ended = self.converse(frames, loads) => ended,
            Err(lost) = telling => Err(lost.into()),
            // Beside the rest: who is stopped reads nothing either, and saying something to it may never end.
            never = hearing.watch() => match never {},
        };
        error
    }

    async fn converse(
        &mut self,
        mut frames: Frames,
        mut loads: mpsc::Receiver<FromRouter>,
    ) -> Result<Infallible, LinkError> {
        let mut answers = Answers::new();
        let shared = Arc::clone(&self.fleet.shared);
        loop {
            tokio::select! {
                message = frames.next() => {
                    let message = message.ok_or(LinkError::Closed)??;
                    if let Some(answer) = self.take(message, &mut answers).await? {
                        frames.send(&answer).await?;
                    }
                }
                Some(load) = loads.recv() => frames.send(&load).await?,
                () = shared.purged.notified() => self.sweep_after(1),
                site = shared.wakes.next() => {
                    frames.send(&FromRouter::Wake { site_id: site.get() }).await?;
                }
                Some(answer) = answers.join_next() => {
                    // A task that panicked was about to say that a thread is gone.
                    frames.send(&answer.unwrap_or(Err(ThreadLost))?).await?;
                }
            }
        }
    }

    async fn take(
        &mut self,
        message: ToRouter,
        answers: &mut Answers,
    ) -> Result<Option<FromRouter>, LinkError> {
        match message {
            ToRouter::Settings(settings) => self.take_settings(settings).await.map(|()| None),
            ToRouter::TableBegin { generation } => {
                self.arriving = Some(Arriving::new(generation));
                Ok(None)
            }
            ToRouter::TablePart { routes } => {
                let arriving = self.arriving.as_mut();
                arriving.ok_or(LinkError::StrayPart)?.take(routes);
                Ok(None)
            }
            ToRouter::TableEnd => {
                let arriving = self.arriving.take().ok_or(LinkError::StrayPart)?;
                self.use_whole(self.whole(arriving)).await
            }
            ToRouter::Change { .. } if self.standing == Standing::Asked => Ok(None),
            ToRouter::Change {
                generation,
                upserts,
                removals,
            } => self.change(generation, upserts, &removals).await.map(Some),
            ToRouter::AwaitIdle {
                site_id,
                incarnation,
            } => {
                let (site, incarnation) =
                    (SiteId::of_vassal(site_id)?, Incarnation::new(incarnation));
                self.await_idle(site, incarnation, answers);
                Ok(None)
            }
            ToRouter::AskStats { token } => {
                self.ask_stats(token, answers);
                Ok(None)
            }
            ToRouter::Purge { sequence, sites } => {
                self.pages.purge(&sites);
                self.sweep_after(sites.iter().map(|site| site.purges.len()).sum());
                Ok(Some(self.has_purged(sequence)))
            }
            ToRouter::PurgeAll { sequence } => {
                self.pages.purge_all();
                Ok(Some(self.has_purged(sequence)))
            }
            ToRouter::SuspendCache => Ok(self.suspend()),
            ToRouter::ResumeCache => Ok(self.resume()),
            ToRouter::AskCache {
                token,
                site_id,
                path,
            } => {
                self.ask_cache(token, SiteId::new(site_id)?, path, answers);
                Ok(None)
            }
        }
    }

    async fn take_settings(&mut self, settings: wire::route::Settings) -> Result<(), LinkError> {
        let settings = Arc::new(Settings::try_from(settings)?);
        self.fleet.set(&settings).await?;
        self.default_site.clone_from(&settings.default_site);
        self.pages.set_memory(settings.cache_memory_bytes);
        let Some(table) = self.table.take() else {
            return Ok(());
        };
        let table = Arc::unwrap_or_clone(table).with_default_site(self.default_site.clone());
        self.pages.follow(&table);
        Ok(self.put_in_force(table).await?)
    }

    async fn change(
        &mut self,
        generation: u64,
        upserts: Vec<RouteFrame>,
        removals: &[i64],
    ) -> Result<FromRouter, LinkError> {
        let concerned = upserts.iter().map(|route| route.id);
        let concerned = concerned.chain(removals.iter().copied());
        let concerned: Vec<_> = concerned.filter_map(|id| SiteId::new(id).ok()).collect();
        let table = self.changed(generation, upserts, removals);
        if let Ok(table) = &table {
            self.pages.follow_change(table, &concerned);
        }
        self.use_or_ask(table).await
    }

    fn whole(&self, arriving: Arriving) -> Result<RouteTable, Unusable> {
        let Arriving { generation, routes } = arriving;
        Ok(RouteTable::new(generation, routes?)?.with_default_site(self.default_site.clone()))
    }

    fn changed(
        &self,
        generation: u64,
        upserts: Vec<RouteFrame>,
        removals: &[i64],
    ) -> Result<RouteTable, Unusable> {
        if self.standing == Standing::Refused {
            return Err(Unusable::Refused);
        }
        let table = self.table.as_ref().ok_or(Unusable::Early)?;
        let (known, came) = (table.generation(), Generation::new(generation));
        if came != known.next() {
            return Err(Unusable::Gap { known, came });
        }
        Ok(table.changed(parse_change(generation, upserts, removals)?)?)
    }

    async fn use_whole(
        &mut self,
        table: Result<RouteTable, Unusable>,
    ) -> Result<Option<FromRouter>, LinkError> {
        match table {
            Ok(table) => {
                self.pages.follow(&table);
                self.acknowledge(table).await.map(Some)
            }
            Err(error) => {
                warn_unusable(&error);
                self.standing = Standing::Refused;
                Ok(None)
            }
        }
    }

    async fn use_or_ask(
        &mut self,
        table: Result<RouteTable, Unusable>,
    ) -> Result<FromRouter, LinkError> {
        match table {
            Ok(table) => self.acknowledge(table).await,
            Err(error) => {
                warn_unusable(&error);
                self.standing = Standing::Asked;
                Ok(FromRouter::ResendTable)
            }
        }
    }

    async fn acknowledge(&mut self, table: RouteTable) -> Result<FromRouter, LinkError> {
        let generation = table.generation().get();
        self.put_in_force(table).await?;
        self.standing = Standing::Following;
        Ok(FromRouter::Acknowledged { generation })
    }

    async fn put_in_force(&mut self, table: RouteTable) -> Result<(), ThreadLost> {
        let table = Arc::new(table);
        self.table = Some(Arc::clone(&table));
        self.fleet.put_in_force(&table, self.pages.sites()).await
    }
}

impl Arriving {
    fn new(generation: u64) -> Self {
        Self {
            generation: Generation::new(generation),
            routes: Ok(Vec::new()),
        }
    }

    fn take(&mut self, frames: Vec<RouteFrame>) {
        let Ok(routes) = &mut self.routes else {
            return;
        };
        for frame in frames {
            match SiteRoute::try_from(frame) {
                Ok(mut route) => {
                    if let Some(before) = routes.last() {
                        route.share(before);
                    }
                    routes.push(route);
                }
                Err(bad) => {
                    self.routes = Err(bad);
                    return;
                }
            }
        }
    }
}

fn warn_unusable(error: &Unusable) {
    warn!(%error, "a table that can't be used; the one before stays in force");
}

fn hello(purged: u64) -> FromRouter {
    FromRouter::Hello {
        protocol: PROTOCOL_VERSION,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        purged: Some(purged),
        knows_pools: true,
    }
}

#[cfg(test)]
mod tests;
