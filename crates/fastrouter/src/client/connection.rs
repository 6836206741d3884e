//! One client connection from its first byte to its last.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tracing::debug;

use super::io::{ClientIo, Remains};
use super::{Activity, Connection, Socket};
use crate::request;

/// The most that is buffered of one message in either direction. It has to hold the largest head
/// that the guard lets through.
const BUFFER_BYTES: usize = 256 * 1024;
/// How long a client that was answered before it had said all may go on talking. If the connection
/// were closed at once, its unread bytes would make the kernel throw the answer away.
const LINGER: Duration = Duration::from_secs(2);

/// Serves a connection until it ends.
pub(crate) async fn serve(connection: Rc<Connection>, socket: Socket) {
    let io = TokioIo::new(ClientIo::new(socket, Rc::clone(&connection)));
    let service = service_fn(|request: http::Request<Incoming>| {
        let connection = Rc::clone(&connection);
        async move { Ok::<_, Infallible>(request::answer(connection, request).await) }
    });
    let mut serving = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    let mut asked_to_end = false;
    let ended = poll_fn(|cx| {
        connection.remember(cx);
        // First what has come already: a connection is idle only if nothing has.
        let ended = Pin::new(&mut serving).poll(cx);
        if ended.is_ready() || asked_to_end || !connection.may_be_closed() {
            return ended;
        }
        asked_to_end = true;
        Pin::new(&mut serving).graceful_shutdown();
        Pin::new(&mut serving).poll(cx)
    });
    if let Err(error) = ended.await {
        // Clients go away as they like.
        debug!(%error, peer = connection.peer.text, "a client connection broke");
    }
    let parts = serving.into_parts();
    let remains = parts.io.into_inner().into_remains();
    finish(&connection, remains, &parts.read_buf).await;
}

/// What comes after HTTP: the tunnel, or an end that lets the last answer arrive.
async fn finish(connection: &Connection, mut remains: Remains, unread: &[u8]) {
    let tunnel = connection.tunnel.borrow_mut().take();
    if let Some(tunnel) = tunnel {
        let early = [unread, &remains.kept].concat();
        tunnel.run(remains.socket, &early).await;
    } else if connection.was_interrupted() {
        // Whoever doesn't stop talking within that time has had its answer, or never will.
        timeout(LINGER, linger(&mut remains.socket)).await.ok();
    }
}

/// Says that nothing more will be said, and listens to nothing until the client has understood.
async fn linger(socket: &mut Socket) {
    if socket.shutdown().await.is_err() {
        return;
    }
    let mut ignored = vec![0; 16 * 1024];
    while let Ok(1..) = socket.read(&mut ignored).await {}
}

impl Connection {
    /// Remembers whom to wake when the thread drains.
    fn remember(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            Some(_) | None => *waker = Some(cx.waker().clone()),
        }
    }

    /// Whether hyper may end it as soon as it sees no request. It sees none while a page that was at hand
    /// is being sent.
    fn may_be_closed(&self) -> bool {
        self.thread.closes_idle() && self.activity.get() != Activity::Sending
    }

    /// Whether the client may still be talking although it was answered.
    fn was_interrupted(&self) -> bool {
        let guard = self.guard.borrow();
        self.refused.get().is_some() || self.body_refused.get().is_some() || guard.is_in_body()
    }
}
