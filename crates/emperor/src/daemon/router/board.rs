//! The route board: what the fastrouter is to know, kept as a level.
//!
//! Actors write here and never wait for the router; the [link](super::link) reads here and sends
//! what changed since it last looked. What is not sent yet is at most one route per site, however
//! long the router is away, so nothing queues up and nothing has to be bounded by a guess.
//!
//! This file knows no socket. Locks are held for the time of a map operation, never over an await.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use site_model::{Generation, Incarnation, SiteId, SiteRoute};
use tokio::sync::{Notify, oneshot, watch};
use wire::route::{RouterStats, Settings};

use super::demand::DemandBoard;

/// Who is connected on the link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its process.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
}

/// What the fastrouter is to know, and what it said of it.
#[derive(Debug)]
pub(crate) struct RouteBoard {
    state: Mutex<State>,
    changed: Notify,
    acknowledged: watch::Sender<Generation>,
    peer: watch::Sender<Option<Peer>>,
    demand: Arc<DemandBoard>,
    /// Which process has told that a table of this emperor's is in force in it.
    server: watch::Sender<Option<u32>>,
    /// How many routers were replaced and still end their requests.
    departing: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    settings: Settings,
    settings_changed: bool,
    routes: OrdMap<SiteId, Arc<SiteRoute>>,
    /// Sites whose route differs from what the last taken change carried.
    pending: BTreeSet<SiteId>,
    generation: Generation,
    /// Who waits until an instance is idle.
    idle: BTreeMap<(SiteId, Incarnation), IdleQuestion>,
    /// Who waits for figures, by token.
    stats: BTreeMap<u64, oneshot::Sender<RouterStats>>,
    next_token: u64,
}

#[derive(Debug)]
struct IdleQuestion {
    /// Tells a question from an earlier one about the same instance that was answered.
    token: u64,
    askers: Vec<oneshot::Sender<()>>,
}

/// A whole table, to begin a connection with.
#[derive(Debug)]
pub(in crate::daemon) struct Whole {
    pub(in crate::daemon) generation: Generation,
    pub(in crate::daemon) routes: OrdMap<SiteId, Arc<SiteRoute>>,
}

/// What is to be said next on a connection that knows the table.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) settings: Option<Settings>,
    pub(super) change: Option<Step>,
    /// Instances about which somebody wants to know when they are idle, with the question's token:
    /// all, asked before or not.
    pub(super) idle_questions: Vec<(SiteId, Incarnation, u64)>,
    /// Tokens of all open questions for figures.
    pub(super) stats_questions: Vec<u64>,
}

/// One step of the table.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) generation: Generation,
    pub(super) upserts: Vec<Arc<SiteRoute>>,
    pub(super) removals: Vec<SiteId>,
}

impl RouteBoard {
    /// An empty board.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State {
                settings,
                settings_changed: false,
                routes: OrdMap::new(),
                pending: BTreeSet::new(),
                generation: Generation::default(),
                idle: BTreeMap::new(),
                stats: BTreeMap::new(),
                next_token: 0,
            }),
            changed: Notify::new(),
            acknowledged: watch::Sender::new(Generation::default()),
            peer: watch::Sender::new(None),
            demand: Arc::default(),
            server: watch::Sender::new(None),
            departing: watch::Sender::new(0),
            open: watch::Sender::new(false),
        }
    }

    /// Lets routers have the table. Before the rows are known an empty table would say of every host
    /// that no site has it; a router without one says that it has to wait.
    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Puts a site's route up, and says which generation carries it.
    pub(crate) fn publish(&self, route: SiteRoute) -> Generation {
        let mut state = self.state();
        if state
            .routes
            .get(&route.id)
            .is_some_and(|known| **known == route)
        {
            return state.carrier_of(route.id);
        }
        let id = route.id;
        state.routes.insert(id, Arc::new(route));
        self.mark(state, id)
    }

    /// Takes a site's route down, and says which generation is the first without it.
    pub(crate) fn withdraw(&self, id: SiteId) -> Generation {
        let mut state = self.state();
        match state.routes.remove(&id) {
            Some(_) => self.mark(state, id),
            None => state.carrier_of(id),
        }
    }

    /// Changes how the router is to behave.
    pub(crate) fn set_settings(&self, settings: Settings) {
        let mut state = self.state();
        state.settings_changed |= state.settings != settings;
        state.settings = settings;
        drop(state);
        self.changed.notify_one();
    }

    /// Waits until every thread of the router has this generation, or a later one, in force.
    ///
    /// Cancel safe.
    pub(crate) async fn acknowledged(&self, generation: Generation) {
        let mut acknowledged = self.acknowledged.subscribe();
        let reached = acknowledged.wait_for(|known| *known >= generation).await;
        // The sender lives in `self`, so it can't be gone while `self` is borrowed.
        debug_assert!(reached.is_ok());
    }

    /// The generation in force in every thread of the router.
    pub(crate) fn acknowledged_generation(&self) -> Generation {
        *self.acknowledged.borrow()
    }

    /// Waits until no request is in flight at an instance and no route leads to it. A router that
    /// is lost meanwhile is asked again when it is back.
    ///
    /// Cancel safe.
    pub(crate) async fn idle(&self, site: SiteId, incarnation: Incarnation) {
        let (told, telling) = oneshot::channel();
        self.state().ask_idle((site, incarnation), told);
        self.changed.notify_one();
        if telling.await.is_err() {
            // Only a board that is being dropped forgets a question.
            std::future::pending::<()>().await;
        }
        // One that was replaced knows an older table, and may have requests there.
        let mut departing = self.departing.subscribe();
        drop(departing.wait_for(|departing| *departing == 0).await);
    }

    /// Waits until a process has the table in force.
    ///
    /// Cancel safe.
    pub(super) async fn served_by(&self, pid: u32) {
        let mut server = self.server.subscribe();
        drop(server.wait_for(|server| *server == Some(pid)).await);
    }

    /// A router was replaced; until what is returned is dropped it may have requests anywhere.
    pub(super) fn departure(self: &Arc<Self>) -> Departure {
        self.departing.send_modify(|departing| *departing += 1);
        Departure(Arc::clone(self))
    }

    /// Asks the router for its figures; `None` where none is connected or it goes away meanwhile.
    /// The caller bounds the wait.
    ///
    /// Cancel safe.
    pub(crate) async fn stats(&self) -> Option<RouterStats> {
        self.peer.borrow().as_ref()?;
        let (told, telling) = oneshot::channel();
        self.state().ask_stats(told);
        self.changed.notify_one();
        telling.await.ok()
    }

    /// Who is connected.
    pub(crate) fn peer(&self) -> watch::Receiver<Option<Peer>> {
        self.peer.subscribe()
    }

    /// What the router tells of requests.
    pub(in crate::daemon) fn demand(&self) -> &Arc<DemandBoard> {
        &self.demand
    }

    fn mark(&self, mut state: MutexGuard<'_, State>, id: SiteId) -> Generation {
        state.pending.insert(id);
        let carrier = state.generation.next();
        drop(state);
        self.changed.notify_one();
        carrier
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock held had finished its map operation or not begun it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A router that ends its requests.
#[derive(Debug)]
pub(super) struct Departure(Arc<RouteBoard>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.departing.send_modify(|departing| *departing -= 1);
    }
}

/// The side of the link.
impl RouteBoard {
    /// Waits until routers may have the table.
    pub(super) async fn opened(&self) {
        let opened = self.open.subscribe().wait_for(|open| *open).await.is_ok();
        // The sender lives in `self`, so it can't be gone while `self` is borrowed.
        debug_assert!(opened);
    }

    /// Waits until there may be news.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Somebody connected: from here on the peer is told news.
    pub(super) fn connected(&self, peer: Peer) {
        self.peer.send_replace(Some(peer));
        self.demand.connected();
        self.changed.notify_one();
    }

    /// The connection ended. Askers for figures are told so by their channel; those who wait for
    /// idleness go on waiting.
    pub(super) fn disconnected(&self) {
        self.peer.send_replace(None);
        self.demand.disconnected();
        self.server.send_replace(None);
        self.state().stats.clear();
    }

    /// The settings and everything there is, what was pending included.
    pub(in crate::daemon) fn whole(&self) -> (Settings, Whole) {
        let mut state = self.state();
        state.take_step();
        state.settings_changed = false;
        let whole = Whole {
            generation: state.generation,
            routes: state.routes.clone(),
        };
        (state.settings.clone(), whole)
    }

    /// What changed since the last look.
    pub(super) fn news(&self) -> News {
        let mut state = self.state();
        let settings_changed = std::mem::take(&mut state.settings_changed);
        News {
            settings: settings_changed.then(|| state.settings.clone()),
            change: state.take_step(),
            idle_questions: state.open_idle_questions(),
            stats_questions: state.stats.keys().copied().collect(),
        }
    }

    /// Every thread of the router has this generation in force.
    pub(in crate::daemon) fn acknowledge(&self, generation: Generation) {
        self.acknowledged.send_if_modified(|known| {
            let newer = generation > *known;
            *known = generation.max(*known);
            newer
        });
    }

    /// A process said so: it serves.
    pub(super) fn serves(&self, pid: u32) {
        self.server.send_if_modified(|server| {
            let is_new = *server != Some(pid);
            *server = Some(pid);
            is_new
        });
    }

    /// An instance is idle.
    pub(super) fn tell_idle(&self, site: SiteId, incarnation: Incarnation) {
        let answered = self.state().idle.remove(&(site, incarnation));
        for asker in answered.into_iter().flat_map(|question| question.askers) {
            // An asker that has gone no longer cares.
            asker.send(()).ok();
        }
    }

    /// Figures arrived.
    pub(super) fn tell_stats(&self, token: u64, stats: RouterStats) {
        if let Some(asker) = self.state().stats.remove(&token) {
            asker.send(stats).ok();
        }
    }
}

impl State {
    /// The generation that carries the present route of a site.
    fn carrier_of(&self, id: SiteId) -> Generation {
        if self.pending.contains(&id) {
            self.generation.next()
        } else {
            self.generation
        }
    }

    fn ask_idle(&mut self, instance: (SiteId, Incarnation), asker: oneshot::Sender<()>) {
        let token = self.take_token();
        let question = IdleQuestion {
            token,
            askers: Vec::new(),
        };
        let question = self.idle.entry(instance).or_insert(question);
        question.askers.push(asker);
    }

    fn ask_stats(&mut self, asker: oneshot::Sender<RouterStats>) {
        self.stats.retain(|_, earlier| !earlier.is_closed());
        let token = self.take_token();
        self.stats.insert(token, asker);
    }

    fn take_token(&mut self) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        token
    }

    fn open_idle_questions(&self) -> Vec<(SiteId, Incarnation, u64)> {
        let questions = self.idle.iter();
        questions
            .map(|((site, incarnation), asked)| (*site, *incarnation, asked.token))
            .collect()
    }

    fn take_step(&mut self) -> Option<Step> {
        if self.pending.is_empty() {
            return None;
        }
        self.generation = self.generation.next();
        let mut step = Step {
            generation: self.generation,
            upserts: Vec::new(),
            removals: Vec::new(),
        };
        for id in std::mem::take(&mut self.pending) {
            match self.routes.get(&id) {
                Some(route) => step.upserts.push(Arc::clone(route)),
                None => step.removals.push(id),
            }
        }
        Some(step)
    }
}
