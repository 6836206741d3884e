//! Tables of routes: whom they lead to, and what changed from one to the next.

use super::*;

fn route(id: i64, hosts: &[(&str, HostRole)]) -> SiteRoute {
    SiteRoute {
        id: SiteId::new(id).unwrap(),
        slug: format!("site-{id}").parse().unwrap(),
        canonical: format!("site-{id}.example").parse().unwrap(),
        hosts: hosts
            .iter()
            .map(|(host, role)| (host.parse().unwrap(), *role))
            .collect(),
        service: Service::Waiting,
        settings: Arc::new(RouteSettings {
            queue: QueueBounds {
                depth: 100,
                timeout: Duration::from_secs(30),
            },
            check_paths: Arc::default(),
            cache: None,
        }),
    }
}

fn table(routes: Vec<SiteRoute>) -> RouteTable {
    RouteTable::new(Generation::new(1), routes).unwrap()
}

fn found(table: &RouteTable, host: &str) -> String {
    match table.find(&host.parse().unwrap()) {
        Match::Site(route) => format!("site {}", route.id),
        Match::Redirect(route) => format!("redirect to {}", route.canonical),
        Match::Unknown => "unknown".into(),
    }
}

#[test]
fn neighbours_hold_equal_settings_together() {
    let with = |paths: &[&str]| {
        let mut route = route(1, &[]);
        let settings = Arc::make_mut(&mut route.settings);
        settings.check_paths = paths.iter().map(ToString::to_string).collect();
        route
    };
    let (first, mut second, mut third) = (with(&["/a"]), with(&["/a"]), with(&["/b"]));
    second.share(&first);
    third.share(&first);
    assert!(Arc::ptr_eq(&second.settings, &first.settings));
    assert_eq!(third, with(&["/b"]));
}

#[test]
fn an_exact_host_wins_over_the_longest_wildcard_over_the_default_site() {
    use HostRole::Serve;
    let table = table(vec![
        route(1, &[("*.example.com", Serve)]),
        route(2, &[("*.b.example.com", Serve)]),
        route(3, &[("a.b.example.com", Serve)]),
    ]);
    assert_eq!(found(&table, "a.b.example.com"), "site 3");
    assert_eq!(found(&table, "x.y.b.example.com"), "site 2");
    assert_eq!(found(&table, "b.example.com"), "site 1");
    assert_eq!(found(&table, "example.com"), "unknown");
    let table = table.with_default_site(Some("site-2".parse().unwrap()));
    assert_eq!(found(&table, "example.com"), "site 2");
}

#[test]
fn a_redirecting_alias_leads_to_the_canonical_host() {
    let table = table(vec![route(1, &[("old.example", HostRole::Redirect)])]);
    assert_eq!(found(&table, "old.example"), "redirect to site-1.example");
}

#[test]
fn a_host_moves_between_sites_in_one_change() {
    let before = table(vec![
        route(1, &[("a.example", HostRole::Serve)]),
        route(2, &[("b.example", HostRole::Serve)]),
    ]);
    let after = before
        .changed(RouteChange {
            generation: before.generation().next(),
            upserts: vec![
                route(1, &[("b.example", HostRole::Serve)]),
                route(2, &[("a.example", HostRole::Serve)]),
            ],
            removals: vec![],
        })
        .unwrap();
    assert_eq!(found(&after, "a.example"), "site 2");
    assert_eq!(
        found(&before, "a.example"),
        "site 1",
        "a request keeps the table it began with"
    );
}

#[test]
fn what_has_changed_since_an_earlier_table_is_named_and_nothing_else() {
    let hosts: [(&str, HostRole); 0] = [];
    let before = table((1..=1000).map(|id| route(id, &hosts)).collect());
    let mut changed = route(7, &hosts);
    changed.service = Service::Asleep;
    let after = before.changed(RouteChange {
        generation: Generation::new(2),
        upserts: vec![changed, route(1001, &hosts), route(5, &hosts)],
        removals: vec![SiteId::new(9).unwrap()],
    });
    let after = after.unwrap();
    let named = |after: &RouteTable, before| -> Vec<_> {
        after.changed_since(before).map(SiteId::get).collect()
    };
    assert_eq!(named(&after, &before), [7, 9, 1001]);
    assert_eq!(named(&before, &before), []);
}

#[test]
fn a_host_claimed_twice_refuses_the_change() {
    let before = table(vec![route(1, &[("a.example", HostRole::Serve)])]);
    let change = RouteChange {
        generation: before.generation().next(),
        upserts: vec![route(2, &[("a.example", HostRole::Serve)])],
        removals: vec![],
    };
    let conflict = before.changed(change).unwrap_err();
    assert_eq!((conflict.owner.get(), conflict.claimant.get()), (1, 2));
}

#[test]
fn the_default_site_comes_and_goes_with_its_row() {
    let empty = table(vec![]).with_default_site(Some("site-1".parse().unwrap()));
    let change = |upserts, removals| RouteChange {
        generation: Generation::new(2),
        upserts,
        removals,
    };
    let with = empty.changed(change(vec![route(1, &[])], vec![])).unwrap();
    assert_eq!(found(&with, "any.example"), "site 1");
    let without = with
        .changed(change(vec![], vec![SiteId::new(1).unwrap()]))
        .unwrap();
    assert_eq!(found(&without, "any.example"), "unknown");
}
