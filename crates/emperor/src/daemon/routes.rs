//! The routes that vassals want, and the hosts they may have.
//!
//! While a domain moves from one site to another, two revisions want it for a moment: the old one
//! of the site that gives it away, and the new one of the site that takes it. A host goes to whom
//! the rows give it, at once; until the rows name somebody, it stays with whom it has. So the table
//! that the router gets never leads one host to two sites.
//!
//! While a site moves out of a pool, its own vassal has nothing to serve it with yet: until it has, or is
//! to rest, the pool that answered for it goes on to. Who else moves waits until what it moves to
//! serves; that is for whoever tells vassals what is wanted, and this tells them when to look again.
//!
//! Knows neither sockets nor processes; the table itself is the [`RouteBoard`]'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use site_model::{
    Generation, HostPattern, HostRole, Hostname, Incarnation, Service, SiteId, SiteRoute,
    Unavailable,
};
use tokio::sync::Notify;
use vassal_core::Want;
use vassal_core::resolve::HostIndex;

use super::router::board::RouteBoard;
use super::router::demand::DemandBoard;
use super::router::posted::Posted;

/// The routes that vassals want.
#[derive(Debug)]
pub(super) struct Routes {
    board: Arc<RouteBoard>,
    /// A pool serves, or has lost a site.
    pools_stirred: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// To whom the rows give hosts. Nearly all are with whom they belong to, or with nobody.
    owners: HostIndex,
    /// Who has the others in the table.
    strays: BTreeMap<HostPattern, SiteId>,
    /// Whom each pool answers for in the table.
    guests: BTreeMap<SiteId, BTreeSet<SiteId>>,
    /// The routes of those who lack hosts that they want. All others have on the board what they want.
    lacking: BTreeMap<SiteId, Posted>,
}

impl Routes {
    /// No routes yet.
    pub(super) fn new(board: Arc<RouteBoard>) -> Self {
        Self {
            board,
            pools_stirred: Notify::new(),
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
            self.moves(&mut state, id, pool_in(&before.service), None);
        }
        let mut hosts = self.board.lost_hosts().recording();
        let generation = self.board.withdraw(id);
        hosts.left(before.as_ref(), None, generation);
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
        let (id, before) = (route.id(), self.board.route(route.id()));
        let of = before.as_ref().and_then(|before| pool_in(&before.service));
        let route = match of {
            Some(pool) => staying(pool, route),
            None => route,
        };
        if let Some(before) = &before {
            state.release(before);
        }
        let to = route.pool();
        let served = before
            .as_ref()
            .is_some_and(|before| is_ready(&before.service));
        let begins_to_serve = id.is_pool() && !served && route.is_ready();
        let permitted = state.take_hosts(route);
        let mut hosts = self.board.lost_hosts().recording();
        let after = hosts.is_kept().then(|| permitted.route()).flatten();
        let default_site = hosts.is_kept() && self.board.has_default_site();
        hosts.leads(before.as_ref(), after.as_ref(), |host| {
            default_site || state.answers_more_widely(host, id)
        });
        let generation = self.board.publish(permitted);
        hosts.left(before.as_ref(), after.as_ref(), generation);
        drop(hosts);
        self.moves(state, id, of, to);
        if begins_to_serve {
            self.pools_stirred.notify_one();
        }
        generation
    }

    /// Notes which pool answers for a site.
    fn moves(&self, state: &mut State, id: SiteId, of: Option<SiteId>, to: Option<SiteId>) {
        if of == to {
            return;
        }
        if let Some(of) = of
            && let Some(guests) = state.guests.get_mut(&of)
        {
            guests.remove(&id);
            if guests.is_empty() {
                state.guests.remove(&of);
            }
            self.pools_stirred.notify_one();
        }
        if let Some(to) = to {
            state.guests.entry(to).or_default().insert(id);
        }
    }

    /// The pool that answers for a site in the table.
    pub(super) fn pool_of(&self, site: SiteId) -> Option<SiteId> {
        pool_in(&self.board.route(site)?.service)
    }

    /// Whether requests for a site, or of a pool, go to an instance of its own.
    pub(super) fn serves(&self, vassal: SiteId) -> bool {
        let route = self.board.route(vassal);
        route.is_some_and(|route| is_ready(&route.service))
    }

    /// Whether a pool sleeps until a request wakes it.
    pub(super) fn sleeps(&self, pool: SiteId) -> bool {
        let route = self.board.route(pool);
        route.is_some_and(|route| route.service == Service::Asleep)
    }

    /// Whether a pool answers for anybody in the table.
    pub(super) fn has_guests(&self, pool: SiteId) -> bool {
        self.lock().guests.contains_key(&pool)
    }

    /// Waits until a pool may have come to serve, or lost a site. Cancel safe.
    pub(super) async fn pools_stirred(&self) {
        self.pools_stirred.notified().await;
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

/// The route, or, where nothing of a site's own can serve it yet, the same that leads on to the pool
/// which has answered for it.
fn staying(pool: SiteId, wanted: Posted) -> Posted {
    let Some(route) = wanted.route() else {
        return wanted;
    };
    match route.service {
        Service::Waiting | Service::Unavailable(Unavailable::Failed | Unavailable::Rejected) => {
            SiteRoute {
                service: Service::Pooled(pool),
                ..Arc::unwrap_or_clone(route)
            }
            .into()
        }
        Service::Ready(_)
        | Service::Asleep
        | Service::Pooled(_)
        | Service::Unavailable(Unavailable::Disabled) => wanted,
    }
}

fn pool_in(service: &Service) -> Option<SiteId> {
    match service {
        Service::Pooled(pool) => Some(*pool),
        Service::Ready(_) | Service::Waiting | Service::Asleep | Service::Unavailable(_) => None,
    }
}

fn is_ready(service: &Service) -> bool {
    match service {
        Service::Ready(_) => true,
        Service::Waiting | Service::Asleep | Service::Pooled(_) | Service::Unavailable(_) => false,
    }
}

impl Posted {
    /// Whether requests go to an instance: of nothing at rest.
    fn is_ready(&self) -> bool {
        match self {
            Self::Route(route) => is_ready(&route.service),
            Self::Resting(_) => false,
        }
    }

    /// The pool that it leads to.
    fn pool(&self) -> Option<SiteId> {
        match self {
            Self::Route(route) => pool_in(&route.service),
            Self::Resting(resting) => match &resting.want {
                Want::Pooled(membership) => Some(membership.pool),
                Want::Run(_) | Want::Disabled(_) | Want::Rejected(_) => None,
            },
        }
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
            let mut hosts = route.hosts.to_vec();
            hosts.retain(own);
            Arc::make_mut(&mut route).hosts = hosts.into();
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

    /// Whether another site answers for what isn't anybody's own among all that a host is below.
    fn answers_more_widely(&self, host: &HostPattern, id: SiteId) -> bool {
        let (HostPattern::Exact(name) | HostPattern::Wildcard(name)) = host;
        let wider = name
            .parents()
            .filter_map(|parent| Hostname::parse(parent).ok());
        let mut wider = wider.map(HostPattern::Wildcard);
        wider.any(|wider| !self.is_free(&wider, id))
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

    use site_model::{QueueBounds, RouteSettings};

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
            settings: Arc::new(RouteSettings {
                queue: QueueBounds {
                    depth: 1,
                    timeout: Duration::from_secs(1),
                },
                check_paths: [].into(),
                cache: None,
            }),
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
    fn a_site_that_leaves_a_pool_stays_until_something_of_its_own_serves() {
        let routes = Routes::new(Arc::new(RouteBoard::new(settings(""))));
        let pool = SiteId::of_vassal(-1).unwrap();
        let publish = |service| {
            let route = route(1, &["a.example"]);
            routes.publish(SiteRoute { service, ..route });
            (routes.pool_of(id(1)), routes.has_guests(pool))
        };
        assert_eq!(publish(Service::Waiting), (None, false));
        let inside = (Some(pool), true);
        assert_eq!(publish(Service::Pooled(pool)), inside);
        assert_eq!(publish(Service::Waiting), inside);
        assert_eq!(publish(Service::Unavailable(Unavailable::Failed)), inside);
        assert_eq!(
            publish(Service::Unavailable(Unavailable::Disabled)),
            (None, false)
        );
        assert_eq!(publish(Service::Pooled(pool)), inside);
        assert_eq!(publish(Service::Ready(vec![])), (None, false));
        assert!(routes.serves(id(1)));
        assert_eq!(publish(Service::Pooled(pool)), inside);
        routes.withdraw(id(1));
        assert!(!routes.has_guests(pool));
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
    /// `site host` of what is still to be purged in front.
    fn lost(routes: &Routes) -> String {
        let lost = routes.board.lost_hosts().lost(Generation::new(u64::MAX));
        let lines = lost.iter().map(|(site, host)| format!("{site} {host}"));
        lines.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn who_gives_a_host_away_or_answers_for_it_no_more_has_lost_it() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("hosts.journal");
        let check = |default_site: &str, expected: [&str; 3]| {
            let board = Arc::new(RouteBoard::new(settings(default_site)));
            board.keep_hosts(&journal);
            let routes = Routes::new(board);
            assign(&routes, "*.example", Some(1));
            assign(&routes, "a.other", Some(2));
            routes.publish(route(1, &["*.example"]));
            routes.publish(route(2, &["a.other"]));
            routes.open();
            let mut seen = vec![lost(&routes)];
            routes.publish(route(2, &["a.other", "b.a.example"]));
            seen.push(lost(&routes));
            assign(&routes, "a.other", Some(3));
            routes.publish(route(3, &["a.other"]));
            seen.push(lost(&routes));
            assert_eq!(seen, expected, "{default_site:?}");
            std::fs::remove_file(&journal).unwrap();
        };
        check("", ["", "2 b.a.example", "2 a.other, 2 b.a.example"]);
        check(
            "site-1",
            ["", "2 b.a.example", "2 a.other, 2 b.a.example, 3 a.other"],
        );
    }

    #[test]
    fn a_table_that_was_there_before_anybody_asked_is_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let journal = folder.path().join("hosts.journal");
        let board = Arc::new(RouteBoard::new(settings("")));
        let routes = Routes::new(Arc::clone(&board));
        routes.publish(route(1, &["a.example"]));
        routes.open();
        routes.publish(route(1, &["a.example", "b.example"]));
        // A target is named from here on.
        board.keep_hosts(&journal);
        routes.publish(route(1, &["b.example"]));
        assert_eq!(lost(&routes), "1 a.example");
        // The next emperor knows of that, and of what was led.
        let board = Arc::new(RouteBoard::new(settings("")));
        board.keep_hosts(&journal);
        let routes = Routes::new(Arc::clone(&board));
        assert_eq!(lost(&routes), "", "routes may be missing yet");
        routes.open();
        assert_eq!(lost(&routes), "1 a.example, 1 b.example");
        board.lost_hosts().let_go(&journal);
        assert!(!journal.exists());
    }
}
