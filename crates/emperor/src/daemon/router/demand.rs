//! What the router tells of requests, by site: the load of those that have an actor, and calls for
//! those that rest without one.
//!
//! Kept as a level: the link adds up what it is told, and an actor reads the sum when it can. So a
//! slow actor holds nobody up, and nothing queues: a site is called once, however many call.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use site_model::{Incarnation, SiteId};
use tokio::sync::{Notify, watch};
use vassal_core::lifecycle::{Event, InstanceLoad, Load};
use wire::route::SiteLoad;

/// What the router tells of requests.
#[derive(Debug, Default)]
pub(crate) struct DemandBoard {
    state: Mutex<State>,
    called: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// A router is connected, and tells.
    told: bool,
    listeners: HashMap<SiteId, watch::Sender<Demand>>,
    /// Sites that nobody listens for, and that requests wait for.
    calls: BTreeSet<SiteId>,
}

/// What is known of one site.
#[derive(Debug, Clone, Default)]
struct Demand {
    /// How often it was called awake.
    calls: u64,
    /// A router tells of its load.
    told: bool,
    load: Load,
    /// What the present router counts of an instance's requests. Another one begins anew.
    counted: HashMap<Incarnation, u64>,
}

impl DemandBoard {
    /// Listens for a site. There is one listener for a site at a time.
    pub(in crate::daemon) fn listen(self: &Arc<Self>, site: SiteId) -> Listener {
        let mut state = self.state();
        let demand = Demand {
            told: state.told,
            ..Demand::default()
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

    /// What became of the requests of some sites.
    pub(in crate::daemon) fn told(&self, sites: Vec<SiteLoad>) {
        let state = self.state();
        for load in sites {
            let Ok(site) = SiteId::new(load.site_id) else {
                continue;
            };
            if let Some(listener) = state.listeners.get(&site) {
                listener.send_modify(|demand| demand.add(load));
            }
        }
    }

    /// A router is connected: it tells of every site that has requests, so the others have none.
    pub(in crate::daemon) fn connected(&self) {
        self.tells(true);
    }

    /// Nobody tells any more.
    pub(in crate::daemon) fn disconnected(&self) {
        self.tells(false);
    }

    fn tells(&self, told: bool) {
        let mut state = self.state();
        state.told = told;
        for listener in state.listeners.values() {
            listener.send_modify(|demand| {
                demand.told = told;
                demand.forget_gauges();
            });
        }
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

impl Demand {
    fn add(&mut self, told: SiteLoad) {
        self.forget_gauges();
        self.load.requests += told.requests;
        self.load.waiting = told.waiting;
        self.load.oldest = Duration::from_millis(told.oldest_ms);
        for told in told.instances {
            let incarnation = Incarnation::new(told.incarnation);
            let counted = self.counted.insert(incarnation, told.requests).unwrap_or(0);
            let load = self.load.instances.entry(incarnation).or_default();
            let InstanceLoad {
                requests,
                in_flight,
                answered,
                refused,
                broken,
                late,
            } = load;
            // Fewer than before: another router began to count.
            *requests += told.requests.checked_sub(counted).unwrap_or(told.requests);
            *in_flight = told.in_flight;
            *answered += told.answered;
            *refused += told.refused;
            *broken += told.broken;
            *late += told.late;
        }
    }

    fn forget_gauges(&mut self) {
        self.load.waiting = 0;
        self.load.oldest = Duration::ZERO;
        for instance in self.load.instances.values_mut() {
            instance.in_flight = 0;
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

#[derive(Debug)]
struct Heard {
    calls: u64,
    load: Option<Load>,
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
        let now = Heard {
            calls: demand.calls,
            load: demand.told.then(|| demand.load.clone()),
        };
        drop(demand);
        let mut news = Vec::new();
        let before = self.heard.as_ref();
        if before.map_or(0, |before| before.calls) != now.calls {
            news.push(Event::Wake);
        }
        if before.is_none_or(|before| before.load != now.load) {
            news.push(Event::Load(now.load.clone()));
        }
        self.heard = Some(now);
        news
    }

    /// An instance is gone, and so is what was told of it.
    pub(in crate::daemon) fn forget(&self, incarnation: Incarnation) {
        let state = self.board.state();
        if let Some(listener) = state.listeners.get(&self.site) {
            listener.send_if_modified(|demand| {
                demand.counted.remove(&incarnation);
                demand.load.instances.remove(&incarnation).is_some()
            });
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
        board.connected();
        board.told(vec![told(2, 1, 5, 1)]);
        board.told(vec![told(3, 1, 8, 2)]);
        let sum = "5 came 1 wait 8 given 2 in flight 2 answered";
        assert_eq!(hear(&mut listener), sum);
        assert_eq!(hear(&mut listener), "");
        board.disconnected();
        assert_eq!(hear(&mut listener), "nobody tells");
        board.connected();
        let quiet = "5 came 0 wait 8 given 0 in flight 2 answered";
        assert_eq!(hear(&mut listener), quiet);
        board.told(vec![told(1, 0, 1, 1)]);
        let sum = "6 came 0 wait 9 given 1 in flight 3 answered";
        assert_eq!(hear(&mut listener), sum);
        listener.forget(Incarnation::new(7));
        let without = "6 came 0 wait 0 given 0 in flight 0 answered";
        assert_eq!(hear(&mut listener), without);
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
