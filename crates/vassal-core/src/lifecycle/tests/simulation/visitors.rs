//! Those who ask for pages, the router that sends them on by the table it has in force, and what it
//! tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use site_model::{Incarnation, Service, SiteId, SiteRoute};

use super::House;
use super::process::{Motion, State};
use super::world::World;
use crate::lifecycle::{Event, Load};
use crate::{Lifecycle, Resting, StatusTold};

/// The longest request.
const LONGEST: Duration = Duration::from_secs(5);

/// Requests, as the router knows them.
#[derive(Default)]
pub(super) struct Visitors {
    /// The routes in force.
    table: BTreeMap<SiteId, Arc<SiteRoute>>,
    /// Requests that came, and that wait.
    loads: BTreeMap<SiteId, Load>,
    /// Requests in flight, by their ends.
    in_flight: Vec<(Instant, SiteId, Incarnation)>,
    /// What each life was told last.
    told: BTreeMap<SiteId, Option<Load>>,
}

impl World {
    /// Somebody asks for a page.
    pub(super) fn visit(&mut self, site: SiteId) {
        let load = self.visitors.loads.entry(site).or_default();
        load.requests += 1;
        let route = self.visitors.table.get(&site).cloned();
        match route.map(|route| route.service.clone()) {
            Some(Service::Ready(_) | Service::Waiting) => load.waiting += 1,
            Some(Service::Asleep) => {
                load.waiting += 1;
                self.send_surely(site, &Event::Wake, 100);
            }
            Some(Service::Pooled(_) | Service::Unavailable(_)) | None => {}
        }
        self.send_on(site);
    }

    /// The table is in force: who waits is sent on, or calls.
    pub(super) fn take_table(&mut self) {
        self.visitors.table.clone_from(&self.router.routes);
        let sites: Vec<_> = self.visitors.loads.keys().copied().collect();
        for site in sites {
            self.send_on(site);
        }
    }

    /// Requests that wait go to what the table has.
    fn send_on(&mut self, site: SiteId) {
        let waiting = self.waiting(site);
        if waiting == 0 {
            return;
        }
        let route = self.visitors.table.get(&site).cloned();
        match route.map(|route| route.service.clone()) {
            Some(Service::Ready(backends)) => {
                for _ in 0..waiting {
                    let backend = self.rng.choice(&backends).map(|b| b.incarnation);
                    let end = self.now + LONGEST.mul_f64(self.rng.f64());
                    let sent = backend.map(|incarnation| (end, site, incarnation));
                    self.visitors.in_flight.extend(sent);
                }
                self.wait_no_more(site);
            }
            Some(Service::Asleep) => self.send_surely(site, &Event::Wake, 100),
            Some(Service::Waiting) => {}
            Some(Service::Pooled(_) | Service::Unavailable(_)) | None => self.wait_no_more(site),
        }
    }

    pub(super) fn waiting(&self, site: SiteId) -> u64 {
        self.visitors
            .loads
            .get(&site)
            .map_or(0, |load| load.waiting)
    }

    fn wait_no_more(&mut self, site: SiteId) {
        if let Some(load) = self.visitors.loads.get_mut(&site) {
            load.waiting = 0;
        }
    }

    /// Whether an instance has requests.
    pub(super) fn is_in_use(&self, incarnation: Incarnation) -> bool {
        let process = &self.processes[&incarnation];
        let mut requests = self.visitors.in_flight.iter();
        process.state == State::Alive
            && requests.any(|(end, _, at)| *at == incarnation && *end > self.now)
    }

    /// Whoever ends for want of requests has none, and gets none.
    pub(super) fn check_idle(&self, site: SiteId, incarnation: Incarnation) {
        assert!(!self.is_in_use(incarnation), "{incarnation} has requests");
        let Some(route) = self.visitors.table.get(&site) else {
            return;
        };
        if let Service::Ready(backends) = &route.service {
            let routed = backends.iter().any(|b| b.incarnation == incarnation);
            assert!(!routed, "{incarnation} may still get requests");
        }
    }

    /// Requests whose time has come are answered, or late.
    fn end_requests(&mut self) {
        let now = self.now;
        let in_flight = std::mem::take(&mut self.visitors.in_flight);
        let (ended, left): (Vec<_>, Vec<_>) =
            in_flight.into_iter().partition(|(end, ..)| *end <= now);
        self.visitors.in_flight = left;
        for (_, site, incarnation) in ended {
            let is_late = self.mishap(3) || self.processes[&incarnation].motion == Motion::Stopped;
            let load = self.visitors.loads.entry(site).or_default();
            let instance = load.instances.entry(incarnation).or_default();
            instance.late += u64::from(is_late);
            instance.answered += u64::from(!is_late);
        }
    }

    /// What the router tells of a site now; `None`: it doesn't.
    fn load(&self, site: SiteId) -> Option<Load> {
        if !self.router.connected {
            return None;
        }
        let mut load = self.visitors.loads.get(&site).cloned().unwrap_or_default();
        for (end, at, incarnation) in &self.visitors.in_flight {
            if *at == site && *end > self.now {
                load.instances.entry(*incarnation).or_default().in_flight += 1;
            }
        }
        Some(load)
    }
}

impl House {
    /// Whoever lives learns what is new of its requests.
    pub(super) fn tell_loads(&mut self) {
        self.world.end_requests();
        let ids: Vec<_> = self.lives.keys().copied().collect();
        for id in ids {
            let load = self.world.load(id);
            if self.world.visitors.told.get(&id) != Some(&load) {
                self.world.visitors.told.insert(id, load.clone());
                self.hear(id, Event::Load(load));
            }
        }
    }

    /// A life at rest ends; the one that is begun with what is wanted is at rest as well, and tells
    /// the same.
    pub(super) fn rest(&mut self, id: SiteId) {
        let Some(want) = self.told.get(&id).cloned() else {
            return;
        };
        if self.resting.contains(&id) {
            return;
        }
        let Some(life) = self.lives.get(&id).filter(|life| life.is_at_rest()) else {
            return;
        };
        let folders = self.world.processes.values();
        let mut folders = folders.filter(|process| process.site == id);
        if folders.any(|process| process.state != State::Removed) {
            return;
        }
        let restarts = life.restarts();
        let (begun, _) = Lifecycle::begin(id, want.clone(), restarts, 0, self.world.now);
        assert!(begun.is_at_rest(), "{:?}", begun.status());
        let resting = Resting { id, want, restarts };
        assert_eq!(resting.route(), life.route());
        assert_eq!(resting.status(), life.status());
        assert_eq!(
            StatusTold::from(Arc::new(resting)).state(),
            life.status().state
        );
        assert_eq!(begun.route(), life.route());
        assert_eq!(begun.status(), life.status());
        self.lives.insert(id, begun);
        self.resting.insert(id);
        self.world.forget(id);
        self.world.visitors.told.remove(&id);
        if self.world.waiting(id) > 0 {
            self.world.send_surely(id, &Event::Wake, 100);
        }
    }
}
