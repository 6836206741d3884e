//! The body of an answer between the fill that reads it and the client that began the fill.
//!
//! Others may wait for the page, so the worker's answer is read at its own pace, and what the client has
//! not taken yet lies here: at most a page, since a fill that turns out too large for the cache goes at its
//! client's pace from there on. Over all clients of a thread it is [`MOST_AHEAD_BYTES`]; beyond that
//! each fill goes at its client's pace, and those who wait for it may have to ask for themselves.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::cause::Cause;
use crate::thread::Thread;

/// How much of an answer lies ready for a client at whose pace it is read.
const WINDOW_BYTES: usize = 64 * 1024;
/// How much one thread reads ahead of all its clients together.
const MOST_AHEAD_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug)]
struct Feed {
    thread: Rc<Thread>,
    parts: VecDeque<Bytes>,
    /// The bytes of these parts.
    ahead: usize,
    end: Option<Result<(), Cause>>,
    reader: Reader,
    /// Wakes the fill.
    fill: Option<Waker>,
}

/// The client's side.
#[derive(Debug)]
enum Reader {
    Busy,
    Waiting(Waker),
    Left,
}

/// A body that is to be fed, and who is fed with it.
pub(super) fn feed(thread: &Rc<Thread>) -> (Feeder, Fed) {
    let feed = Rc::new(RefCell::new(Feed {
        thread: Rc::clone(thread),
        parts: VecDeque::new(),
        ahead: 0,
        end: None,
        reader: Reader::Busy,
        fill: None,
    }));
    (Feeder(Rc::clone(&feed)), Fed(feed))
}

/// The fill's end of a body. Dropped before its end, it breaks the body off.
#[derive(Debug)]
pub(super) struct Feeder(Rc<RefCell<Feed>>);

impl Feeder {
    /// Waits until the client has taken enough. What is read for others too is read further ahead.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>, is_shared: bool) -> Poll<()> {
        let mut feed = self.0.borrow_mut();
        let has_room = feed.ahead < WINDOW_BYTES
            || (is_shared && feed.thread.ahead.get() < MOST_AHEAD_BYTES)
            || matches!(feed.reader, Reader::Left);
        if has_room {
            return Poll::Ready(());
        }
        feed.fill = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until the client has left.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut feed = self.0.borrow_mut();
        if matches!(feed.reader, Reader::Left) {
            return Poll::Ready(());
        }
        feed.fill = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next bytes.
    pub(super) fn push(&self, part: Bytes) {
        let mut feed = self.0.borrow_mut();
        if matches!(feed.reader, Reader::Left) {
            return;
        }
        feed.count(part.len());
        feed.parts.push_back(part);
        feed.wake_reader();
    }

    /// There is no more, or no more will come.
    pub(super) fn end(self, end: Result<(), Cause>) {
        self.settle(end);
    }

    fn settle(&self, end: Result<(), Cause>) {
        let mut feed = self.0.borrow_mut();
        feed.end.get_or_insert(end);
        feed.wake_reader();
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.settle(Err(Cause::WorkerGone));
    }
}

/// The client's end of a body.
#[derive(Debug)]
pub(crate) struct Fed(Rc<RefCell<Feed>>);

impl Fed {
    /// Takes the next bytes.
    pub(super) fn poll_data(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Cause>>> {
        let mut feed = self.0.borrow_mut();
        if let Some(part) = feed.parts.pop_front() {
            feed.discount(part.len());
            feed.wake_fill();
            return Poll::Ready(Some(Ok(part)));
        }
        match &feed.end {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(cause)) => Poll::Ready(Some(Err(cause.clone()))),
            None => {
                feed.reader = Reader::Waiting(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether all of it was taken.
    pub(super) fn is_done(&self) -> bool {
        let feed = self.0.borrow();
        feed.parts.is_empty() && matches!(feed.end, Some(Ok(())))
    }
}

impl Drop for Fed {
    fn drop(&mut self) {
        let mut feed = self.0.borrow_mut();
        feed.reader = Reader::Left;
        let left = feed.ahead;
        feed.parts.clear();
        feed.discount(left);
        feed.wake_fill();
    }
}

impl Feed {
    fn count(&mut self, bytes: usize) {
        self.ahead += bytes;
        self.thread.ahead.set(self.thread.ahead.get() + bytes);
    }

    fn discount(&mut self, bytes: usize) {
        self.ahead -= bytes;
        self.thread.ahead.set(self.thread.ahead.get() - bytes);
    }

    fn wake_reader(&mut self) {
        if let Reader::Waiting(waker) = &self.reader {
            waker.wake_by_ref();
            self.reader = Reader::Busy;
        }
    }

    fn wake_fill(&mut self) {
        if let Some(waker) = self.fill.take() {
            waker.wake();
        }
    }
}
