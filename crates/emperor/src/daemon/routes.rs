//! The routes that vassals want, and the hosts they may have.
//!
//! While a domain moves from one site to another, two revisions want it for a moment: the old one
//! of the site that gives it away, and the new one of the site that takes it. A host goes to whom
//! the rows give it, at once; until the rows name somebody, it stays with whom it has. So the table
//! that the router gets never leads one host to two sites.
//!
//! Knows neither sockets nor processes; the table itself is the [`RouteBoard`]'s.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use site_model::{Generation, HostPattern, HostRole, Incarnation, SiteId, SiteRoute};

use super::router::board::RouteBoard;
use super::router::demand::DemandBoard;

/// The routes that vassals want.
#[derive(Debug)]
pub(super) struct Routes {
    board: Arc<RouteBoard>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hosts: HashMap<HostPattern, Standing>,
    /// The routes of those who lack hosts that they want. All others have on the board what they want.
    lacking: BTreeMap<SiteId, Arc<SiteRoute>>,
}

/// Whose a host is.
#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    /// Whom the rows give it.
    owner: Option<SiteId>,
    /// Who has it in the table.
    holder: Option<SiteId>,
}

impl Routes {
    /// No routes yet.
    pub(super) fn new(board: Arc<RouteBoard>) -> Self {
        Self {
            board,
            state: Mutex::default(),
        }
    }

    /// The rows are known: routers may have the table from now on.
    pub(super) fn open(&self) {
        self.board.open();
    }

    /// What the router tells of requests.
    pub(super) fn demand(&self) -> &Arc<DemandBoard> {
        self.board.demand()
    }

    /// Publishes the route of a site, and says which generation carries it.
    pub(super) fn publish(&self, route: impl Into<Arc<SiteRoute>>) -> Generation {
        let mut state = self.lock();
        self.publish_permitted(&mut state, route.into())
    }

    /// Takes the route of a site down, and says which generation is the first without it.
    pub(super) fn withdraw(&self, id: SiteId) -> Generation {
        let mut state = self.lock();
        state.lacking.remove(&id);
        if let Some(before) = self.board.route(id) {
            state.release(&before);
        }
        self.board.withdraw(id)
    }

    /// Learns to whom the rows give hosts now: `None` for a host that is nobody's. Who has one that
    /// is another's gives it up at once.
    pub(super) fn assign(&self, changes: impl IntoIterator<Item = (HostPattern, Option<SiteId>)>) {
        let mut state = self.lock();
        let mut losers = BTreeSet::new();
        for (host, owner) in changes {
            let holder = state.set(host, |standing| {
                standing.owner = owner;
                standing.holder
            });
            losers.extend(holder.filter(|holder| owner.is_some_and(|owner| owner != *holder)));
        }
        for id in losers {
            let wanted = state.lacking.get(&id).map(Arc::clone);
            if let Some(route) = wanted.or_else(|| self.board.route(id)) {
                self.publish_permitted(&mut state, route);
            }
        }
    }

    /// Publishes a route with those of its hosts that are its own.
    fn publish_permitted(&self, state: &mut State, route: Arc<SiteRoute>) -> Generation {
        if let Some(before) = self.board.route(route.id) {
            state.release(&before);
        }
        self.board.publish(state.take_hosts(route))
    }

    /// Waits until the router has this generation, or a later one, in force, and says which.
    ///
    /// Cancel safe.
    pub(super) async fn acknowledged(&self, generation: Generation) -> Generation {
        self.board.acknowledged(generation).await;
        self.board.acknowledged_generation()
    }

    /// Waits until no request is in flight at an instance that is in no route.
    ///
    /// Cancel safe.
    pub(super) async fn idle(&self, site: SiteId, incarnation: Incarnation) {
        self.board.idle(site, incarnation).await;
    }

    /// Every holder of the lock leaves whole entries behind, also where it panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The route with those of its hosts that are its own, which it holds from now on.
    fn take_hosts(&mut self, route: Arc<SiteRoute>) -> Arc<SiteRoute> {
        let id = route.id;
        let own = |(host, _): &(HostPattern, HostRole)| self.is_free(host, id);
        let permitted = if route.hosts.iter().all(own) {
            self.lacking.remove(&id);
            route
        } else {
            let mut permitted = SiteRoute::clone(&route);
            permitted.hosts.retain(own);
            self.lacking.insert(id, route);
            Arc::new(permitted)
        };
        for (host, _) in &permitted.hosts {
            self.set(host.clone(), |standing| standing.holder = Some(id));
        }
        permitted
    }

    /// The hosts of a route that was on the board are nobody's.
    fn release(&mut self, before: &SiteRoute) {
        for (host, _) in &before.hosts {
            self.set(host.clone(), |standing| standing.holder = None);
        }
    }

    /// Whether nobody else has the host, nor is given it by the rows.
    fn is_free(&self, host: &HostPattern, id: SiteId) -> bool {
        self.hosts.get(host).is_none_or(|standing| {
            let mut others = standing.owner.iter().chain(&standing.holder);
            others.all(|other| *other == id)
        })
    }

    /// Changes how a host stands; one that is nobody's any more is forgotten.
    fn set<T>(&mut self, host: HostPattern, change: impl FnOnce(&mut Standing) -> T) -> T {
        let mut standing = self.hosts.get(&host).copied().unwrap_or_default();
        let changed = change(&mut standing);
        match standing {
            Standing {
                owner: None,
                holder: None,
            } => drop(self.hosts.remove(&host)),
            standing => drop(self.hosts.insert(host, standing)),
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use site_model::{QueueBounds, Service};

    use super::*;
    use crate::daemon::router::settings::fixture::settings;

    fn id(value: i64) -> SiteId {
        SiteId::new(value).unwrap()
    }

    fn route(site: i64, hosts: &[&str]) -> SiteRoute {
        SiteRoute {
            id: id(site),
            slug: format!("site-{site}").parse().unwrap(),
            canonical: "www.example".parse().unwrap(),
            hosts: hosts
                .iter()
                .map(|host| (host.parse().unwrap(), HostRole::Serve))
                .collect(),
            service: Service::Waiting,
            queue: QueueBounds {
                depth: 1,
                timeout: Duration::from_secs(1),
            },
            check_paths: [].into(),
            cache: None,
        }
    }

    fn assign(routes: &Routes, host: &str, owner: Option<i64>) {
        routes.assign([(host.parse().unwrap(), owner.map(id))]);
    }

    /// `site: host host, site: host` as the table has it.
    fn table(routes: &Routes) -> String {
        let whole = routes.board.whole();
        let lines = whole.routes.values().map(|route| {
            let hosts: Vec<_> = route
                .hosts
                .iter()
                .map(|(host, _)| host.to_string())
                .collect();
            format!("{}: {}", route.id, hosts.join(" "))
        });
        lines.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_host_goes_at_once_to_whom_the_rows_give_it() {
        let routes = Routes::new(Arc::new(RouteBoard::new(settings(""))));
        assign(&routes, "a.example", Some(1));
        routes.publish(route(1, &["a.example", "b.example"]));
        assert_eq!(table(&routes), "1: a.example b.example");
        assign(&routes, "a.example", Some(2));
        assert_eq!(table(&routes), "1: b.example");
        routes.publish(route(2, &["a.example"]));
        // The old revision of the first, still serving, publishes again.
        routes.publish(route(1, &["a.example", "b.example"]));
        assert_eq!(table(&routes), "1: b.example, 2: a.example");
    }

    #[test]
    fn a_host_that_is_nobody_s_stays_with_whom_has_it() {
        let routes = Routes::new(Arc::new(RouteBoard::new(settings(""))));
        assign(&routes, "a.example", Some(2));
        routes.publish(route(1, &["a.example"]));
        routes.publish(route(2, &["a.example"]));
        assign(&routes, "a.example", None);
        routes.publish(route(1, &["a.example"]));
        assert_eq!(table(&routes), "1: , 2: a.example");
        routes.withdraw(id(2));
        routes.publish(route(1, &["a.example"]));
        assert_eq!(table(&routes), "1: a.example");
    }
}
