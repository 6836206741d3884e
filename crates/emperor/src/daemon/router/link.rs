//! The emperor's end of the link: one listening socket, and a connection for each router.
//!
//! A connection is served by one task that sends and receives at once, so neither side can wait
//! for the other to read. While a router is replaced two live for a while, and both follow the
//! table: the older one until the last of its requests is over. The table belongs to the
//! [`RouteBoard`], all waiting to the [`Roster`](super::roster); a lost connection loses nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use site_model::{Generation, Incarnation, SiteId};
use thiserror::Error;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{info, warn};
use vassal_core::units::Humane;
use wire::codec::{CodecError, FrameCodec};
use wire::route::{FromRouter, PROTOCOL_VERSION, ROUTES_PER_PART, RouteFrame, Settings, ToRouter};

use super::board::{Follower, RouteBoard};
use super::caches::CacheFollower;
use super::news::{Step, TableNews, Whole};
use super::posted::Posted;
use super::questions::Questions;
use super::roster::Peer;
use crate::daemon::pulse::Pulse;

/// How long a new connection may take to say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a connection ended.
#[derive(Debug, Error)]
enum LinkError {
    #[error("the router closed the link")]
    Closed,
    #[error("a connection could not be taken: {0}")]
    Accept(#[from] std::io::Error),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("no hello within {}", Humane(HELLO_TIMEOUT))]
    Silent,
    #[error("the router speaks version {0} of the link, this emperor {PROTOCOL_VERSION}")]
    Version(u32),
    #[error("process {0} is no fastrouter of this emperor")]
    NoRouter(u32),
    #[error("{0} before hello")]
    Unexpected(&'static str),
}

/// Serves the link until it is cancelled. Nobody but processes of this uid, or root's, may speak.
pub(in crate::daemon) async fn serve(
    listener: UnixListener,
    board: Arc<RouteBoard>,
    uid: u32,
    mut pulse: Pulse,
    cancel: CancellationToken,
) {
    // At most one for each process that may speak.
    let mut connections: HashMap<u32, AbortOnDropHandle<()>> = HashMap::new();
    loop {
        pulse.turn();
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            Ok(()) = pulse.asked() => continue,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "could not accept a connection to the fastrouter's link");
                continue;
            }
        };
        match caller(&stream, uid) {
            Ok(pid) => {
                connections.retain(|_, connection| !connection.is_finished());
                // Its predecessor ends first, so that its end can't take down this one's peer.
                if let Some(before) = connections.remove(&pid) {
                    before.abort();
                    // It was told to end, or had ended.
                    before.await.ok();
                }
                let task = tokio::spawn(converse(stream, pid, Arc::clone(&board)));
                connections.insert(pid, AbortOnDropHandle::new(task));
            }
            Err(error) => warn!(%error, "a connection to the fastrouter's link was refused"),
        }
    }
}

/// The process at the other end, as the kernel knows it: a pid that is only said would be worth
/// nothing.
fn caller(stream: &UnixStream, uid: u32) -> Result<u32, LinkError> {
    let credentials = stream.peer_cred().map_err(LinkError::Accept)?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    let pid = pid.ok_or(LinkError::NoRouter(0))?;
    match credentials.uid() {
        0 => Ok(pid),
        other if other == uid => Ok(pid),
        _ => Err(LinkError::NoRouter(pid)),
    }
}

/// One connection, from hello to its end.
async fn converse(stream: UnixStream, pid: u32, board: Arc<RouteBoard>) {
    match admit(stream, pid, &board).await {
        Ok(connection) => connection.run(board).await,
        Err(error) => warn!(%error, "a connection to the fastrouter's link was refused"),
    }
}

/// Waits until it is clear who connected. The keeper may have started the process a moment ago.
async fn admit(stream: UnixStream, pid: u32, board: &RouteBoard) -> Result<Connection, LinkError> {
    let known = timeout(HELLO_TIMEOUT, board.roster().enlisted(pid)).await;
    known.map_err(|_| LinkError::NoRouter(pid))?;
    let (read, write) = stream.into_split();
    let mut reader = Reader::new(read, FrameCodec::default());
    let hello = timeout(HELLO_TIMEOUT, reader.next())
        .await
        .map_err(|_| LinkError::Silent)?
        .ok_or(LinkError::Closed)??;
    match hello {
        FromRouter::Hello {
            protocol: PROTOCOL_VERSION,
            version,
            pid: _,
            purged,
            knows_pools,
        } => Ok(Connection {
            reader,
            writer: Writer {
                frames: FramedWrite::new(write, FrameCodec::default()),
                knows_pools,
            },
            peer: Peer { pid, version },
            has_cache: purged.is_some(),
        }),
        FromRouter::Hello { protocol, .. } => Err(LinkError::Version(protocol)),
        FromRouter::Acknowledged { .. } => Err(LinkError::Unexpected("an acknowledgement")),
        FromRouter::ResendTable => Err(LinkError::Unexpected("a wish for the table")),
        FromRouter::Purged { .. } | FromRouter::CachePages { .. } | FromRouter::Idle { .. } => {
            Err(LinkError::Unexpected("an answer"))
        }
        FromRouter::Stats { .. } | FromRouter::Load { .. } => Err(LinkError::Unexpected("figures")),
        FromRouter::Wake { .. } => Err(LinkError::Unexpected("a wish to wake a site")),
    }
}

type Codec = FrameCodec<FromRouter, ToRouter>;
type Reader = FramedRead<OwnedReadHalf, Codec>;

struct Writer {
    frames: FramedWrite<OwnedWriteHalf, Codec>,
    /// One of an earlier version doesn't, and is told of none.
    knows_pools: bool,
}

struct Connection {
    reader: Reader,
    writer: Writer,
    peer: Peer,
    /// One of an earlier version has none, and doesn't know what is said of it.
    has_cache: bool,
}

impl Connection {
    async fn run(mut self, board: Arc<RouteBoard>) {
        let pid = self.peer.pid;
        info!(
            pid,
            version = self.peer.version,
            "the fastrouter is connected"
        );
        // Takes the peer off the roster however this task ends, by being aborted too.
        let _disconnect = Disconnect(&board, pid);
        board.demand().begins(pid);
        let resend = Notify::new();
        let hearer = Hearer {
            peer: self.peer,
            has_cache: self.has_cache,
        };
        let ended = tokio::select! {
            ended = send_all(&mut self.writer, &board, hearer, &resend) => ended,
            ended = receive_all(self.reader, &board, pid, &resend) => ended,
        };
        match ended {
            Ok(()) => {}
            // The keeper says why a router ended, where nobody wanted it to.
            Err(LinkError::Closed) => info!(pid, "the fastrouter hung up"),
            Err(error) => warn!(pid, %error, "the link to the fastrouter ended"),
        }
    }
}

struct Disconnect<'board>(&'board RouteBoard, u32);

impl Drop for Disconnect<'_> {
    fn drop(&mut self) {
        self.0.roster().disconnected(self.1);
    }
}

/// Who is told.
struct Hearer {
    peer: Peer,
    has_cache: bool,
}

async fn send_all(
    writer: &mut Writer,
    board: &RouteBoard,
    Hearer { peer, has_cache }: Hearer,
    resend: &Notify,
) -> Result<(), LinkError> {
    board.opened().await;
    let roster = board.roster();
    let pid = peer.pid;
    let mut interview = roster.interview(pid);
    let mut caches = board.caches().follow(peer.pid, has_cache);
    // From here on nothing counts as acknowledged that this one doesn't acknowledge too.
    roster.connected(peer);
    let (mut follower, whole) = board.follow();
    writer.settings(follower.settings()).await?;
    writer.table(whole).await?;
    loop {
        tokio::select! {
            biased;
            () = resend.notified() => writer.table(follower.whole()).await?,
            // First, since somebody may be waiting for the page as it is now.
            () = caches.changed() => writer.purges(&mut caches).await?,
            () = follower.changed() => writer.news(&mut follower).await?,
            () = interview.changed() => {
                let mut new = interview.new_questions();
                if !writer.knows_pools {
                    // It never had a request at one.
                    for (vassal, incarnation) in new.take_idle_of_pools() {
                        roster.tell_idle(pid, vassal, incarnation);
                    }
                }
                writer.questions(new, has_cache).await?;
            }
        }
    }
}

async fn receive_all(
    mut reader: Reader,
    board: &RouteBoard,
    pid: u32,
    resend: &Notify,
) -> Result<(), LinkError> {
    loop {
        match reader.next().await.ok_or(LinkError::Closed)?? {
            // Said once already; a second time it changes nothing.
            FromRouter::Hello { .. } => {}
            FromRouter::Purged { sequence } => board.caches().confirm(pid, sequence),
            FromRouter::CachePages { token, pages } => board.roster().tell_pages(token, pages),
            FromRouter::Acknowledged { generation } => {
                let generation = Generation::new(generation);
                board.roster().acknowledge(pid, generation);
            }
            FromRouter::ResendTable => resend.notify_one(),
            FromRouter::Idle {
                site_id,
                incarnation,
            } => {
                if let Ok(site) = SiteId::of_vassal(site_id) {
                    let incarnation = Incarnation::new(incarnation);
                    board.roster().tell_idle(pid, site, incarnation);
                }
            }
            FromRouter::Stats { token, stats } => board.roster().tell_stats(token, stats),
            FromRouter::Wake { site_id } => {
                if let Ok(site) = SiteId::of_vassal(site_id) {
                    board.demand().wake(site);
                }
            }
            FromRouter::Load { sites } => board.demand().told(pid, sites),
        }
    }
}

impl Writer {
    async fn settings(&mut self, settings: &Settings) -> Result<(), LinkError> {
        self.push(&ToRouter::Settings(settings.clone())).await
    }

    /// Sends a table, written part by part so that it doesn't stand in memory twice.
    async fn table(&mut self, whole: Whole) -> Result<(), LinkError> {
        self.push(&ToRouter::TableBegin {
            generation: whole.generation.get(),
        })
        .await?;
        let mut routes = Vec::with_capacity(ROUTES_PER_PART);
        for route in whole.routes.values().filter_map(Posted::route) {
            routes.extend(RouteFrame::told(&route, self.knows_pools));
            if routes.len() == ROUTES_PER_PART {
                self.push(&ToRouter::TablePart {
                    routes: std::mem::take(&mut routes),
                })
                .await?;
                self.flush().await?;
            }
        }
        self.push(&ToRouter::TablePart { routes }).await?;
        self.push(&ToRouter::TableEnd).await?;
        self.flush().await
    }

    /// Sends all there is to say.
    async fn news(&mut self, follower: &mut Follower<'_>) -> Result<(), LinkError> {
        loop {
            let news = follower.news();
            if let Some(settings) = news.settings {
                self.settings(&settings).await?;
            }
            match news.table {
                TableNews::Nothing => return self.flush().await,
                TableNews::Whole(whole) => self.table(whole).await?,
                TableNews::Step(step) => self.step(&step, follower).await?,
            }
        }
    }

    /// Sends a step; one too large for a frame goes as the whole table.
    async fn step(&mut self, step: &Step, follower: &Follower<'_>) -> Result<(), LinkError> {
        if step.upserts.len() > ROUTES_PER_PART {
            return self.table(follower.whole()).await;
        }
        self.push(&ToRouter::Change {
            generation: step.generation.get(),
            upserts: step
                .upserts
                .iter()
                .filter_map(|route| RouteFrame::told(route, self.knows_pools))
                .collect(),
            removals: step
                .removals
                .iter()
                .filter(|id| self.knows_pools || !id.is_pool())
                .map(|id| id.get())
                .collect(),
        })
        .await
    }

    /// Has the cache forget what there is to forget, and says whether it may be used.
    async fn purges(&mut self, caches: &mut CacheFollower<'_>) -> Result<(), LinkError> {
        for message in caches.news(Instant::now()) {
            self.push(&message).await?;
        }
        self.flush().await
    }

    async fn questions(&mut self, new: Questions, has_cache: bool) -> Result<(), LinkError> {
        for (site, incarnation, _) in new.idle {
            let (site_id, incarnation) = (site.get(), incarnation.get());
            self.push(&ToRouter::AwaitIdle {
                site_id,
                incarnation,
            })
            .await?;
        }
        for token in new.stats {
            self.push(&ToRouter::AskStats { token }).await?;
        }
        for (token, site, path) in new.pages.into_iter().filter(|_| has_cache) {
            let site_id = site.get();
            self.push(&ToRouter::AskCache {
                token,
                site_id,
                path,
            })
            .await?;
        }
        self.flush().await
    }

    async fn push(&mut self, message: &ToRouter) -> Result<(), LinkError> {
        Ok(self.frames.feed(message).await?)
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        Ok(self.frames.flush().await?)
    }
}

#[cfg(test)]
mod tests;
