//! The route board: what the fastrouter is to know, kept as a level.
//!
//! Actors write here and never wait for the router; the [link](super::link) reads here and sends
//! what changed since it last looked. What is not sent yet is at most one route per site, however
//! long the router is away, so nothing queues up and nothing has to be bounded by a guess.
//!
//! This file knows no socket; which routers there are is the [`Roster`]'s. Locks are held for the
//! time of a map operation, never over an await.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use imbl::OrdMap;
use site_model::{Generation, HostPattern, Incarnation, SiteId, SiteRoute};
use tokio::sync::watch;
use wire::cache::PageFrame;
use wire::route::{RouterStats, Settings};

use super::caches::CacheBoard;
use super::demand::DemandBoard;
use super::lost_hosts::LostHosts;
use super::news::{News, Step, TableNews, Whole};
use super::posted::Posted;
#[cfg(test)]
use super::roster::Standing;
use super::roster::{Peer, Roster};

/// How many steps are kept for a router that lags behind another one; one that is further behind
/// gets the whole table.
const MAX_STEPS: usize = 64;

/// What the fastrouter is to know, and what it said of it.
#[derive(Debug)]
pub(crate) struct RouteBoard {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    open: watch::Sender<bool>,
    roster: Arc<Roster>,
    lost_hosts: LostHosts,
}

#[derive(Debug)]
struct State {
    settings: Arc<Settings>,
    routes: OrdMap<SiteId, Posted>,
    /// Sites whose route differs from what the last step carried.
    pending: BTreeSet<SiteId>,
    generation: Generation,
    /// Which generation each connected router was sent.
    sent: BTreeMap<u64, Generation>,
    /// The last steps, as far as one of them lacks them.
    steps: VecDeque<Arc<Step>>,
    next_follower: u64,
}

/// One connection that is sent the table.
#[derive(Debug)]
pub(super) struct Follower<'board> {
    board: &'board RouteBoard,
    id: u64,
    settings: Arc<Settings>,
    changed: watch::Receiver<()>,
}

impl RouteBoard {
    /// An empty board.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            state: Mutex::new(State {
                settings: Arc::new(settings),
                routes: OrdMap::new(),
                pending: BTreeSet::new(),
                generation: Generation::default(),
                sent: BTreeMap::new(),
                steps: VecDeque::new(),
                next_follower: 0,
            }),
            changed: watch::Sender::default(),
            open: watch::Sender::new(false),
            roster: Arc::new(Roster::new()),
            lost_hosts: LostHosts::default(),
        }
    }

    /// Lets routers have the table. Before the rows are known an empty table would say of every host
    /// that no site has it; a router without one says that it has to wait.
    pub(crate) fn open(&self) {
        let mut hosts = self.lost_hosts.recording();
        hosts.settle(self.state().last_carrier());
        self.open.send_replace(true);
    }

    /// From now on it is kept in a file by which hosts sites are reached.
    pub(in crate::daemon) fn keep_hosts(&self, file: &Path) {
        self.lost_hosts.keep(file, || {
            let state = self.state();
            let carrier = self.open.borrow().then(|| state.last_carrier());
            (state.routes.clone(), carrier)
        });
    }

    /// Puts a site's route up, and says which generation carries it.
    pub(in crate::daemon) fn publish(&self, posted: impl Into<Posted>) -> Generation {
        let posted = posted.into();
        let id = posted.id();
        let mut state = self.state();
        let before = state.routes.insert(id, posted.clone());
        if before.is_some_and(|before| before.route() == posted.route()) {
            return state.carrier_of(id);
        }
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

    /// A site's route, as it was put up last.
    pub(crate) fn route(&self, id: SiteId) -> Option<Arc<SiteRoute>> {
        self.state().routes.get(&id).and_then(Posted::route)
    }

    /// Changes how the router is to behave.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.state().settings = Arc::new(settings);
        self.changed.send_replace(());
    }

    /// How the router is to behave.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.state().settings)
    }

    /// How long the answer to a request may take to begin.
    pub(in crate::daemon) fn longest_answer(&self) -> Duration {
        let settings = self.settings();
        Duration::from_millis(settings.connect_timeout_ms + settings.response_timeout_ms)
    }

    /// Whether a site answers for hosts that are nobody's.
    pub(in crate::daemon) fn has_default_site(&self) -> bool {
        !self.state().settings.default_site.is_empty()
    }

    /// Waits until every thread of every router has this generation, or a later one, in force.
    ///
    /// Cancel safe.
    pub(crate) async fn acknowledged(&self, generation: Generation) {
        self.roster.acknowledged(generation).await;
    }

    /// The generation in force in every thread of every router.
    pub(crate) fn acknowledged_generation(&self) -> Generation {
        self.roster.acknowledged_generation()
    }

    /// Waits until no request is in flight at an instance and no route leads to it, in any router.
    ///
    /// Cancel safe.
    pub(crate) async fn idle(&self, site: SiteId, incarnation: Incarnation) {
        self.roster.idle(site, incarnation).await;
    }

    /// Asks the router for its figures; `None` where none is connected or it goes away meanwhile.
    /// The caller bounds the wait.
    ///
    /// Cancel safe.
    pub(crate) async fn stats(&self) -> Option<RouterStats> {
        self.roster.stats().await
    }

    /// Asks the router what is stored of a site; `None`, and the wait, as of [`stats`](Self::stats).
    ///
    /// Cancel safe.
    pub(crate) async fn pages(&self, site: SiteId, path: Option<String>) -> Option<Vec<PageFrame>> {
        self.roster.pages(site, path).await
    }

    /// Who is connected.
    pub(crate) fn peer(&self) -> watch::Receiver<Option<Peer>> {
        self.roster.peer()
    }

    /// What the routers tell of requests.
    pub(in crate::daemon) fn demand(&self) -> &Arc<DemandBoard> {
        self.roster.demand()
    }

    /// What the routers' caches have to forget.
    pub(in crate::daemon) fn caches(&self) -> &CacheBoard {
        self.roster.caches()
    }

    /// Hosts that sites have lost.
    pub(in crate::daemon) fn lost_hosts(&self) -> &LostHosts {
        &self.lost_hosts
    }

    /// The hosts that lead to a site now; none where it has no route.
    pub(in crate::daemon) fn hosts_of(&self, id: SiteId) -> Vec<HostPattern> {
        let route = self.route(id);
        let hosts = route.iter().flat_map(|route| &route.hosts);
        hosts.map(|(host, _)| host.clone()).collect()
    }

    /// The sites whose pages are cached.
    pub(in crate::daemon) fn caching_sites(&self) -> Vec<SiteId> {
        let routes = self.state().routes.clone();
        let routes = routes.values().filter_map(Posted::route);
        let caching = routes.filter(|route| route.settings.cached().is_some());
        caching.map(|route| route.id).collect()
    }

    /// Which routers there are.
    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    fn mark(&self, mut state: MutexGuard<'_, State>, id: SiteId) -> Generation {
        state.pending.insert(id);
        let carrier = state.generation.next();
        drop(state);
        self.changed.send_replace(());
        carrier
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with the lock held had finished its map operation or not begun it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of the link.
impl RouteBoard {
    /// Waits until routers may have the table.
    pub(in crate::daemon) async fn opened(&self) {
        let opened = self.open.subscribe().wait_for(|open| *open).await.is_ok();
        // The sender lives in `self`, so it can't be gone while `self` is borrowed.
        debug_assert!(opened);
    }

    /// Begins to follow: with the settings and everything there is, what was pending included.
    pub(super) fn follow(&self) -> (Follower<'_>, Whole) {
        let changed = self.changed.subscribe();
        let mut state = self.state();
        let id = state.next_follower;
        state.next_follower += 1;
        let follower = Follower {
            board: self,
            id,
            settings: Arc::clone(&state.settings),
            changed,
        };
        (follower, state.whole_for(id))
    }
}

/// For tests without a router.
#[cfg(test)]
impl RouteBoard {
    /// Everything there is.
    pub(in crate::daemon) fn whole(&self) -> Whole {
        self.follow().1
    }

    /// Whatever is published is in force at once.
    pub(in crate::daemon) fn acknowledge_everything(&self) {
        let _router = self.roster.enlist(1, Standing::Away);
        self.roster.acknowledge(1, Generation::new(u64::MAX));
    }
}

impl Follower<'_> {
    /// The settings that were told.
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Waits until there may be news. Cancel safe.
    pub(super) async fn changed(&mut self) {
        // The sender lives in the board, so it can't be gone while the board is borrowed.
        self.changed.changed().await.ok();
    }

    /// Everything there is.
    pub(super) fn whole(&self) -> Whole {
        self.board.state().whole_for(self.id)
    }

    /// What changed since the last look; of the table, one step.
    pub(super) fn news(&mut self) -> News {
        let mut state = self.board.state();
        let table = state.news_for(self.id);
        let settings = (self.settings != state.settings).then(|| Arc::clone(&state.settings));
        drop(state);
        if let Some(settings) = &settings {
            self.settings = Arc::clone(settings);
        }
        News { settings, table }
    }
}

impl Drop for Follower<'_> {
    fn drop(&mut self) {
        let mut state = self.board.state();
        state.sent.remove(&self.id);
        state.forget_steps();
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

    /// The generation that carries all there is.
    fn last_carrier(&self) -> Generation {
        if self.pending.is_empty() {
            self.generation
        } else {
            self.generation.next()
        }
    }

    fn whole_for(&mut self, follower: u64) -> Whole {
        self.take_step();
        self.sent.insert(follower, self.generation);
        self.forget_steps();
        Whole {
            generation: self.generation,
            routes: self.routes.clone(),
        }
    }

    fn news_for(&mut self, follower: u64) -> TableNews {
        let sent = self.sent.get(&follower).copied().unwrap_or_default();
        if sent == self.generation {
            self.take_step();
        }
        if sent == self.generation {
            return TableNews::Nothing;
        }
        let next = self
            .steps
            .iter()
            .find(|step| step.generation == sent.next());
        let Some(step) = next.map(Arc::clone) else {
            return TableNews::Whole(self.whole_for(follower));
        };
        self.sent.insert(follower, step.generation);
        self.forget_steps();
        TableNews::Step(step)
    }

    /// Makes a step of what is pending.
    fn take_step(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        self.generation = self.generation.next();
        let mut step = Step {
            generation: self.generation,
            upserts: Vec::new(),
            removals: Vec::new(),
        };
        for id in std::mem::take(&mut self.pending) {
            match self.routes.get(&id).and_then(Posted::route) {
                Some(route) => step.upserts.push(route),
                None => step.removals.push(id),
            }
        }
        self.steps.push_back(Arc::new(step));
    }

    /// Forgets the steps that every connected router was sent, and those that are too many.
    fn forget_steps(&mut self) {
        let needed_after = self.sent.values().min();
        while let Some(step) = self.steps.front() {
            let is_needed = needed_after.is_some_and(|sent| step.generation > *sent);
            if is_needed && self.steps.len() <= MAX_STEPS {
                return;
            }
            self.steps.pop_front();
        }
    }
}
