//! The emperor's end of the link: one listening socket, at most one router that counts.
//!
//! A connection is served by one task that sends and receives at once, so neither side can wait
//! for the other to read. The newest router that says hello replaces the one before: after an
//! upgrade two live for a while, and the older only ends its requests. The table and all waiting
//! belong to the [`RouteBoard`]; a lost connection loses nothing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use site_model::{Generation, Incarnation, SiteId};
use thiserror::Error;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, FramedWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, info, warn};
use wire::codec::{CodecError, FrameCodec};
use wire::route::{FromRouter, PROTOCOL_VERSION, ROUTES_PER_PART, RouteFrame, ToRouter};

use super::board::{Peer, RouteBoard, Step, Whole};
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
    #[error("no hello within {} s", HELLO_TIMEOUT.as_secs())]
    Silent,
    #[error("the router speaks version {0} of the link, this emperor {PROTOCOL_VERSION}")]
    Version(u32),
    #[error("process {0} is not the router")]
    NotTheRouter(u32),
    #[error("{0} before hello")]
    Unexpected(&'static str),
}

/// Who may speak on the link.
#[derive(Debug, Clone)]
pub(crate) struct AllowedPeer {
    /// The router's uid.
    pub(crate) uid: u32,
    /// The router's process. A router that was replaced knows an older table; while it ends its
    /// requests it goes on trying to connect.
    pub(crate) pid: watch::Receiver<Option<u32>>,
}

impl AllowedPeer {
    /// The process at the other end, as the kernel knows it: a pid that is only said would be worth
    /// nothing.
    fn admit(&self, stream: &UnixStream) -> Result<u32, LinkError> {
        let credentials = stream.peer_cred().map_err(LinkError::Accept)?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.ok_or(LinkError::NotTheRouter(0))?;
        if credentials.uid() != self.uid && credentials.uid() != 0 {
            return Err(LinkError::NotTheRouter(pid));
        }
        match *self.pid.borrow() {
            Some(router) if router != pid => Err(LinkError::NotTheRouter(pid)),
            Some(_) | None => Ok(pid),
        }
    }
}

/// Serves the link until it is cancelled.
pub(in crate::daemon) async fn serve(
    listener: UnixListener,
    board: Arc<RouteBoard>,
    allowed: AllowedPeer,
    mut pulse: Pulse,
    cancel: CancellationToken,
) {
    let mut current: Option<AbortOnDropHandle<()>> = None;
    loop {
        pulse.turn();
        let accepted = tokio::select! {
            () = cancel.cancelled() => break,
            Ok(()) = pulse.asked() => continue,
            accepted = listener.accept() => accepted,
        };
        let hello = match accepted {
            Ok((stream, _)) => admit(stream, &allowed).await,
            Err(error) => Err(LinkError::Accept(error)),
        };
        match hello {
            Ok(connection) => {
                // Its predecessor ends first, so that its end can't take down this one's peer.
                if let Some(before) = current.take() {
                    before.abort();
                    before.await.ok();
                }
                let board = Arc::clone(&board);
                current = Some(AbortOnDropHandle::new(tokio::spawn(connection.run(board))));
            }
            // One that was replaced, as is to be expected.
            Err(error @ LinkError::NotTheRouter(_)) => {
                debug!(%error, "a connection to the fastrouter's link was refused");
            }
            Err(error) => warn!(%error, "a connection to the fastrouter's link was refused"),
        }
    }
}

async fn admit(stream: UnixStream, allowed: &AllowedPeer) -> Result<Connection, LinkError> {
    let pid = allowed.admit(&stream)?;
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
        } => Ok(Connection {
            reader,
            writer: Writer(FramedWrite::new(write, FrameCodec::default())),
            peer: Peer { pid, version },
        }),
        FromRouter::Hello { protocol, .. } => Err(LinkError::Version(protocol)),
        FromRouter::Acknowledged { .. } => Err(LinkError::Unexpected("an acknowledgement")),
        FromRouter::ResendTable => Err(LinkError::Unexpected("a wish for the table")),
        FromRouter::Idle { .. } => Err(LinkError::Unexpected("an answer")),
        FromRouter::Stats { .. } | FromRouter::Load { .. } => Err(LinkError::Unexpected("figures")),
        FromRouter::Wake { .. } => Err(LinkError::Unexpected("a wish to wake a site")),
    }
}

type Codec = FrameCodec<FromRouter, ToRouter>;
type Reader = FramedRead<OwnedReadHalf, Codec>;

struct Writer(FramedWrite<OwnedWriteHalf, Codec>);

struct Connection {
    reader: Reader,
    writer: Writer,
    peer: Peer,
}

impl Connection {
    async fn run(mut self, board: Arc<RouteBoard>) {
        let pid = self.peer.pid;
        info!(
            pid,
            version = self.peer.version,
            "the fastrouter is connected"
        );
        // Takes the peer off the board however this task ends, by being aborted too.
        let _disconnect = Disconnect(&board);
        let resend = Notify::new();
        let ended = tokio::select! {
            ended = send_all(&mut self.writer, &board, self.peer, &resend) => ended,
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

struct Disconnect<'board>(&'board RouteBoard);

impl Drop for Disconnect<'_> {
    fn drop(&mut self) {
        self.0.disconnected();
    }
}

async fn send_all(
    writer: &mut Writer,
    board: &RouteBoard,
    peer: Peer,
    resend: &Notify,
) -> Result<(), LinkError> {
    board.opened().await;
    let (settings, whole) = board.whole();
    writer.push(&ToRouter::Settings(settings)).await?;
    writer.table(whole).await?;
    board.connected(peer);
    let mut asked = Asked::default();
    loop {
        tokio::select! {
            () = resend.notified() => writer.table(board.whole().1).await?,
            () = board.changed() => writer.news(board, &mut asked).await?,
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
            FromRouter::Acknowledged { generation } => {
                board.acknowledge(Generation::new(generation));
                board.serves(pid);
            }
            FromRouter::ResendTable => resend.notify_one(),
            FromRouter::Idle {
                site_id,
                incarnation,
            } => {
                if let Ok(site) = SiteId::new(site_id) {
                    board.tell_idle(site, Incarnation::new(incarnation));
                }
            }
            FromRouter::Stats { token, stats } => board.tell_stats(token, stats),
            FromRouter::Wake { site_id } => {
                if let Ok(site) = SiteId::new(site_id) {
                    board.demand().wake(site);
                }
            }
            FromRouter::Load { sites } => board.demand().told(sites),
        }
    }
}

/// What was asked on this connection already: the board lists all that is open.
#[derive(Default)]
struct Asked {
    idle: BTreeSet<(SiteId, Incarnation, u64)>,
    stats: BTreeSet<u64>,
}

impl Writer {
    /// Sends a table, written part by part so that it doesn't stand in memory twice.
    async fn table(&mut self, whole: Whole) -> Result<(), LinkError> {
        self.push(&ToRouter::TableBegin {
            generation: whole.generation.get(),
        })
        .await?;
        let mut routes = Vec::with_capacity(ROUTES_PER_PART);
        for route in whole.routes.values() {
            routes.push(RouteFrame::from(&**route));
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

    async fn news(&mut self, board: &RouteBoard, asked: &mut Asked) -> Result<(), LinkError> {
        let news = board.news();
        if let Some(settings) = news.settings {
            self.push(&ToRouter::Settings(settings)).await?;
        }
        if let Some(step) = news.change {
            self.step(step, board).await?;
        }
        let open: BTreeSet<_> = news.idle_questions.into_iter().collect();
        for (site, incarnation, _) in open.difference(&asked.idle) {
            let (site_id, incarnation) = (site.get(), incarnation.get());
            self.push(&ToRouter::AwaitIdle {
                site_id,
                incarnation,
            })
            .await?;
        }
        let tokens: BTreeSet<_> = news.stats_questions.into_iter().collect();
        for token in tokens.difference(&asked.stats) {
            self.push(&ToRouter::AskStats { token: *token }).await?;
        }
        *asked = Asked {
            idle: open,
            stats: tokens,
        };
        self.flush().await
    }

    /// Sends a step; one too large for a frame goes as the whole table.
    async fn step(&mut self, step: Step, board: &RouteBoard) -> Result<(), LinkError> {
        if step.upserts.len() > ROUTES_PER_PART {
            return self.table(board.whole().1).await;
        }
        self.push(&ToRouter::Change {
            generation: step.generation.get(),
            upserts: step
                .upserts
                .iter()
                .map(|route| RouteFrame::from(&**route))
                .collect(),
            removals: step.removals.iter().map(|id| id.get()).collect(),
        })
        .await
    }
    async fn push(&mut self, message: &ToRouter) -> Result<(), LinkError> {
        Ok(self.0.feed(message).await?)
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        Ok(self.0.flush().await?)
    }
}

#[cfg(test)]
mod tests;
