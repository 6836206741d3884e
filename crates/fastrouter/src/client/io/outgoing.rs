//! Answers that are sent past hyper, to requests that it never sees.
//!
//! Where hyper has answered all there was, and one whole head comes for a page that is at hand, the answer
//! is written here. Nothing is read before it is sent, so answers keep the order of their requests.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use super::ClientIo;
use crate::client::Socket;
use crate::request::at_once::{self, Wire};

/// What is left of an answer.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: Vec<u8>,
    /// How much of the head is sent.
    sent: usize,
    body: Bytes,
}

impl ClientIo {
    /// Whether these bytes, which ended with a head, are answered here.
    pub(super) fn answers_at_once(&mut self, head: &[u8]) -> bool {
        if !self.connection.is_one_head_on() {
            return false;
        }
        let Some(wire) = at_once::answer(&self.connection, head) else {
            return false;
        };
        self.connection.begin_sending();
        self.outgoing = Some(Outgoing::new(wire));
        true
    }

    /// Sends what is to be sent past hyper.
    pub(super) fn poll_outgoing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(outgoing) = &mut self.outgoing {
            let written = outgoing.poll_write(cx, &mut self.socket);
            let count = ready!(self.patient_write(cx, written))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            if let Some(outgoing) = &mut self.outgoing {
                outgoing.advance(count);
            }
            if let Some(sent) = self.outgoing.take_if(|outgoing| outgoing.is_over()) {
                self.connection.thread.scratch.give_back(sent.into_head());
                self.connection.end_request();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Outgoing {
    fn new(wire: Wire) -> Self {
        Self {
            head: wire.head,
            sent: 0,
            body: wire.body,
        }
    }

    /// Whether all is sent.
    fn is_over(&self) -> bool {
        self.sent == self.head.len() && self.body.is_empty()
    }

    /// Hands some of it to the kernel, and says how much.
    fn poll_write(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<usize>> {
        let (socket, head) = (Pin::new(socket), &self.head[self.sent..]);
        if self.body.is_empty() {
            socket.poll_write(cx, head)
        } else if head.is_empty() {
            socket.poll_write(cx, &self.body)
        } else {
            let both = [IoSlice::new(head), IoSlice::new(&self.body)];
            socket.poll_write_vectored(cx, &both)
        }
    }

    /// So much was sent.
    fn advance(&mut self, count: usize) {
        let of_head = count.min(self.head.len() - self.sent);
        self.sent += of_head;
        self.body.advance(count - of_head);
    }

    /// The buffer of the head.
    fn into_head(self) -> Vec<u8> {
        self.head
    }
}
