//! The routers there are: usually one, and two while one takes over from the other.
//!
//! The [keeper](super::keeper) says which processes there are and which of them accepts; the
//! [link](super::link) passes on what each of them says. A router that is replaced goes on following
//! the table until its last request is over, so whatever is waited for here, a generation in force or
//! an idle instance, has to be true of every router.
//!
//! Locks are held for the time of a map operation, never over an await.

use std::collections::BTreeMap;
use std::sync::Arc;

use site_model::{Generation, Incarnation, SiteId};
use tokio::sync::{oneshot, watch};
use wire::cache::PageFrame;
use wire::route::RouterStats;

use super::caches::CacheBoard;
use super::demand::DemandBoard;
use super::questions::{Open, Questions};

/// Who is connected on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its process.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
}

/// The routers there are, and what is asked of them.
#[derive(Debug)]
pub(crate) struct Roster {
    state: watch::Sender<State>,
    acknowledged: watch::Sender<Generation>,
    /// The one that accepts, while it is connected.
    peer: watch::Sender<Option<Peer>>,
    demand: Arc<DemandBoard>,
    caches: CacheBoard,
}

#[derive(Debug, Default)]
struct State {
    seats: BTreeMap<u32, Seat>,
    /// Which of them accepts, or is about to.
    current: Option<u32>,
    questions: Open,
}

/// One router.
#[derive(Debug)]
struct Seat {
    standing: Standing,
    version: String,
}

/// How far a router follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was started and never had a table, so it has no request either.
    New,
    /// It isn't connected, and serves by a table from before.
    Away,
    /// It is connected, and has not told yet that the table is in force.
    Arriving,
    /// It has this generation in force.
    Following(Generation),
}

/// The questions that were put to a router on one connection: all are open until they are answered.
#[derive(Debug)]
pub(super) struct Interview {
    state: watch::Receiver<State>,
    pid: u32,
    asked: Questions,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self {
            state: watch::Sender::default(),
            acknowledged: watch::Sender::default(),
            peer: watch::Sender::default(),
            demand: Arc::default(),
            caches: CacheBoard::default(),
        }
    }

    /// What the routers tell of requests.
    pub(super) fn demand(&self) -> &Arc<DemandBoard> {
        &self.demand
    }

    /// What the routers' caches have to forget.
    pub(super) fn caches(&self) -> &CacheBoard {
        &self.caches
    }

    /// Waits until every thread of every connected router has this generation, or a later one, in
    /// force. Cancel safe.
    pub(super) async fn acknowledged(&self, generation: Generation) {
        let mut acknowledged = self.acknowledged.subscribe();
        let reached = acknowledged.wait_for(|known| *known >= generation).await;
        // The sender lives in `self`, so it can't be gone while `self` is borrowed.
        debug_assert!(reached.is_ok());
    }

    /// The generation that every connected router has in force.
    pub(super) fn acknowledged_generation(&self) -> Generation {
        *self.acknowledged.borrow()
    }

    /// Waits until no router has a request at an instance or leads to it. A router that is lost
    /// meanwhile is asked again when it is back. Cancel safe.
    pub(super) async fn idle(&self, site: SiteId, incarnation: Incarnation) {
        let answer = self.ask(|open| open.ask_idle((site, incarnation)));
        if answer.await.is_err() {
            // Only a roster that is being dropped forgets a question.
            std::future::pending::<()>().await;
        }
    }

    /// Asks the router that accepts for its figures; `None` where it isn't connected or goes away
    /// meanwhile. The caller bounds the wait. Cancel safe.
    pub(super) async fn stats(&self) -> Option<RouterStats> {
        self.peer.borrow().as_ref()?;
        self.ask(Open::ask_stats).await.ok()
    }

    /// Asks the router that accepts what is stored of a site; `None` as of [`stats`](Self::stats), and
    /// the caller bounds the wait. Cancel safe.
    pub(super) async fn pages(&self, site: SiteId, path: Option<String>) -> Option<Vec<PageFrame>> {
        self.peer.borrow().as_ref()?;
        self.ask(|open| open.ask_pages(site, path)).await.ok()
    }

    /// The router that accepts, while it is connected.
    pub(super) fn peer(&self) -> watch::Receiver<Option<Peer>> {
        self.peer.subscribe()
    }

    fn ask<T>(&self, ask: impl FnOnce(&mut Open) -> oneshot::Receiver<T>) -> oneshot::Receiver<T> {
        let mut answer = None;
        self.state
            .send_modify(|state| answer = Some(ask(&mut state.questions)));
        answer.expect("the closure is called once, and at once")
    }

    /// Changes the state, and publishes what follows from it. The change says whether there is
    /// something in it for those who watch the state itself.
    fn change(&self, change: impl FnOnce(&mut State) -> bool) {
        self.state.send_if_modified(|state| {
            let is_news = change(state);
            self.conclude(state);
            is_news
        });
    }

    fn conclude(&self, state: &State) {
        if let Some(least) = state.least_in_force() {
            self.acknowledged.send_if_modified(|known| {
                let is_newer = least > *known;
                *known = least.max(*known);
                is_newer
            });
        }
        let peer = state.peer();
        self.peer.send_if_modified(|known| {
            let differs = *known != peer;
            *known = peer;
            differs
        });
        self.demand.all_tell(state.all_tell());
    }
}

/// The side of the keeper.
impl Roster {
    /// A process is a router for as long as the result lives.
    pub(super) fn enlist(self: &Arc<Self>, pid: u32, standing: Standing) -> Enlisted {
        match standing {
            // It has no page either.
            Standing::New => {}
            Standing::Away | Standing::Arriving | Standing::Following(_) => {
                self.caches.await_router(pid);
            }
        }
        let version = String::new();
        let seat = Seat { standing, version };
        self.change(|state| {
            state.seats.insert(pid, seat);
            true
        });
        Enlisted {
            roster: Arc::clone(self),
            pid,
        }
    }

    /// This one accepts from now on, or is about to.
    pub(super) fn set_current(&self, pid: u32) {
        self.change(|state| {
            state.current = Some(pid);
            true
        });
    }

    /// Waits until a router has a table in force. Cancel safe.
    pub(super) async fn served_by(&self, pid: u32) {
        let mut state = self.state.subscribe();
        // The sender is this roster's own.
        drop(state.wait_for(|state| state.serves(pid)).await);
    }
}

/// A router that is there.
#[derive(Debug)]
pub(super) struct Enlisted {
    roster: Arc<Roster>,
    pid: u32,
}

impl Drop for Enlisted {
    fn drop(&mut self) {
        self.roster.demand.forget_router(self.pid);
        self.roster.caches.forget_router(self.pid);
        self.roster.change(|state| {
            state.seats.remove(&self.pid);
            state.questions.answer_idle(state.seats.keys().copied());
            false
        });
    }
}

/// The side of the link.
impl Roster {
    /// Waits until a process is a router. Cancel safe.
    pub(super) async fn enlisted(&self, pid: u32) {
        let mut state = self.state.subscribe();
        // The sender is this roster's own.
        drop(state.wait_for(|state| state.seats.contains_key(&pid)).await);
    }

    /// Begins to ask a router.
    pub(super) fn interview(&self, pid: u32) -> Interview {
        let mut state = self.state.subscribe();
        state.mark_changed();
        Interview {
            state,
            pid,
            asked: Questions::default(),
        }
    }

    /// A router is connected, and is to be given the table.
    pub(super) fn connected(&self, peer: Peer) {
        self.change(|state| {
            let Some(seat) = state.seats.get_mut(&peer.pid) else {
                return false;
            };
            seat.standing = Standing::Arriving;
            seat.version = peer.version;
            true
        });
    }

    /// Its connection ended. Askers for figures are told so by their channel; those who wait for
    /// idleness go on waiting.
    pub(super) fn disconnected(&self, pid: u32) {
        self.change(|state| {
            if state.current == Some(pid) {
                state.questions.forget_stats();
            }
            if let Some(seat) = state.seats.get_mut(&pid) {
                seat.standing = seat.standing.without_link();
            }
            false
        });
    }

    /// Every thread of a router has this generation in force.
    pub(super) fn acknowledge(&self, pid: u32, generation: Generation) {
        self.change(|state| {
            let Some(seat) = state.seats.get_mut(&pid) else {
                return false;
            };
            let before = std::mem::replace(&mut seat.standing, Standing::Following(generation));
            // Somebody may be waiting for it to serve.
            before == Standing::Arriving
        });
    }

    /// An instance is idle in a router.
    pub(super) fn tell_idle(&self, pid: u32, site: SiteId, incarnation: Incarnation) {
        self.answered(|state| {
            let routers = state.seats.keys().copied();
            let instance = (site, incarnation);
            state.questions.hear_idle(pid, instance, routers);
        });
    }

    /// Figures arrived.
    pub(super) fn tell_stats(&self, token: u64, stats: RouterStats) {
        self.answered(|state| state.questions.hear_stats(token, stats));
    }

    /// What is stored arrived.
    pub(super) fn tell_pages(&self, token: u64, pages: Vec<PageFrame>) {
        self.answered(|state| state.questions.hear_pages(token, pages));
    }

    /// Nobody who watches the state has to know.
    fn answered(&self, answer: impl FnOnce(&mut State)) {
        self.state.send_if_modified(|state| {
            answer(state);
            false
        });
    }
}

impl Interview {
    /// Waits until there may be a new question. Cancel safe.
    pub(super) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            // The roster goes with the last connection.
            std::future::pending::<()>().await;
        }
    }

    /// The questions that are open and were not put yet.
    pub(super) fn new_questions(&mut self) -> Questions {
        let open = self.state.borrow_and_update().questions_to(self.pid);
        let new = open.without(&self.asked);
        self.asked = open;
        new
    }
}

impl Standing {
    fn without_link(self) -> Self {
        match self {
            Self::New => Self::New,
            Self::Away | Self::Arriving | Self::Following(_) => Self::Away,
        }
    }
}

impl State {
    fn questions_to(&self, pid: u32) -> Questions {
        self.questions.to_router(self.current == Some(pid))
    }

    /// The oldest generation that is in force in a connected router.
    fn least_in_force(&self) -> Option<Generation> {
        let connected = self.seats.values().filter_map(|seat| match seat.standing {
            Standing::New | Standing::Away => None,
            Standing::Arriving => Some(Generation::default()),
            Standing::Following(generation) => Some(generation),
        });
        connected.min()
    }

    /// Whether every router that may have requests tells of them.
    fn all_tell(&self) -> bool {
        let mut standings = self.seats.values().map(|seat| seat.standing);
        let is_connected =
            |standing| matches!(standing, Standing::Arriving | Standing::Following(_));
        standings.clone().any(is_connected) && standings.all(|standing| standing != Standing::Away)
    }

    fn peer(&self) -> Option<Peer> {
        let pid = self.current?;
        let seat = self.seats.get(&pid)?;
        let version = seat.version.clone();
        match seat.standing {
            Standing::New | Standing::Away => None,
            Standing::Arriving | Standing::Following(_) => Some(Peer { pid, version }),
        }
    }

    fn serves(&self, pid: u32) -> bool {
        let seat = self.seats.get(&pid);
        seat.is_some_and(|seat| matches!(seat.standing, Standing::Following(_)))
    }
}
