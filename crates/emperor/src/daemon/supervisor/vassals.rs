//! The vassals of a house: those that act, each with a task of its own, and those that rest and
//! cost an entry in a map.
//!
//! What a resting vassal would do follows from what is wanted of it, so nothing but that is kept:
//! once it is wanted otherwise, or a request wakes it, a life begins with that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use site_model::SiteId;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::error;
use vassal_core::lifecycle::{Event, Haste};
use vassal_core::{Lifecycle, Resting, Want};

use crate::daemon::vassal::{self, Beginning, End, Estate, House, Order, Spawner, Wish};

/// All vassals.
#[derive(Debug)]
pub(super) struct Vassals<S: Spawner> {
    pub(super) house: Arc<House<S>>,
    /// Ordered, and filled like all that holds every site.
    pub(super) known: OrdMap<SiteId, Vassal>,
    pub(super) tasks: JoinSet<End>,
    pub(super) sites: BTreeMap<Id, SiteId>,
    /// What an earlier emperor left of sites that have not begun yet.
    pub(super) estates: Estates,
    /// Vassals whose first route is not published yet.
    pub(super) beginning: TaskTracker,
    /// Sites that a request waits for, and whose task is just ending.
    called: BTreeSet<SiteId>,
}

/// What is left of each site, until its vassal begins.
type Estates = BTreeMap<SiteId, Estate>;

#[derive(Debug, Clone)]
pub(super) enum Vassal {
    /// It has a task.
    Acting(watch::Sender<Order>),
    /// Nothing of it runs, and nothing is due.
    Resting(Arc<Resting>),
}

impl<S: Spawner> Vassals<S> {
    pub(super) fn new(house: Arc<House<S>>) -> Self {
        Self {
            house,
            known: OrdMap::new(),
            tasks: JoinSet::new(),
            sites: BTreeMap::new(),
            estates: Estates::new(),
            beginning: TaskTracker::new(),
            called: BTreeSet::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// All, sorted.
    pub(super) fn ids(&self) -> Vec<SiteId> {
        self.known.keys().copied().collect()
    }

    /// This is wanted from now on. What its row has reloaded is loaded later than `since`.
    pub(super) fn want(&mut self, id: SiteId, want: Want, since: Instant) {
        if self.is_reload(id, &want) {
            self.house.spawner.renew(id, since);
        }
        match self.known.get(&id) {
            Some(Vassal::Acting(orders)) => {
                orders.send_modify(|order| order.wish = Wish::Want(want));
            }
            Some(Vassal::Resting(resting)) => {
                let restarts = resting.restarts;
                self.begin(id, want, restarts);
            }
            None => match self.estates.remove(&id) {
                Some(estate) => self.begin_with(id, Wish::Want(want), estate),
                None => self.begin(id, want, 0),
            },
        }
    }

    /// Whether its row says, other than before, that it is to be made anew.
    fn is_reload(&self, id: SiteId, want: &Want) -> bool {
        let reloads = |want: &Want| match want {
            Want::Run(spec) => Some(spec.site.reloads),
            Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_) => None,
        };
        let before = match self.known.get(&id) {
            Some(Vassal::Acting(orders)) => match &orders.borrow().wish {
                Wish::Want(want) => reloads(want),
                Wish::Removed | Wish::Shutdown(_) => None,
            },
            Some(Vassal::Resting(resting)) => reloads(&resting.want),
            None => return false,
        };
        before.is_some() && reloads(want).is_some_and(|now| before != Some(now))
    }

    /// Its row is gone.
    pub(super) fn remove(&mut self, id: SiteId) {
        match self.known.get(&id) {
            Some(Vassal::Acting(orders)) => orders.send_modify(|order| order.wish = Wish::Removed),
            Some(Vassal::Resting(_)) => {
                self.known.remove(&id);
                self.house.routes.withdraw(id);
                self.house.statuses.forget(id);
            }
            None => {}
        }
    }

    /// An operator wants new instances, loaded later than `since`, although nothing changed. What rests has
    /// none.
    pub(super) fn reload(&self, id: SiteId, since: Instant) {
        self.house.spawner.renew(id, since);
        match self.known.get(&id) {
            Some(Vassal::Acting(orders)) => orders.send_modify(|order| order.reloads += 1),
            Some(Vassal::Resting(_)) | None => {}
        }
    }

    /// Waits until a task has ended, and takes in how; `None`: there is no task. Cancel safe.
    pub(super) async fn next_end(&mut self) -> Option<()> {
        let ended = self.tasks.join_next_with_id().await?;
        self.ended(ended);
        Some(())
    }

    /// Requests wait for these.
    pub(super) fn wake(&mut self, called: BTreeSet<SiteId>) {
        for id in called {
            match self.known.get(&id) {
                Some(Vassal::Acting(_)) => drop(self.called.insert(id)),
                Some(Vassal::Resting(resting)) => {
                    let (want, restarts) = (resting.want.clone(), resting.restarts);
                    self.called.insert(id);
                    self.begin(id, want, restarts);
                }
                None => {}
            }
        }
    }

    /// Tells all to end with the emperor. Those at rest have nothing to end.
    pub(super) fn shut_down(&self, haste: Haste) {
        for vassal in self.known.values() {
            match vassal {
                Vassal::Acting(orders) => {
                    orders.send_modify(|order| order.wish = Wish::Shutdown(haste));
                }
                Vassal::Resting(_) => {}
            }
        }
    }

    /// Waits until a task has ended; false: none is left. Cancel safe.
    pub(super) async fn one_gone(&mut self) -> bool {
        self.tasks.join_next().await.is_some()
    }

    /// Begins a life, with a task where there is something to do.
    fn begin(&mut self, id: SiteId, want: Want, restarts: u64) {
        let now = vassal::now();
        let seed = fastrand::u64(..);
        let (mut life, mut effects) = Lifecycle::begin(id, want.clone(), restarts, seed, now);
        if self.called.remove(&id) {
            let woken;
            (life, woken) = life.on(Event::Wake, now);
            effects.extend(woken);
        }
        if life.is_at_rest() {
            let resting = Arc::new(Resting { id, want, restarts });
            vassal::rest(&resting, &self.house);
            self.known.insert(id, Vassal::Resting(resting));
            return;
        }
        // Its sites may be told of a pool before its task has its first turn.
        if let Some(route) = life.route().filter(|_| id.is_pool()) {
            self.house.routes.publish(route);
        }
        let house = Arc::clone(&self.house);
        self.act(id, Wish::Want(want), |beginning| {
            vassal::run(beginning, (life, effects), house)
        });
    }

    /// Gives a vassal a task.
    pub(super) fn act<F>(&mut self, id: SiteId, wish: Wish, run: impl FnOnce(Beginning) -> F)
    where
        F: Future<Output = End> + Send + 'static,
    {
        let known = Order { wish, reloads: 0 };
        let (sender, orders) = watch::channel(known.clone());
        let task = run(Beginning {
            id,
            known,
            orders,
            listener: self.house.routes.demand().listen(id),
            token: self.beginning.token(),
        });
        let handle = self.tasks.spawn(task);
        self.sites.insert(handle.id(), id);
        self.known.insert(id, Vassal::Acting(sender));
    }

    /// A task ended: its site is gone or at rest, unless it was wanted otherwise at the last moment
    /// or the task failed.
    fn ended(&mut self, ended: Result<(Id, End), JoinError>) {
        let task = match &ended {
            Ok((task, _)) => *task,
            Err(error) => error.id(),
        };
        let Some(id) = self.sites.remove(&task) else {
            return;
        };
        let Some(Vassal::Acting(orders)) = self.known.remove(&id) else {
            return;
        };
        let order = orders.borrow().clone();
        match (ended, order.wish) {
            (Err(error), wish) => {
                error!(site = %id, %error, "a vassal's task failed; its processes were killed, it begins anew");
                self.go_on(id, wish, 0);
            }
            (Ok((_, End::Gone)), wish) => self.go_on(id, wish, 0),
            (Ok((_, End::AtRest { known, restarts })), Wish::Want(want))
                if known.wish == Wish::Want(want.clone()) && !self.called.contains(&id) =>
            {
                let resting = Arc::new(Resting { id, want, restarts });
                vassal::keep_rest(&resting, &self.house);
                self.known.insert(id, Vassal::Resting(resting));
            }
            (Ok((_, End::AtRest { restarts, .. })), wish) => self.go_on(id, wish, restarts),
        }
    }

    fn go_on(&mut self, id: SiteId, wish: Wish, restarts: u64) {
        match wish {
            Wish::Want(want) => self.begin(id, want, restarts),
            // Gone already, or from rest: nothing of it is left to end.
            Wish::Removed => {
                self.called.remove(&id);
                self.house.routes.withdraw(id);
                self.house.statuses.forget(id);
            }
            Wish::Shutdown(_) => {}
        }
    }
}
