//! What the routers tell of requests, by site: the load of those that have an actor, and calls for
//! those that rest without one.
//!
//! Counts of several routers add up, and so does what each has now: one that is replaced tells until
//! its last request is over.
//!
//! Kept as a level: the link adds up what it is told, and an actor reads the sum when it can. So a
//! slow actor holds nobody up, and nothing queues: a site is called once, however many call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use site_model::{Incarnation, SiteId};
use tokio::sync::{Notify, watch};
use vassal_core::lifecycle::{Event, Load};
use wire::route::SiteLoad;

/// What the routers tell of requests.
#[derive(Debug, Default)]
pub(crate) struct DemandBoard {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Every router that may have requests is connected, and tells.
    told: bool,
    listeners: HashMap<SiteId, watch::Sender<Demand>>,
    /// Sites with requests that nobody listens for yet: a router tells of a request when it begins,
    /// and may do so before the row is known.
    unheard: HashMap<SiteId, Demand>,
    /// Sites that nobody listens for, and that requests wait for.
    calls: BTreeSet<SiteId>,
}

/// What is known of one site.
#[derive(Debug, Clone, Default)]
struct Demand {
    /// How often it was called awake.
    calls: u64,
    /// The routers tell of its load.
    told: bool,
    load: Load,
    /// How often what there is to tell of the load has changed.
    load_changes: u64,
    /// What each router, by its process, told last.
    by_router: BTreeMap<u32, OfRouter>,
}

/// What one router told last of one site.
#[derive(Debug, Clone, Default)]
struct OfRouter {
    waiting: u64,
    oldest: Duration,
    instances: HashMap<Incarnation, OfInstance>,
}

#[derive(Debug, Clone, Copy, Default)]
struct OfInstance {
    /// What this router counts of its requests. Another one begins anew.
    requests: u64,
    in_flight: u64,
    tunnels: u64,
}

impl DemandBoard {
    /// Listens for a site. There is one listener for a site at a time.
    pub(in crate::daemon) fn listen(self: &Arc<Self>, site: SiteId) -> Listener {
        let mut state = self.state();
        let demand = Demand {
            told: state.told,
            ..state.unheard.remove(&site).unwrap_or_default()
        };
        let (sender, mut receiver) = watch::channel(demand);
        receiver.mark_changed();
        state.listeners.insert(site, sender);
        drop(state);
        Listener {
            board: Arc::clone(self),
            site,
            heard: None,
            receiver,
        }
    }

    /// Waits until a site is called that nobody listens for.
    ///
    /// Cancel safe.
    pub(in crate::daemon) async fn called(&self) {
        self.called.notified().await;
    }

    /// The sites that were called since this was last asked, and that nobody listened for.
    pub(in crate::daemon) fn take_calls(&self) -> BTreeSet<SiteId> {
        std::mem::take(&mut self.state().calls)
    }

    /// A request waits for a site that sleeps.
    pub(in crate::daemon) fn wake(&self, site: SiteId) {
        let mut state = self.state();
        if let Some(listener) = state.listeners.get(&site) {
            listener.send_modify(|demand| demand.calls += 1);
            return;
        }
        state.calls.insert(site);
        drop(state);
        self.called.notify_one();
    }

    /// What became of the requests of some sites in one router.
    pub(in crate::daemon) fn told(&self, router: u32, sites: Vec<SiteLoad>) {
        let mut state = self.state();
        for load in sites {
            let Ok(site) = SiteId::of_vassal(load.site_id) else {
                continue;
            };
            if let Some(listener) = state.listeners.get(&site) {
                listener.send_modify(|demand| demand.add(router, load));
                continue;
            }
            let demand = state.unheard.entry(site).or_default();
            demand.add(router, load);
            if !demand.load.is_busy() {
                state.unheard.remove(&site);
            }
        }
    }

    /// A router begins to tell: first of every site that has requests, so the others have none.
    pub(super) fn begins(&self, router: u32) {
        let mut state = self.state();
        state.change(|demand| demand.change_router(router, OfRouter::forget_gauges));
    }

    /// A router is gone, with all it had.
    pub(super) fn forget_router(&self, router: u32) {
        self.state().change(|demand| {
            demand.change_router(router, OfRouter::forget_gauges);
            demand.by_router.remove(&router);
        });
    }

    /// Whether every router that may have requests tells of them.
    pub(in crate::daemon) fn all_tell(&self, told: bool) {
        let mut state = self.state();
        if state.told == told {
            return;
        }
        state.told = told;
        state.change(|demand| {
            demand.told = told;
            demand.load_changes += 1;
        });
    }

    fn unlisten(&self, site: SiteId, heard_calls: u64) {
        let mut state = self.state();
        let listener = state.listeners.remove(&site);
        if listener.is_some_and(|listener| listener.borrow().calls != heard_calls) {
            state.calls.insert(site);
            drop(state);
            self.called.notify_one();
        }
    }

    /// Every holder leaves whole entries behind, also where it panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn change(&mut self, change: impl Fn(&mut Demand)) {
        for listener in self.listeners.values() {
            listener.send_modify(&change);
        }
        self.unheard.values_mut().for_each(&change);
        self.unheard.retain(|_, demand| demand.load.is_busy());
    }
}

impl Demand {
    fn add(&mut self, router: u32, told: SiteLoad) {
        let of_router = self.by_router.entry(router).or_default();
        of_router.forget_gauges();
        of_router.waiting = told.waiting;
        of_router.oldest = Duration::from_millis(told.oldest_ms);
        self.load.requests += told.requests;
        for told in told.instances {
            let incarnation = Incarnation::new(told.incarnation);
            let known = of_router.instances.entry(incarnation).or_default();
            let load = self.load.instances.entry(incarnation).or_default();
            let new = told.requests.checked_sub(known.requests);
            // Fewer than before: it had forgotten the instance, and begins to count.
            load.requests += new.unwrap_or(told.requests);
            load.answered += told.answered;
            load.refused += told.refused;
            load.broken += told.broken;
            load.late += told.late;
            known.requests = told.requests;
            known.in_flight = told.in_flight;
            known.tunnels = told.tunnels;
        }
        self.sum();
    }

    fn change_router(&mut self, router: u32, change: impl FnOnce(&mut OfRouter)) {
        if let Some(of_router) = self.by_router.get_mut(&router) {
            change(of_router);
            self.sum();
        }
    }

    fn forget_instance(&mut self, incarnation: Incarnation) -> bool {
        for of_router in self.by_router.values_mut() {
            of_router.instances.remove(&incarnation);
        }
        let was_known = self.load.instances.remove(&incarnation).is_some();
        self.load_changes += u64::from(was_known);
        was_known
    }

    /// Adds up what the routers have now.
    fn sum(&mut self) {
        let routers = self.by_router.values();
        self.load.waiting = routers.clone().map(|of| of.waiting).sum();
        self.load.oldest = routers
            .clone()
            .map(|of| of.oldest)
            .max()
            .unwrap_or_default();
        for (incarnation, load) in &mut self.load.instances {
            let known = routers
                .clone()
                .filter_map(|of| of.instances.get(incarnation));
            load.in_flight = known.clone().map(|instance| instance.in_flight).sum();
            load.tunnels = known.map(|instance| instance.tunnels).sum();
        }
        self.load_changes += 1;
    }

    fn now(&self) -> Heard {
        Heard {
            calls: self.calls,
            load_changes: self.load_changes,
        }
    }
}

impl OfRouter {
    fn forget_gauges(&mut self) {
        self.waiting = 0;
        self.oldest = Duration::ZERO;
        for instance in self.instances.values_mut() {
            instance.in_flight = 0;
            instance.tunnels = 0;
        }
    }
}

/// Listens for one site. A call that it didn't hear before it was dropped is heard by the board.
#[derive(Debug)]
pub(in crate::daemon) struct Listener {
    board: Arc<DemandBoard>,
    site: SiteId,
    heard: Option<Heard>,
    receiver: watch::Receiver<Demand>,
}

#[derive(Debug, Clone, Copy)]
struct Heard {
    calls: u64,
    load_changes: u64,
}

impl Listener {
    /// Waits until there is something for its lifecycle to hear.
    ///
    /// Cancel safe.
    pub(in crate::daemon) async fn news(&mut self) -> Vec<Event> {
        if self.receiver.changed().await.is_err() {
            // The board holds the sender for as long as the listener lives.
            return std::future::pending().await;
        }
        let demand = self.receiver.borrow_and_update();
        let (before, now) = (self.heard, demand.now());
        let mut news = Vec::new();
        if before.map_or(0, |before| before.calls) != now.calls {
            news.push(Event::Wake);
        }
        if before.is_none_or(|before| before.load_changes != now.load_changes) {
            news.push(Event::Load(demand.told.then(|| demand.load.clone())));
        }
        self.heard = Some(now);
        news
    }

    /// An instance is gone, and so is what was told of it.
    pub(in crate::daemon) fn forget(&self, incarnation: Incarnation) {
        let state = self.board.state();
        if let Some(listener) = state.listeners.get(&self.site) {
            listener.send_if_modified(|demand| demand.forget_instance(incarnation));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let heard = self.heard.as_ref().map_or(0, |heard| heard.calls);
        self.board.unlisten(self.site, heard);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use vassal_core::lifecycle::InstanceLoad;
    use wire::route::InstanceLoad as Told;

    use super::*;

    fn site(id: i64) -> SiteId {
        SiteId::new(id).unwrap()
    }

    fn told(requests: u64, waiting: u64, of_instance: u64, in_flight: u64) -> SiteLoad {
        SiteLoad {
            site_id: 1,
            requests,
            waiting,
            oldest_ms: waiting * 100,
            instances: vec![Told {
                incarnation: 7,
                requests: of_instance,
                in_flight,
                answered: 1,
                ..Told::default()
            }],
        }
    }

    /// What there is to hear now, a word for each.
    fn hear(listener: &mut Listener) -> String {
        let news = listener.news().now_or_never().unwrap_or_default();
        let words = news.into_iter().map(|event| match event {
            Event::Wake => "wake".to_owned(),
            Event::Load(None) => "nobody tells".to_owned(),
            Event::Load(Some(load)) => {
                let of = |f: fn(&InstanceLoad) -> u64| load.instances.values().map(f).sum::<u64>();
                let (given, in_flight) = (of(|i| i.requests), of(|i| i.in_flight));
                let answered = of(|i| i.answered);
                let (requests, waiting) = (load.requests, load.waiting);
                format!("{requests} came {waiting} wait {given} given {in_flight} in flight {answered} answered")
            }
            other => format!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn counts_run_on_from_one_router_to_the_next_and_gauges_don_t() {
        let board = Arc::new(DemandBoard::default());
        let mut listener = board.listen(site(1));
        assert_eq!(hear(&mut listener), "nobody tells");
        board.all_tell(true);
        board.told(10, vec![told(2, 1, 5, 1)]);
        board.told(10, vec![told(3, 1, 8, 2)]);
        let sum = "5 came 1 wait 8 given 2 in flight 2 answered";
        assert_eq!(hear(&mut listener), sum);
        assert_eq!(hear(&mut listener), "");
        board.all_tell(false);
        assert_eq!(hear(&mut listener), "nobody tells");
        board.forget_router(10);
        board.all_tell(true);
        let quiet = "5 came 0 wait 8 given 0 in flight 2 answered";
        assert_eq!(hear(&mut listener), quiet);
        board.told(11, vec![told(1, 0, 1, 1)]);
        let sum = "6 came 0 wait 9 given 1 in flight 3 answered";
        assert_eq!(hear(&mut listener), sum);
        listener.forget(Incarnation::new(7));
        let without = "6 came 0 wait 0 given 0 in flight 0 answered";
        assert_eq!(hear(&mut listener), without);
    }

    #[test]
    fn what_two_routers_have_adds_up_until_one_is_gone() {
        let board = Arc::new(DemandBoard::default());
        let mut listener = board.listen(site(1));
        board.all_tell(true);
        board.told(10, vec![told(2, 1, 5, 2)]);
        board.told(11, vec![told(1, 0, 3, 1)]);
        let both = "3 came 1 wait 8 given 3 in flight 2 answered";
        assert_eq!(hear(&mut listener), both);
        board.told(10, vec![told(0, 0, 5, 1)]);
        let fewer = "3 came 0 wait 8 given 2 in flight 3 answered";
        assert_eq!(hear(&mut listener), fewer);
        board.forget_router(10);
        let one = "3 came 0 wait 8 given 1 in flight 3 answered";
        assert_eq!(hear(&mut listener), one);
        board.begins(11);
        let none = "3 came 0 wait 8 given 0 in flight 3 answered";
        assert_eq!(hear(&mut listener), none);
    }

    #[test]
    fn a_request_that_is_told_before_the_row_is_known_counts() {
        let board = Arc::new(DemandBoard::default());
        board.all_tell(true);
        board.told(10, vec![told(1, 0, 1, 1)]);
        let sum = "1 came 0 wait 1 given 1 in flight 1 answered";
        assert_eq!(hear(&mut board.listen(site(1))), sum);
        board.told(
            10,
            vec![SiteLoad {
                site_id: 2,
                ..told(1, 1, 1, 0)
            }],
        );
        board.told(
            10,
            vec![SiteLoad {
                site_id: 2,
                ..told(0, 0, 1, 0)
            }],
        );
        assert!(board.state().unheard.is_empty(), "it is over");
    }

    #[test]
    fn a_call_that_nobody_heard_is_kept_for_whoever_begins_the_site() {
        let board = Arc::new(DemandBoard::default());
        board.wake(site(2));
        assert!(board.called().now_or_never().is_some());
        assert_eq!(board.take_calls(), [site(2)].into());
        let mut listener = board.listen(site(1));
        board.wake(site(1));
        assert_eq!(hear(&mut listener), "wake, nobody tells");
        drop(listener);
        assert!(board.take_calls().is_empty(), "it was heard");
        let listener = board.listen(site(1));
        board.wake(site(1));
        drop(listener);
        assert_eq!(board.take_calls(), [site(1)].into());
    }
}
