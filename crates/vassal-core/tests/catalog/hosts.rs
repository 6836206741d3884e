//! Effective hosts, and who keeps one that two sites claim.

use std::sync::Arc;

use site_model::{Alias, AliasKind, RejectionReason, Site, SiteId};
use vassal_core::resolve::{Domains, FormatError, Rewrite};
use vassal_core::{CatalogInput, Rejection, Resolution, Want};

use crate::support::{APP, catalog, input, site};

fn row(id: i64, slug: &str, domain: &str, aliases: &[&str]) -> Arc<Site> {
    let alias = |text: &&str| Alias {
        pattern: text.parse().unwrap(),
        kind: AliasKind::Alias,
    };
    Arc::new(Site {
        id: SiteId::new(id).unwrap(),
        slug: slug.parse().unwrap(),
        domain: (!domain.is_empty()).then(|| domain.parse().unwrap()),
        aliases: aliases.iter().map(alias).collect(),
        ..site("")
    })
}

fn check_hosts(domains: &Domains, site: &Site, expected: &[&str]) {
    let hosts = domains.hosts(site).unwrap();
    let hosts: Vec<_> = hosts
        .patterns()
        .map(|pattern| pattern.to_string())
        .collect();
    assert_eq!(hosts, expected);
}

#[test]
fn a_site_without_a_domain_gets_one_and_rewriting_gives_one_to_all() {
    let missing = Domains::new(Rewrite::Missing, "{slug}.localhost").unwrap();
    let every = Domains::new(Rewrite::Every, "{slug}.test").unwrap();
    let with = row(1, "a", "www.a.example", &["a.example", "*.a.example"]);
    let without = row(2, "b", "", &[]);
    check_hosts(
        &missing,
        &with,
        &["www.a.example", "a.example", "*.a.example"],
    );
    check_hosts(&missing, &without, &["b.localhost"]);
    check_hosts(&every, &with, &["a.test", "a.example", "*.a.example"]);
    check_hosts(&every, &without, &["b.test"]);
}

#[test]
fn an_alias_that_is_the_canonical_host_is_none() {
    let site = row(1, "a", "a.example", &["a.example", "b.example"]);
    check_hosts(&Domains::default(), &site, &["a.example", "b.example"]);
}

#[test]
fn a_format_that_gives_every_site_one_host_is_refused() {
    let refused = Domains::new(Rewrite::Every, "all.localhost").unwrap_err();
    assert!(matches!(refused, FormatError::NoSlug(_)));
    let refused = Domains::new(Rewrite::Every, "{slug}..localhost").unwrap_err();
    assert!(matches!(refused, FormatError::NoHost { .. }));
}

#[test]
fn a_slug_that_makes_no_host_rejects_its_site() {
    let format = format!("{{slug}}-{}.localhost", "x".repeat(30));
    let domains = Domains::new(Rewrite::Missing, format).unwrap();
    let site = row(1, &"a".repeat(60), "", &[]);
    let refused = domains.hosts(&site).unwrap_err();
    assert!(matches!(
        refused,
        RejectionReason::Column { column: "slug", .. }
    ));
}

fn resolution() -> Resolution {
    Resolution::new(catalog(CatalogInput {
        domains: Domains::default(),
        ..input(APP)
    }))
}

fn states(resolution: &Resolution) -> Vec<String> {
    let wants = resolution.wants().iter();
    let states = wants.map(|(id, want)| match want {
        Want::Run(spec) => format!("{id} runs as {}", spec.hosts.canonical),
        Want::Disabled(address) => format!("{id} disabled at {}", address.canonical),
        Want::Pooled(membership) => format!("{id} in {}", membership.pool),
        Want::Rejected(rejection) => {
            let Rejection { reason, address } = &**rejection;
            let hosts = address.iter().flat_map(|address| &address.hosts);
            let hosts: Vec<_> = hosts.map(|(host, _)| host.to_string()).collect();
            format!("{id} rejected, keeps [{}]: {reason}", hosts.join(" "))
        }
    });
    states.collect()
}

#[test]
fn of_two_sites_with_one_effective_host_the_lower_id_keeps_it() {
    let mut resolution = resolution();
    resolution.set_site(&row(9, "b", "", &["extra.example"]));
    resolution.set_site(&row(5, "a", "b.localhost", &[]));
    assert_eq!(
        states(&resolution),
        [
            "5 runs as b.localhost",
            "9 rejected, keeps [extra.example]: host b.localhost already belongs to site 5; \
             remove it from one of the two",
        ]
    );
    resolution.set_site(&row(5, "a", "a.example", &[]));
    assert_eq!(
        states(&resolution),
        ["5 runs as a.example", "9 runs as b.localhost"]
    );
    resolution.set_site(&row(5, "a", "b.localhost", &[]));
    resolution.remove(SiteId::new(5).unwrap());
    assert_eq!(states(&resolution), ["9 runs as b.localhost"]);
}

#[test]
fn rejected_and_disabled_rows_keep_their_hosts() {
    let mut resolution = resolution();
    let broken = Site {
        extra_config: "x".into(),
        ..(*row(1, "a", "a.example", &[])).clone()
    };
    resolution.set_site(&Arc::new(broken));
    let disabled = Site {
        enabled: false,
        extra_config: "x".into(),
        ..(*row(2, "b", "b.example", &[])).clone()
    };
    resolution.set_site(&Arc::new(disabled));
    resolution.set_site(&row(3, "c", "a.example", &[]));
    resolution.set_site(&row(4, "d", "b.example", &[]));
    let states = states(&resolution);
    assert!(
        states[0].starts_with("1 rejected, keeps [a.example]: error"),
        "{states:?}"
    );
    assert_eq!(states[1], "2 disabled at b.example");
    assert!(
        states[2].contains("already belongs to site 1"),
        "{states:?}"
    );
    assert!(
        states[3].contains("already belongs to site 2"),
        "{states:?}"
    );
}

#[test]
fn a_row_that_is_no_site_is_rejected_and_claims_nothing() {
    let mut resolution = resolution();
    let reason = RejectionReason::Column {
        column: "slug",
        detail: "it is empty".to_owned(),
    };
    let id = SiteId::new(1).unwrap();
    resolution.set_site(&row(1, "a", "a.example", &[]));
    resolution.set_rejected(id, reason);
    resolution.set_site(&row(2, "b", "a.example", &[]));
    assert_eq!(
        states(&resolution),
        [
            "1 rejected, keeps []: column slug: it is empty",
            "2 runs as a.example"
        ]
    );
}

#[test]
fn another_catalog_resolves_the_same_rows_again() {
    let mut first = resolution();
    first.set_site(&row(1, "a", "a.example", &[]));
    let domains = Domains::new(Rewrite::Every, "{slug}.test").unwrap();
    let other = first.with_catalog(catalog(CatalogInput {
        domains,
        ..input(APP)
    }));
    assert_eq!(states(&first), ["1 runs as a.example"]);
    assert_eq!(states(&other), ["1 runs as a.test"]);
}

#[test]
fn planning_a_row_edited_back_yields_nothing() {
    let mut resolution = resolution();
    for id in 1..=50 {
        resolution.set_site(&row(id, &format!("s{id}"), "", &[]));
    }
    let before = resolution.wants().clone();
    resolution.set_site(&row(7, "s7", "seven.example", &[]));
    let plan = vassal_core::plan(resolution.wants(), &before);
    assert_eq!(
        plan.actions
            .iter()
            .map(|(id, _)| id.get())
            .collect::<Vec<_>>(),
        [7]
    );
    resolution.set_site(&row(7, "s7", "", &[]));
    assert!(vassal_core::plan(resolution.wants(), &before).is_empty());
}
