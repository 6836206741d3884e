//! The routes that vassals want, and the hosts they may have.
//!
//! While a domain moves from one site to another, two revisions want it for a moment: the old one
//! of the site that gives it away, and the new one of the site that takes it. A host goes to whom
//! the rows give it, at once; until the rows name somebody, it stays with whom it has. So the table
//! that the router gets never leads one host to two sites.
//!
//! Knows neither sockets nor processes; the table itself is the [`RouteBoard`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use site_model::{Generation, HostPattern, HostRole, Incarnation, SiteId, SiteRoute};
use vassal_core::resolve::HostIndex;

use super::router::board::RouteBoard;
use super::router::demand::DemandBoard;
use super::router::posted::Posted;

/// The routes that vassals want.
#[derive(Debug)]
pub(super) struct Routes {
    board: Arc<RouteBoard>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// To whom the rows give hosts. Nearly all are with whom they belong to, or with nobody.
    owners: HostIndex,
    /// Who has the others in the table.
    strays: BTreeMap<HostPattern, SiteId>,
    /// The routes of those who lack hosts that they want. All others have on the board what they want.
    lacking: BTreeMap<SiteId, Posted>,
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
    pub(super) fn publish(&self, route: impl Into<Posted>) -> Generation {
        let mut state = self.lock();
        self.publish_permitted(&mut state, route.into())
    }

    /// Takes the route of a site down, and says which generation is the first without it.
    pub(super) fn withdraw(&self, id: SiteId) -> Generation {
        let mut state = self.lock();
        state.lacking.remove(&id);
        let before = self.board.route(id);
        if let Some(before) = &before {
            state.release(before);
        }
        let generation = self.board.withdraw(id);
        let lost = self.board.lost_hosts();
        if let Some(before) = before.filter(|_| lost.are_followed()) {
            lost.note(&before, None, generation);
        }
        generation
    }

    /// Learns to whom the rows give hosts now. Who has one that is another's gives it up at once.
    pub(super) fn assign(&self, owners: &HostIndex) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.owners, owners.clone());
        let mut losers = BTreeSet::new();
        for change in owners.moves_since(&before) {
            let stray = state.strays.remove(change.host);
            let by_right = || change.from.filter(|from| self.has(*from, change.host));
            let Some(holder) = stray.or_else(by_right) else {
                continue;
            };
            if change.to != Some(holder) {
                state.strays.insert(change.host.clone(), holder);
                losers.extend(change.to.map(|_| holder));
            }
        }
        for id in losers {
            let wanted = state.lacking.get(&id).cloned();
            if let Some(route) = wanted.or_else(|| self.board.route(id).map(Posted::Route)) {
                self.publish_permitted(&mut state, route);
            }
        }
    }

    /// Publishes a route with those of its hosts that are its own.
    fn publish_permitted(&self, state: &mut State, route: Posted) -> Generation {
        let before = self.board.route(route.id());
        if let Some(before) = &before {
            state.release(before);
        }
        let permitted = state.take_hosts(route);
        let lost = self.board.lost_hosts();
        let Some(before) = before.filter(|_| lost.are_followed()) else {
            return self.board.publish(permitted);
        };
        let after = permitted.route();
        let generation = self.board.publish(permitted);
        lost.note(&before, after.as_deref(), generation);
        generation
    }

    /// Whether a host leads to a site in the table.
    fn has(&self, id: SiteId, host: &HostPattern) -> bool {
        let route = self.board.route(id);
        let mut hosts = route.iter().flat_map(|route| &route.hosts);
        hosts.any(|(known, _)| known == host)
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
    fn take_hosts(&mut self, wanted: Posted) -> Posted {
        let id = wanted.id();
        self.lacking.remove(&id);
        let Some(mut route) = wanted.route() else {
            return wanted;
        };
        let own = |(host, _): &(HostPattern, HostRole)| self.is_free(host, id);
        let has_all = route.hosts.iter().all(own);
        if !has_all {
            Arc::make_mut(&mut route).hosts.retain(own);
        }
        for (host, _) in &route.hosts {
            if self.owners.owner(host) != Some(id) {
                self.strays.insert(host.clone(), id);
            }
        }
        if has_all {
            return wanted;
        }
        self.lacking.insert(id, wanted);
        Posted::Route(route)
    }

    /// The hosts of a route that was on the board are with nobody.
    fn release(&mut self, before: &SiteRoute) {
        for (host, _) in &before.hosts {
            if self.strays.get(host) == Some(&before.id) {
                self.strays.remove(host);
            }
        }
    }

    /// Whether nobody else has the host, nor is given it by the rows.
    fn is_free(&self, host: &HostPattern, id: SiteId) -> bool {
        let (owner, stray) = (self.owners.owner(host), self.strays.get(host));
        [owner.as_ref(), stray]
            .into_iter()
            .flatten()
            .all(|other| *other == id)
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

    /// The rows give a host to a site, or to none.
    fn assign(routes: &Routes, host: &str, owner: Option<i64>) {
        let host = [host.parse().unwrap()];
        let mut owners = routes.lock().owners.clone();
        if let Some(before) = owners.owner(&host[0]) {
            owners.claim(before, &host, &[]);
        }
        if let Some(owner) = owner {
            owners.claim(id(owner), &[], &host);
        }
        routes.assign(&owners);
    }

    /// `site: host host, site: host` as the table has it.
    fn table(routes: &Routes) -> String {
        let whole = routes.board.whole();
        let routes = whole.routes.values().filter_map(Posted::route);
        let lines = routes.map(|route| {
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
