//! The side of a client: its socket, the guarded way from there to hyper, and what the requests of
//! one connection share.
//!
//! What a request means is decided in [`request`](crate::request); nothing here knows a site.

pub(crate) mod connection;
mod io;
mod refusal;
mod socket;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use http::{HeaderValue, Uri};
use http_edge::forward::Trust;
use http_edge::guard::Guard;
use http_edge::host::{self, HostRefusal};
use site_model::Hostname;

pub(crate) use self::refusal::{BodyRefusal, Refusal};
pub(crate) use self::socket::{Door, Socket};
use crate::deadline::Alarm;
use crate::request::at_once::Known;
use crate::thread::Thread;
use crate::tunnel::Tunnel;

/// Who is at the other end.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `None` on a unix socket.
    pub(crate) address: Option<IpAddr>,
    /// The address as it is written; empty on a unix socket.
    pub(crate) text: String,
    pub(crate) trust: Trust,
}

/// What the requests of one connection share, on one thread.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) thread: Rc<Thread>,
    pub(crate) peer: Peer,
    /// Goes off when a worker is too slow. One alarm for all requests of the connection, since it
    /// is only moved and hardly ever goes off.
    pub(crate) worker_alarm: Alarm,
    guard: RefCell<Guard>,
    /// The refusal and the ordinal of the request that gets it: earlier ones may be unanswered.
    refused: Cell<Option<(u64, Refusal)>>,
    body_refused: Cell<Option<BodyRefusal>>,
    requests_begun: Cell<u64>,
    activity: Cell<Activity>,
    /// Hyper has nothing of an answer left to write.
    is_flushed: Cell<bool>,
    /// Goes off when the client is too slow with what is awaited of it.
    read_alarm: Alarm,
    awaited: Cell<Awaited>,
    /// Hyper was told to wait, and not for the socket: the end of the request has to wake it.
    held_up: Cell<bool>,
    tunnel: RefCell<Option<Box<Tunnel>>>,
    /// The host of the last request, as it was written and as it was read: the next one has most
    /// likely the same.
    last_host: RefCell<Option<(HeaderValue, Hostname)>>,
    /// The same for requests that are answered at once.
    pub(crate) known: RefCell<Option<Known>>,
    /// Wakes the connection's task.
    waker: RefCell<Option<Waker>>,
}

/// What the client is to send next, as far as its time is bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaited {
    Nothing,
    NextRequest,
    RestOfHead,
    Body,
    AnswerAfterClose,
}

/// Whether a request is being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Idle,
    Busy,
    /// The answer is a page that was at hand, and hyper knows nothing of it.
    Sending,
}

impl Connection {
    pub(crate) fn new(thread: Rc<Thread>, peer: Peer) -> Self {
        let limits = thread.current().settings.head;
        let worker_alarm = thread.deadlines.alarm();
        let read_alarm = thread.deadlines.alarm();
        Self {
            thread,
            peer,
            worker_alarm,
            guard: RefCell::new(Guard::new(limits)),
            refused: Cell::new(None),
            body_refused: Cell::new(None),
            requests_begun: Cell::new(0),
            activity: Cell::new(Activity::Idle),
            is_flushed: Cell::new(true),
            read_alarm,
            awaited: Cell::new(Awaited::Nothing),
            held_up: Cell::new(false),
            tunnel: RefCell::new(None),
            last_host: RefCell::new(None),
            known: RefCell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// A request begins. Says so if it is only the stand-in for one that was refused.
    pub(crate) fn begin_request(&self) -> Option<Refusal> {
        let ordinal = self.requests_begun.get();
        self.requests_begun.set(ordinal + 1);
        self.activity.set(Activity::Busy);
        self.is_flushed.set(false);
        let refused = self.refused.get().filter(|(which, _)| *which == ordinal);
        refused.map(|(_, refusal)| refusal)
    }

    /// Whether every request that came was answered and its answer written: what comes next is for whoever
    /// takes it.
    fn is_quiet(&self) -> bool {
        let guard = self.guard.borrow();
        self.activity.get() == Activity::Idle
            && self.is_flushed.get()
            && guard.is_at_head()
            && guard.heads_passed() == self.requests_begun.get()
    }

    /// Whether, after it was quiet, one whole head has come and nothing behind it.
    fn is_one_head_on(&self) -> bool {
        let guard = self.guard.borrow();
        guard.is_at_head() && guard.heads_passed() == self.requests_begun.get() + 1
    }

    /// A request was answered past hyper, and its answer is being sent until [`Self::end_request`].
    fn begin_sending(&self) {
        self.requests_begun.set(self.requests_begun.get() + 1);
        self.activity.set(Activity::Sending);
        self.awaited.set(Awaited::Nothing);
    }

    /// Hyper has handed over all that it had to write.
    fn flushed(&self) {
        if self.activity.get() != Activity::Busy {
            self.is_flushed.set(true);
        }
    }

    /// A request was answered, or given up.
    pub(crate) fn end_request(&self) {
        self.activity.set(Activity::Idle);
        self.worker_alarm.clear();
        // Hyper waits for the socket already, and won't ask again before something comes.
        if self.awaited.get() == Awaited::Nothing {
            let wait = self.thread.current().settings.keep_alive_timeout;
            self.await_next(Awaited::NextRequest, wait);
        }
        if self.held_up.take() {
            self.guard.borrow_mut().resume();
            self.wake();
        }
    }

    /// Sets the alarm, unless it is set for the same already.
    fn await_next(&self, awaited: Awaited, wait: Duration) {
        if self.awaited.replace(awaited) != awaited || !self.read_alarm.is_set() {
            self.read_alarm.set(wait);
        }
    }

    /// Why the body of the present request can't be read to its end, where the client is to blame.
    pub(crate) fn body_refusal(&self) -> Option<BodyRefusal> {
        self.body_refused.get()
    }

    /// The connection goes on as a tunnel once the answer that says so was sent.
    pub(crate) fn open_tunnel(&self, tunnel: Tunnel) {
        self.guard.borrow_mut().tunnel();
        *self.tunnel.borrow_mut() = Some(Box::new(tunnel));
    }

    /// The host a request is for.
    pub(crate) fn host(
        &self,
        written: &HeaderValue,
        target: &Uri,
    ) -> Result<Hostname, HostRefusal> {
        let mut last = self.last_host.borrow_mut();
        match &*last {
            Some((known, name)) if known == written && target.authority().is_none() => {
                Ok(name.clone())
            }
            Some(_) | None => {
                let name = host::requested(written, target)?;
                *last = Some((written.clone(), name.clone()));
                Ok(name)
            }
        }
    }

    /// Has the connection's task look around: the thread drains.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}
