//! Instances as one thread knows them: their idle connections and its own count of their requests.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http_edge::upstream::{Codec, UnspokenProtocol};
use site_model::{Backend, Incarnation, RouteTable, Service, SiteId, SiteRoute};
use tokio::sync::Notify;

use super::lease::{Candidate, Lease, NoLease, least_busy};
use super::link::Link;
use crate::deadline::{Alarm, Deadlines, Moment};
use crate::gauge::{Gauge, InstanceFigures, Purpose};
use crate::queue::{Place, Queue};
use crate::shared::Shared;
use crate::tally::{InstanceTally, Sign, Tallies};

/// How long a connection may wait for its next request. Servers close idle connections after two
/// seconds and more; one that is taken up sooner is hardly ever being closed at that very moment.
/// And a worker that serves one connection at a time is not kept from the others for long.
const MAX_IDLE: Duration = Duration::from_secs(1);
/// How many connections to one instance wait on one thread. It has to be above the requests that a
/// busy instance has at a time: with fewer places, every request of a crowd would open a connection
/// and close it. A second later those that are not needed are gone anyway.
const MAX_IDLE_LINKS: usize = 1024;

/// All instances that this thread has sent requests to and the table still leads to.
#[derive(Debug)]
pub(crate) struct Instances {
    thread: usize,
    shared: Arc<Shared>,
    deadlines: Rc<Deadlines>,
    known: RefCell<HashMap<Incarnation, Rc<Instance>>>,
    /// Those among them that are known since the last table: a request may hold an earlier one, which
    /// led to what this one doesn't.
    unproven: RefCell<Vec<Incarnation>>,
    /// Those that the table doesn't lead to any more and that still have requests here.
    leaving: RefCell<HashMap<Incarnation, Rc<Instance>>>,
    /// A request at one of these has ended.
    request_ended: Rc<Notify>,
    /// Where the search for the least busy instance begins: it moves on, so that equals share.
    turn: Cell<usize>,
    sweep: Alarm,
    tallies: Rc<Tallies>,
}

/// One instance.
#[derive(Debug)]
pub(crate) struct Instance {
    /// Of its site, or of its pool.
    pub(crate) site: SiteId,
    pub(crate) incarnation: Incarnation,
    pub(crate) socket: PathBuf,
    pub(crate) codec: Result<Codec, UnspokenProtocol>,
    thread: usize,
    request_ended: Rc<Notify>,
    pub(crate) gauge: Arc<Gauge>,
    /// The site's, whose first is to be called when a place becomes free here.
    pub(super) queue: Arc<Queue>,
    idle: RefCell<Vec<(Moment, Link)>>,
    standing: Cell<Standing>,
    tallies: Rc<Tallies>,
    pub(crate) tally: InstanceTally,
}

/// Whether the table leads to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    InService,
    Retired,
}

impl Instances {
    pub(crate) fn new(
        thread: usize,
        shared: Arc<Shared>,
        deadlines: &Rc<Deadlines>,
        tallies: &Rc<Tallies>,
    ) -> Self {
        Self {
            thread,
            shared,
            sweep: deadlines.alarm(),
            deadlines: Rc::clone(deadlines),
            known: RefCell::default(),
            unproven: RefCell::default(),
            leaving: RefCell::default(),
            request_ended: Rc::default(),
            tallies: Rc::clone(tallies),
            turn: Cell::new(thread),
        }
    }

    /// Takes the instance with the fewest requests in flight, over all threads, of those that have
    /// room. A bounded one has none for a request that others have come before.
    pub(crate) fn lease(
        &self,
        route: &SiteRoute,
        backends: &[Backend],
        purpose: Purpose,
        avoid: Option<Incarnation>,
        place: Option<&Place>,
    ) -> Result<Lease, NoLease> {
        let candidate = |backend| Candidate::new(self.instance(route, backend), backend, purpose);
        if let [only] = backends {
            if avoid == Some(only.incarnation) {
                return Err(NoLease::NoOther);
            }
            return candidate(only).take(place);
        }
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let from = turn % backends.len().max(1);
        let in_turn = backends[from..].iter().chain(&backends[..from]);
        let others = in_turn.filter(|backend| avoid != Some(backend.incarnation));
        least_busy(others.map(candidate), place)
    }

    /// Lets go of what a table doesn't lead to any more that follows on another one. Requests in flight
    /// keep what they need.
    pub(crate) fn retire(&self, before: Option<&RouteTable>, table: &RouteTable) {
        let mut known = self.known.borrow_mut();
        let mut leaving = self.leaving.borrow_mut();
        leaving.retain(|_, instance| self.figures_of(instance).in_flight > 0);
        for incarnation in self.doubtful(before, table) {
            let Entry::Occupied(instance) = known.entry(incarnation) else {
                continue;
            };
            if !leads_to(table, instance.get().site, incarnation) {
                let instance = instance.remove();
                instance.standing.set(Standing::Retired);
                instance.idle.borrow_mut().clear();
                leaving.insert(incarnation, instance);
            }
        }
    }

    /// Whatever may have to go: not all there is, since a table comes with each change of one of
    /// thousands of sites.
    fn doubtful(&self, before: Option<&RouteTable>, table: &RouteTable) -> Vec<Incarnation> {
        let mut doubtful = self.unproven.take();
        if let Some(before) = before {
            let changed = table.changed_since(before);
            let backends = changed.flat_map(|site| backends(before, site));
            doubtful.extend(backends.map(|backend| backend.incarnation));
        }
        doubtful
    }

    /// Waits until a request at an instance has ended that the table doesn't lead to any more.
    pub(crate) async fn retired_request_ended(&self) {
        self.request_ended.notified().await;
    }

    /// Requests that an instance has on this thread.
    pub(crate) fn in_flight(&self, incarnation: Incarnation) -> u64 {
        let of = |instances: &RefCell<HashMap<_, Rc<Instance>>>| {
            let instances = instances.borrow();
            let instance = instances.get(&incarnation);
            instance.map_or(0, |instance| self.figures_of(instance).in_flight)
        };
        of(&self.known) + of(&self.leaving)
    }

    /// Notes every instance that has requests.
    pub(crate) fn note_busy(&self) {
        let (known, leaving) = (self.known.borrow(), self.leaving.borrow());
        for instance in known.values().chain(leaving.values()) {
            if self.figures_of(instance).in_flight > 0 {
                self.tallies.note(instance);
            }
        }
    }

    /// What this thread has counted, per instance.
    pub(crate) fn figures(&self) -> BTreeMap<Incarnation, InstanceFigures> {
        let (known, leaving) = (self.known.borrow(), self.leaving.borrow());
        let instances = known.values().chain(leaving.values());
        let figures = instances.map(|one| (one.incarnation, self.figures_of(one)));
        figures.collect()
    }

    fn figures_of(&self, instance: &Instance) -> InstanceFigures {
        instance.gauge.figures(self.thread)
    }

    /// Takes back a connection that can carry another request.
    pub(super) fn keep(&self, instance: &Instance, link: Link) {
        let mut idle = instance.idle.borrow_mut();
        if instance.standing.get() == Standing::Retired || idle.len() >= MAX_IDLE_LINKS {
            return;
        }
        idle.push((self.deadlines.now(), link));
        if !self.sweep.is_set() {
            self.sweep.set(MAX_IDLE);
        }
    }

    /// A connection that waits, if there is one that is still good.
    pub(super) fn reuse(&self, instance: &Instance) -> Option<Link> {
        let mut idle = instance.idle.borrow_mut();
        while let Some((since, link)) = idle.pop() {
            if since.after(MAX_IDLE) < self.deadlines.now() {
                // The others have waited longer still.
                idle.clear();
            } else if link.is_quiet() {
                return Some(link);
            }
        }
        None
    }

    /// Closes connections that have waited long enough, for as long as it is polled.
    pub(crate) async fn forget_idle(&self) {
        loop {
            poll_fn(|cx| self.sweep.poll(cx)).await;
            self.sweep.clear();
            if self.sweep_once() > 0 {
                self.sweep.set(MAX_IDLE);
            }
        }
    }

    /// Says how many connections still wait.
    fn sweep_once(&self) -> usize {
        let now = self.deadlines.now();
        let known = self.known.borrow();
        let left = known.values().map(|instance| {
            let mut idle = instance.idle.borrow_mut();
            idle.retain(|(since, link)| since.after(MAX_IDLE) > now && link.is_quiet());
            idle.len()
        });
        left.sum()
    }

    fn instance(&self, route: &SiteRoute, backend: &Backend) -> Rc<Instance> {
        let mut known = self.known.borrow_mut();
        let instance = known.entry(backend.incarnation).or_insert_with(|| {
            self.unproven.borrow_mut().push(backend.incarnation);
            Rc::new(self.make(route.id, backend))
        });
        Rc::clone(instance)
    }

    fn make(&self, site: SiteId, backend: &Backend) -> Instance {
        Instance {
            site,
            incarnation: backend.incarnation,
            socket: backend.socket.clone(),
            codec: Codec::try_from(backend.protocol),
            thread: self.thread,
            request_ended: Rc::clone(&self.request_ended),
            gauge: self.shared.gauges.of(backend.incarnation),
            queue: self.shared.queues.of(site),
            idle: RefCell::default(),
            standing: Cell::new(Standing::InService),
            tallies: Rc::clone(&self.tallies),
            tally: InstanceTally::default(),
        }
    }
}

impl Instance {
    /// A request begins here.
    pub(super) fn begin(self: &Rc<Self>, purpose: Purpose) {
        self.gauge.begin(self.thread, purpose);
        self.tallies.note(self);
    }

    /// A request ends here. Somebody may be waiting for the last one of an instance that is out of
    /// service.
    pub(super) fn end(self: &Rc<Self>, purpose: Purpose) {
        self.gauge.end(self.thread, purpose);
        self.tallies.note(self);
        if self.standing.get() == Standing::Retired {
            self.request_ended.notify_one();
        }
    }

    /// A request here becomes a tunnel.
    pub(super) fn open_tunnel(self: &Rc<Self>) {
        self.gauge.open_tunnel(self.thread);
        self.tallies.note(self);
    }

    /// A tunnel here ends.
    pub(super) fn close_tunnel(&self) {
        self.gauge.close_tunnel(self.thread);
    }

    /// A request here went so.
    pub(super) fn sign(self: &Rc<Self>, sign: Sign) {
        self.tallies.sign(self, sign);
    }
}

/// Whether a table sends requests to an instance.
pub(crate) fn leads_to(table: &RouteTable, site: SiteId, incarnation: Incarnation) -> bool {
    let mut backends = backends(table, site).iter();
    backends.any(|backend| backend.incarnation == incarnation)
}

fn backends(table: &RouteTable, site: SiteId) -> &[Backend] {
    match table.site(site).map(|route| &route.service) {
        Some(Service::Ready(backends)) => backends,
        Some(Service::Waiting | Service::Asleep | Service::Pooled(_) | Service::Unavailable(_))
        | None => &[],
    }
}
