//! One connection to a worker: a unix socket and the buffers that stay with it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio_util::io::poll_read_buf;

use crate::deadline::Alarm;

/// How much is read at once at first, and once a worker has filled that.
const READ_BYTES: usize = 16 * 1024;
const LARGE_READ_BYTES: usize = 64 * 1024;
/// How long to wait where a worker's backlog is full, at first and at most.
const BACKLOG_PAUSE: Duration = Duration::from_millis(1);
const BACKLOG_PAUSE_MAX: Duration = Duration::from_millis(10);

/// A connection to a worker.
#[derive(Debug)]
pub(super) struct Link {
    stream: UnixStream,
    /// What was read and not taken yet.
    pub(super) received: BytesMut,
    /// What is to be written before `body`.
    pub(super) out: BytesMut,
    /// Part of a request's body, in the client's own buffer.
    pub(super) body: Bytes,
    read_bytes: usize,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Unreachable {
    Refused(io::Error),
    TooSlow,
}

impl Link {
    /// Connects. The alarm bounds how long the worker's backlog may be full.
    pub(super) async fn connect(path: &Path, bound: &Alarm) -> Result<Self, Unreachable> {
        let mut pause = BACKLOG_PAUSE;
        loop {
            match UnixStream::connect(path).await {
                Ok(stream) => return Ok(Self::new(stream)),
                // A unix socket never waits in `connect`: it is in the backlog, or there is no room.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Unreachable::Refused(error)),
            }
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(BACKLOG_PAUSE_MAX),
                () = poll_fn(|cx| bound.poll(cx)) => return Err(Unreachable::TooSlow),
            }
        }
    }

    fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            out: BytesMut::new(),
            body: Bytes::new(),
            read_bytes: READ_BYTES,
        }
    }

    /// Whether nothing has happened since the last answer. A worker that has closed, or that says
    /// something unasked, gets no other request here. This asks the runtime, not the kernel.
    pub(super) fn is_quiet(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.received.is_empty() && self.stream.poll_read_ready(&mut cx).is_pending()
    }

    /// Whether everything was written.
    pub(super) fn is_flushed(&self) -> bool {
        self.out.is_empty() && self.body.is_empty()
    }

    /// Writes some of what is to be written, in one call, and says how much.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let count = ready!(match (self.out.is_empty(), self.body.is_empty()) {
            (false, true) => stream.poll_write(cx, &self.out),
            (true, _) => stream.poll_write(cx, &self.body),
            (false, false) => {
                let slices = [IoSlice::new(&self.out), IoSlice::new(&self.body)];
                stream.poll_write_vectored(cx, &slices)
            }
        })?;
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        let of_out = count.min(self.out.len());
        self.out.advance(of_out);
        self.body.advance(count - of_out);
        Poll::Ready(Ok(count))
    }

    /// Reads behind what was received, and says how much; 0 where the worker has closed.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.received.capacity() - self.received.len() < self.read_bytes / 4 {
            self.received.reserve(self.read_bytes);
        }
        let room = self.received.capacity() - self.received.len();
        let count = ready!(poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.received
        ))?;
        if count == room {
            self.read_bytes = LARGE_READ_BYTES;
        }
        Poll::Ready(Ok(count))
    }

    /// The bare socket, and what was received and not taken.
    pub(super) fn into_parts(self) -> (UnixStream, BytesMut) {
        (self.stream, self.received)
    }
}
