//! The way from a client's socket to hyper, past the guard.
//!
//! A head reaches hyper whole or not at all. Most come in one read and are handed on where they
//! lie; parts of one are kept here until the rest has come. A head that is refused is replaced by a
//! well-formed stand-in, and noted by its ordinal: hyper then asks our own service for the answer,
//! so that even the worst request gets a page with a request id instead of a closed door.
//!
//! A request for a page that is [at hand](outgoing) doesn't reach hyper at all: it is answered here, where
//! hyper has nothing left to do for the requests before it.
//!
//! Time is bounded here too: for a head, for a body that stops coming, for a client that takes no
//! bytes, for a connection between requests.

mod outgoing;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http_edge::guard::{Passage, Rest};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use self::outgoing::Outgoing;
use super::{Activity, Awaited, BodyRefusal, Connection, Refusal, Socket};
use crate::deadline::Alarm;

/// What hyper reads instead of a refused head.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";
/// How long an answer may still take after the client has closed its side. Some clients do that
/// once they have asked; most are simply gone.
const HALF_CLOSED_GRACE: Duration = Duration::from_secs(1);
/// How much is read at once where bytes have to be kept.
const READ_BYTES: usize = 8 * 1024;
/// Up to this size it costs less to copy a head and a body together than to have the kernel read a
/// list of two.
const JOINED_BYTES: usize = 4 * 1024;

/// The guarded socket.
#[derive(Debug)]
pub(super) struct ClientIo {
    socket: Socket,
    connection: Rc<Connection>,
    /// Bytes that were read and didn't go to hyper yet.
    kept: BytesMut,
    /// How many of them may.
    approved: usize,
    incoming: Incoming,
    write_alarm: Alarm,
    /// Head and small body of an answer, side by side.
    joined: Vec<u8>,
    /// What hyper knows nothing of. Nothing is read while it is being sent.
    outgoing: Option<Outgoing>,
}

/// What the client may still say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    Open,
    /// A refused head: hyper is to read the stand-in.
    Refused,
    /// A broken body: hyper is to learn of it once it has what came before.
    Broken,
    /// Nothing is listened to any more.
    Ignored,
    /// The client has closed its side.
    Closed,
}

/// What is left of a guarded socket.
#[derive(Debug)]
pub(super) struct Remains {
    pub(super) socket: Socket,
    pub(super) kept: BytesMut,
}

impl ClientIo {
    pub(super) fn new(socket: Socket, connection: Rc<Connection>) -> Self {
        let write_alarm = connection.thread.deadlines.alarm();
        Self {
            socket,
            connection,
            kept: BytesMut::new(),
            approved: 0,
            incoming: Incoming::Open,
            write_alarm,
            joined: Vec::new(),
            outgoing: None,
        }
    }

    pub(super) fn into_remains(self) -> Remains {
        Remains {
            socket: self.socket,
            kept: self.kept,
        }
    }

    /// Reads until hyper gets something or has to wait.
    fn poll_input(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_outgoing(cx))?;
            if self.approved > 0 {
                self.hand_over(out);
                return Poll::Ready(Ok(()));
            }
            match self.incoming {
                Incoming::Refused => {
                    out.put_slice(STAND_IN);
                    self.incoming = Incoming::Ignored;
                    return Poll::Ready(Ok(()));
                }
                Incoming::Broken => {
                    self.incoming = Incoming::Ignored;
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Incoming::Ignored => return Poll::Pending,
                Incoming::Closed if self.is_cut_off() => {
                    self.refuse(Refusal::CutOff);
                    continue;
                }
                Incoming::Closed => return self.poll_closed(cx),
                Incoming::Open => {}
            }
            let read = if self.kept.is_empty() {
                self.poll_direct(cx, out)
            } else {
                self.poll_kept(cx)
            };
            match read {
                Poll::Ready(Ok(Read::Passed)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(Read::Again)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => ready!(self.poll_patience(cx))?,
            }
        }
    }

    /// Reads to where hyper wants it, and takes back what mustn't pass yet.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Read>> {
        if self.is_holding() {
            self.connection.held_up.set(true);
            return Poll::Pending;
        }
        let before = out.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, out))?;
        let new = &out.filled()[before..];
        if new.is_empty() {
            self.incoming = Incoming::Closed;
            return Poll::Ready(Ok(Read::Again));
        }
        let was_quiet = self.connection.is_quiet();
        let passage = self.connection.guard.borrow_mut().check(new);
        if was_quiet && passage.bytes == new.len() && self.answers_at_once(new) {
            out.set_filled(before);
            return Poll::Ready(Ok(Read::Again));
        }
        if passage.bytes < new.len() {
            self.kept.extend_from_slice(&new[passage.bytes..]);
            out.set_filled(before + passage.bytes);
        }
        self.note(passage);
        Poll::Ready(Ok(if passage.bytes > 0 {
            Read::Passed
        } else {
            Read::Again
        }))
    }

    /// Reads behind the bytes that are kept already. Where the guard held them, they are looked at
    /// again first.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Read>> {
        if self.is_holding() {
            self.connection.held_up.set(true);
            return Poll::Pending;
        }
        if !self.check_kept() {
            self.kept.reserve(READ_BYTES);
            let count = ready!(poll_read_buf(
                Pin::new(&mut self.socket),
                cx,
                &mut self.kept
            ))?;
            if count == 0 {
                self.incoming = Incoming::Closed;
                return Poll::Ready(Ok(Read::Again));
            }
            self.check_kept();
        }
        Poll::Ready(Ok(Read::Again))
    }

    /// Shows the kept bytes to the guard; whether that changed anything.
    fn check_kept(&mut self) -> bool {
        let passage = self.connection.guard.borrow_mut().check(&self.kept);
        self.approved = passage.bytes;
        self.note(passage);
        passage.bytes > 0 || self.incoming != Incoming::Open
    }

    fn note(&mut self, passage: Passage) {
        match passage.rest {
            Rest::Wanted | Rest::Held => {}
            Rest::Head(refusal) => self.refuse(Refusal::Head(refusal)),
            Rest::Body(broken) => {
                let refusal = BodyRefusal::Chunk(broken);
                self.connection.body_refused.set(Some(refusal));
                self.incoming = Incoming::Broken;
            }
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        let mut guard = self.connection.guard.borrow_mut();
        self.connection
            .refused
            .set(Some((guard.heads_passed(), refusal)));
        guard.refuse();
        self.incoming = Incoming::Refused;
    }

    fn hand_over(&mut self, out: &mut ReadBuf<'_>) {
        let count = self.approved.min(out.remaining());
        out.put_slice(&self.kept[..count]);
        self.kept.advance(count);
        self.approved -= count;
    }

    fn is_holding(&self) -> bool {
        self.connection.guard.borrow().is_holding()
    }

    /// Whether the client has closed its side in the middle of a head.
    fn is_cut_off(&self) -> bool {
        !self.kept.is_empty() && self.connection.guard.borrow().is_at_head()
    }

    /// The client has closed its side: a request that is being answered gets a little time,
    /// otherwise hyper learns of the end.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let busy = self.connection.activity.get() == Activity::Busy;
        if busy && self.connection.guard.borrow().is_at_head() {
            self.connection.held_up.set(true);
            self.connection
                .await_next(Awaited::AnswerAfterClose, HALF_CLOSED_GRACE);
            ready!(self.connection.read_alarm.poll(cx));
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing came: decides how long to wait for what. Ready with an error where that was too long,
    /// and plainly ready where hyper is to be told something.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let current = self.connection.thread.current();
        let settings = &current.settings;
        let awaited = self.awaited_now();
        match awaited {
            Awaited::Nothing | Awaited::AnswerAfterClose => {
                // It may be set when the request ends: this task is to be woken then.
                self.connection.awaited.set(Awaited::Nothing);
                self.connection.read_alarm.clear();
                return self.connection.read_alarm.poll(cx).map(Ok);
            }
            Awaited::RestOfHead => self.connection.await_next(awaited, settings.head_timeout),
            Awaited::NextRequest | Awaited::Body => {
                self.connection
                    .await_next(awaited, settings.keep_alive_timeout);
            }
        }
        ready!(self.connection.read_alarm.poll(cx));
        self.connection.awaited.set(Awaited::Nothing);
        match awaited {
            Awaited::RestOfHead => self.refuse(Refusal::TooSlow),
            Awaited::Body => {
                self.connection.body_refused.set(Some(BodyRefusal::TooSlow));
                self.incoming = Incoming::Ignored;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Awaited::Nothing | Awaited::NextRequest | Awaited::AnswerAfterClose => {
                self.incoming = Incoming::Closed;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn awaited_now(&self) -> Awaited {
        let guard = self.connection.guard.borrow();
        let busy = self.connection.activity.get() == Activity::Busy;
        if guard.is_in_body() {
            Awaited::Body
        } else if busy || !guard.is_at_head() {
            Awaited::Nothing
        } else if self.kept.is_empty() {
            Awaited::NextRequest
        } else {
            Awaited::RestOfHead
        }
    }

    /// Bounds how long the client may take no bytes.
    fn patient_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_alarm.clear();
            return written;
        }
        if !self.write_alarm.is_set() {
            let wait = self.connection.thread.current().settings.keep_alive_timeout;
            self.write_alarm.set(wait);
        }
        ready!(self.write_alarm.poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// What a read brought.
enum Read {
    /// Bytes for hyper.
    Passed,
    /// Something that has to be looked at.
    Again,
}

impl AsyncRead for ClientIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        let read = this.poll_input(cx, out);
        if out.filled().len() > before {
            // A body that goes on coming is waited for anew.
            this.connection.awaited.set(Awaited::Nothing);
        }
        read
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.patient_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = if total <= JOINED_BYTES {
            this.joined.clear();
            for slice in slices {
                this.joined.extend_from_slice(slice);
            }
            Pin::new(&mut this.socket).poll_write(cx, &this.joined)
        } else {
            Pin::new(&mut this.socket).poll_write_vectored(cx, slices)
        };
        this.patient_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Hyper asks for this when it has nothing left to write.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.flushed();
        Poll::Ready(Ok(()))
    }

    /// Nothing is shut down here: whoever served the connection decides how it ends.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
