//! Sites that share a vassal: who is in, what it runs, and who is turned away.

use std::num::NonZeroU32;
use std::sync::Arc;

use site_model::{Revision, Site, SiteId};
use vassal_core::{Catalog, CatalogInput, PoolReloads, Pooling, Resolution, Want};

use super::support::{catalog, input, instance, site, template};

const SHARED: &str = r#"
command = ["/bin/serve", "{{ vars.mode }}"]
[vars]
mode = "plain"
"#;

struct House {
    resolution: Resolution,
    pooling: Pooling,
    names: Vec<String>,
}

fn member(id: i64, pool: &str) -> Site {
    Site {
        id: SiteId::new(id).unwrap(),
        slug: format!("site-{id}").parse().unwrap(),
        domain: Some(format!("site-{id}.example").parse().unwrap()),
        pool: Some(pool.into()),
        ..site("")
    }
}

impl House {
    fn new(catalog: Arc<Catalog>, sites: impl IntoIterator<Item = Site>) -> Self {
        let mut house = Self {
            resolution: Resolution::new(catalog),
            pooling: Pooling::default(),
            names: Vec::new(),
        };
        house.write(sites);
        house
    }

    fn write(&mut self, sites: impl IntoIterator<Item = Site>) {
        for site in sites {
            self.resolution.set_site(&Arc::new(site));
        }
        self.follow();
    }

    fn follow(&mut self) {
        let (wants, names) = (self.resolution.wants(), &mut self.names);
        let catalog = self.resolution.catalog();
        self.pooling.take_in(wants);
        for name in self.pooling.touched() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let numbered = names.iter().zip(1..).map(|(name, number)| {
            let number = NonZeroU32::new(number).unwrap();
            (name.clone(), SiteId::of_pool(number))
        });
        self.pooling.form(catalog, &Ok(numbered.collect()));
    }

    fn revision(&self, id: i64) -> Revision {
        match self.want(id) {
            Some(Want::Run(spec)) => spec.revision,
            other => panic!("{other:?}"),
        }
    }

    fn want(&self, id: i64) -> Option<&Want> {
        self.pooling.wants().get(&SiteId::of_vassal(id).unwrap())
    }

    /// `id word` for everything that is wanted.
    fn told(&self) -> String {
        let words = self.pooling.wants().iter().map(|(id, want)| match want {
            Want::Run(spec) => format!("{id} runs {}", spec.site.slug),
            Want::Pooled(membership) => format!("{id} in {}", membership.pool),
            Want::Disabled(_) => format!("{id} disabled"),
            Want::Rejected(_) => format!("{id} rejected"),
        });
        words.collect::<Vec<_>>().join(", ")
    }
}

fn shared() -> Arc<Catalog> {
    catalog(input(SHARED))
}

fn reason(house: &House, id: i64) -> String {
    match house.want(id) {
        Some(Want::Rejected(rejection)) => rejection.reason.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sites_of_a_pool_are_one_vassal_and_the_others_stay_alone() {
    let alone = Site {
        pool: None,
        ..member(3, "")
    };
    let sites = [member(1, "a"), member(2, "a"), alone, member(4, "b")];
    let house = House::new(shared(), sites);
    let expected = "-2 runs pool.b, -1 runs pool.a, 1 in -1, 2 in -1, 3 runs site-3, 4 in -2";
    assert_eq!(house.told(), expected);
    let pool = SiteId::of_vassal(-1).unwrap();
    let sites: Vec<_> = house.pooling.sites_of(pool).map(SiteId::get).collect();
    assert_eq!(sites, [1, 2]);
}

#[test]
fn a_pool_has_no_host_and_is_asked_for_its_first_site() {
    let house = House::new(shared(), [member(2, "a"), member(5, "a")]);
    let want = house.want(-1).unwrap();
    assert_eq!(want.hosts(), []);
    let Want::Run(spec) = want else {
        panic!("{want:?}");
    };
    let asked = spec.asked();
    let asked = (asked.host.as_str(), asked.site.map(SiteId::get));
    assert_eq!(asked, ("site-2.example", Some(2)));
    assert_eq!(
        spec.render(&instance()).unwrap().argv,
        ["/bin/serve", "plain"]
    );
}

#[test]
fn sites_come_and_go_without_the_worker_noticing() {
    let mut house = House::new(shared(), [member(2, "a"), member(5, "a")]);
    let before = house.revision(-1);
    house.write([member(1, "a")]);
    assert_eq!(house.revision(-1), before, "another one is the first");
    let renamed = Site {
        domain: Some("other.example".parse().unwrap()),
        ..member(2, "a")
    };
    house.write([renamed]);
    house.resolution.remove(SiteId::new(1).unwrap());
    house.follow();
    assert_eq!(house.revision(-1), before);
    assert_eq!(house.told(), "-1 runs pool.a, 2 in -1, 5 in -1");
    house.write([member(2, "b"), member(5, "b")]);
    assert_eq!(house.told(), "-2 runs pool.b, 2 in -2, 5 in -2");
}

fn reloaded(id: i64, pool: &str, reloads: u64) -> Site {
    Site {
        reloads,
        ..member(id, pool)
    }
}

#[test]
fn reloads_of_sites_that_come_together_are_one_of_their_pool() {
    let mut house = House::new(shared(), [member(2, "a"), reloaded(5, "a", 3)]);
    let pool = SiteId::of_vassal(-1).unwrap();
    let counts = |house: &mut House| {
        let told = house.pooling.take_to_remember().into_iter();
        told.map(|(of, reloads)| {
            assert_eq!(of, pool);
            reloads.count
        })
        .collect::<Vec<_>>()
    };
    let before = house.revision(-1);
    assert_eq!(counts(&mut house), [0], "what they counted before");
    house.write([reloaded(2, "a", 1), reloaded(5, "a", 4)]);
    assert_eq!(counts(&mut house), [1]);
    let after = house.revision(-1);
    assert_ne!(after, before);
    house.follow();
    assert_eq!(counts(&mut house), [], "it is remembered");
    // One that comes, and one that goes, ask for nothing.
    house.write([reloaded(7, "a", 9)]);
    house.resolution.remove(SiteId::new(2).unwrap());
    house.follow();
    assert_eq!(counts(&mut house), [1]);
    assert_eq!(house.revision(-1), after);
    // Nothing is remembered of one that is no more.
    house.write([member(5, "b"), member(7, "b")]);
    let left: Vec<_> = house.pooling.take_to_remember();
    assert_eq!(left[1], (pool, PoolReloads::default()));
}

#[test]
fn a_reload_that_nobody_heard_is_made_up_for_once() {
    let sites = || [member(2, "a"), member(5, "a")];
    let mut before = House::new(shared(), sites());
    let remembered = |house: &mut House| {
        let known = house.pooling.take_to_remember();
        Pooling::after(known.into_iter().collect())
    };
    let kept = remembered(&mut before);
    let again = |pooling: Pooling, sites: [Site; 2]| {
        let mut house = House::new(shared(), []);
        house.pooling = pooling;
        house.write(sites);
        house
    };
    let unchanged = again(kept.clone(), sites());
    assert_eq!(unchanged.revision(-1), before.revision(-1));
    let asked = || [reloaded(2, "a", 1), reloaded(5, "a", 1)];
    let mut heard = again(kept, asked());
    assert_ne!(heard.revision(-1), before.revision(-1));
    let kept = remembered(&mut heard);
    let third = again(kept, asked());
    assert_eq!(third.revision(-1), heard.revision(-1));
}

#[test]
fn one_that_differs_is_turned_away_alone_and_told_by_what() {
    let other = CatalogInput {
        templates: vec![template("app", SHARED), template("other", SHARED)],
        ..input(SHARED)
    };
    let catalog = catalog(other);
    let (text, user) = ("vars.mode = 'x'", Some("web"));
    let differing = [
        (
            "extra_config",
            Site {
                extra_config: text.into(),
                ..member(2, "a")
            },
        ),
        (
            "template",
            Site {
                template: Some("other".parse().unwrap()),
                ..member(2, "a")
            },
        ),
        (
            "run_as",
            Site {
                run_as: user.map(|name| site_model::RunAs::parse(name).unwrap()),
                ..member(2, "a")
            },
        ),
    ];
    for (column, site) in differing {
        let house = House::new(Arc::clone(&catalog), [member(1, "a"), site, member(3, "a")]);
        assert_eq!(house.told(), "-1 runs pool.a, 1 in -1, 2 rejected, 3 in -1");
        let reason = reason(&house, 2);
        let begin = format!("column {column}: it isn't that of site 1 (site-1)");
        assert!(reason.starts_with(&begin), "{reason}");
    }
    // What comes to the same is no difference.
    let named = Site {
        template: Some("app".parse().unwrap()),
        extra_config: "\n".into(),
        extra_uwsgi_ini: "workers = 9".into(),
        ..member(2, "a")
    };
    let house = House::new(catalog, [member(1, "a"), named]);
    assert_eq!(house.told(), "-1 runs pool.a, 1 in -1, 2 in -1");
}

#[test]
fn one_that_differs_never_decides_for_those_who_agree_with_what_runs() {
    let other = |id| Site {
        extra_config: "vars.mode = 'other'".into(),
        ..member(id, "a")
    };
    let mut house = House::new(shared(), [member(2, "a"), member(5, "a")]);
    house.write([other(1)]);
    assert_eq!(house.told(), "-1 runs pool.a, 1 rejected, 2 in -1, 5 in -1");
    // It begins as most of them have it.
    let anew = House::new(shared(), [other(1), member(2, "a"), member(5, "a")]);
    assert_eq!(anew.told(), house.told());
    // One after the other, and the pool follows with the last.
    house.write([other(2)]);
    assert_eq!(
        house.told(),
        "-1 runs pool.a, 1 rejected, 2 rejected, 5 in -1"
    );
    let mode = |house: &House| match house.want(-1) {
        Some(Want::Run(spec)) => spec.render(&instance()).unwrap().argv[1].clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(mode(&house), "plain");
    house.write([other(5)]);
    assert_eq!(house.told(), "-1 runs pool.a, 1 in -1, 2 in -1, 5 in -1");
    assert_eq!(mode(&house), "other");
}

#[test]
fn who_is_disabled_or_rejected_decides_nothing() {
    let off = Site {
        enabled: false,
        extra_config: "vars.mode = 'off'".into(),
        ..member(1, "a")
    };
    let broken = Site {
        extra_config: "vars.mode = 7 7".into(),
        ..member(2, "a")
    };
    let house = House::new(shared(), [off, broken, member(3, "a")]);
    let expected = "-1 runs pool.a, 1 disabled, 2 rejected, 3 in -1";
    assert_eq!(house.told(), expected);
}

#[test]
fn a_pool_whose_workers_would_be_forked_is_explained() {
    let text = "command = ['/bin/serve']\npreload.enabled = true\n";
    let house = House::new(catalog(input(text)), [member(1, "a"), member(2, "a")]);
    assert_eq!(house.told(), "-1 rejected, 1 in -1, 2 in -1");
    let told = reason(&house, -1);
    assert!(told.contains("forked from a preloader"), "{told}");
}

#[test]
fn a_name_that_is_none_and_a_text_about_one_site_are_explained() {
    let house = House::new(shared(), [member(1, "A b")]);
    let told = reason(&house, 1);
    assert!(
        told.starts_with("column pool: a pool is called what a site"),
        "{told}"
    );

    let text = "command = ['/bin/serve', '{{ site.id }}']\n";
    let house = House::new(catalog(input(text)), [member(1, "a"), member(2, "a")]);
    assert_eq!(house.told(), "-1 rejected, 1 in -1, 2 in -1");
    let told = reason(&house, -1);
    assert!(told.contains("X-Site-Id"), "{told}");
    for name in ["site.slug", "site.domain", "site.hosts[0]"] {
        let text = format!("command = ['/bin/serve', '{{{{ {name} }}}}']\n");
        let house = House::new(catalog(input(&text)), [member(1, "a")]);
        let told = reason(&house, -1);
        assert!(told.contains("X-Site-Id"), "{name}: {told}");
    }
}

#[test]
fn without_pools_what_is_wanted_is_held_once() {
    let alone = |id| Site {
        pool: None,
        ..member(id, "")
    };
    let held_once = |house: &House| house.pooling.wants().ptr_eq(house.resolution.wants());
    let mut house = House::new(shared(), [alone(1), alone(2)]);
    assert!(held_once(&house));
    house.write([member(2, "a")]);
    assert_eq!(house.told(), "-1 runs pool.a, 1 runs site-1, 2 in -1");
    house.write([alone(2)]);
    assert_eq!(house.told(), "1 runs site-1, 2 runs site-2");
    house.write([alone(3)]);
    assert_eq!(house.told(), "1 runs site-1, 2 runs site-2, 3 runs site-3");
    assert!(held_once(&house));
}
