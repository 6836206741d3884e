//! What moves a revision, and what doesn't.

use std::sync::Arc;

use site_model::{Alias, AliasKind, Revision, RunAs, Site, SiteId};
use vassal_core::template::schema::{KEYS, Key};
use vassal_core::{Catalog, CatalogInput, Policy, Source};

use crate::support::{APP, catalog, input, site};

fn revision(catalog: &Catalog, site: Site) -> Revision {
    let site = Arc::new(site);
    let spec = catalog.resolve(&site);
    spec.unwrap_or_else(|reason| panic!("{reason}")).revision
}

fn of_template(text: &str) -> Revision {
    revision(&catalog(input(text)), site(""))
}

fn of_row(extra_config: &str) -> Revision {
    revision(&catalog(input(APP)), site(extra_config))
}

#[test]
fn comments_formatting_order_and_help_don_t_move_it() {
    let plain = of_template("command = ['x']\nvars.a = 'b'\nenv.A = '1'\nstop.grace = '60s'\n");
    let other = "# why\n[stop]\ngrace   =  \"1m\" # because\n[env]\nA = \"1\"\n[vars]\n\
                 a = { default = 'b', help = 'new' }\n";
    let other = format!("description = 'new'\ncommand = [\n  \"x\",\n]\n{other}");
    assert_eq!(plain, of_template(&other));
    assert_eq!(of_row(""), of_row("# a comment\n\n"));
}

#[test]
fn what_is_said_again_doesn_t_move_it() {
    assert_eq!(of_row(""), of_row("vars.workers = 1\nstop.grace = '10s'\n"));
}

/// Every house that is upgraded resolves its rows anew, and replaces each instance whose revision is
/// another. Where this has to change, raise the number of the encoding, and tell operators.
#[test]
fn a_new_version_doesn_t_move_it() {
    let set = "health.watchdog = '7s'\nsandbox.writable = ['/srv']\nlimits.swap_max = '1MiB'";
    let set = of_template(&format!("{set}\n{APP}"));
    let revisions = [of_row(""), set].map(|revision| revision.to_string());
    let expected = [
        "64442e722af69f5619496b450fd20180",
        "f88b32721e917f0d2504c17e9d7a7d0d",
    ];
    assert_eq!(revisions, expected);
}

#[test]
fn the_layer_a_value_is_from_doesn_t_move_it() {
    let overlaid = catalog(CatalogInput {
        vassal: Some(Source::new("x", "vars.workers = 4")),
        ..input(APP)
    });
    assert_eq!(revision(&overlaid, site("")), of_row("vars.workers = 4"));
}

#[test]
fn every_field_of_the_row_that_matters_moves_it() {
    let catalog = catalog(CatalogInput {
        templates: vec![
            crate::support::template("app", APP),
            crate::support::template("twin", APP),
        ],
        ..input(APP)
    });
    let base = site("");
    let changed = |change: fn(&mut Site)| {
        let mut site = base.clone();
        change(&mut site);
        site
    };
    let sites = [
        ("nothing", base.clone()),
        ("id", changed(|site| site.id = SiteId::new(13).unwrap())),
        (
            "template",
            changed(|site| site.template = "twin".parse().ok()),
        ),
        (
            "run_as",
            changed(|site| site.run_as = RunAs::parse("web").ok()),
        ),
        ("pool", changed(|site| site.pool = Some("p".into()))),
        ("reloads", changed(|site| site.reloads = 1)),
    ];
    let revisions = sites.map(|(name, site)| (name, revision(&catalog, site)));
    distinct(&revisions);
}

/// Which changes of a site's names move the revision of a template with this text.
fn moved_by(text: &str) -> Vec<&'static str> {
    let catalog = catalog(input(&format!("command = ['x']\n{text}")));
    moved_by_row(&catalog, "")
}

fn moved_by_row(catalog: &Catalog, extra_config: &str) -> Vec<&'static str> {
    let base = site(extra_config);
    let alias = |kind| Alias {
        pattern: "alias.example".parse().unwrap(),
        kind,
    };
    let with_alias = |kind| Site {
        aliases: [alias(kind)].into(),
        ..base.clone()
    };
    let slug = "other".parse().unwrap();
    let changes = [
        (
            "slug",
            Site {
                slug,
                ..base.clone()
            },
        ),
        (
            "domain",
            Site {
                domain: "moved.example".parse().ok(),
                ..base.clone()
            },
        ),
        ("alias", with_alias(AliasKind::Alias)),
    ];
    let (redirect, serve) = (AliasKind::Redirect, AliasKind::Alias);
    let kinds = [redirect, serve].map(|kind| revision(catalog, with_alias(kind)));
    assert_eq!(kinds[0], kinds[1], "no text can tell the kind of an alias");
    let before = revision(catalog, base.clone());
    let moved = changes.map(|(name, site)| (name, revision(catalog, site)));
    let moved = moved.into_iter().filter(|(_, after)| *after != before);
    moved.map(|(name, _)| name).collect()
}

#[test]
fn the_names_of_a_site_move_it_where_a_text_uses_them() {
    for (text, expected) in [
        ("", &[][..]),
        ("env.A = 'site.domain'", &[]),
        ("env.A = '{{ site.id }}'", &[]),
        ("env.A = '{{ site.slug }}'", &["slug"]),
        ("working_dir = '/srv/{{ site.slug }}'", &["slug"]),
        ("vars.a = '{{ site.domain }}'", &["domain"]),
        ("files.a = '{{ site.domain | upper }}'", &["domain"]),
        ("files.a = '{{ site.hosts[0] }}'", &["domain", "alias"]),
        (
            "files.a = '{% for host in site.hosts %}{{ host }} {% endfor %}'",
            &["domain", "alias"],
        ),
        (
            "files.a = '{% if instance.number > 9 %}{{ site.domain }}{% endif %}'",
            &["domain"],
        ),
        (
            "files.a = '{% set s = site %}{{ s.domain }}'",
            &["slug", "domain", "alias"],
        ),
        (
            "env.A = \"{{ site['domain'] }}\"",
            &["slug", "domain", "alias"],
        ),
        ("sandbox.writable = ['/srv/{{ site.domain }}']", &["domain"]),
    ] {
        assert_eq!(moved_by(text), expected, "{text}");
    }
}

#[test]
fn a_row_s_own_text_counts_like_the_template_s() {
    let catalog = catalog(input("command = ['x']\nvars.a = '{{ site.slug }}'"));
    for (row, expected) in [
        ("", &["slug"][..]),
        ("vars.a = 'x'", &[]),
        ("vars.a = '{{ site.domain }}'", &["domain"]),
        (
            "env.A = '{{ site.hosts[0] }}'",
            &["slug", "domain", "alias"],
        ),
    ] {
        assert_eq!(moved_by_row(&catalog, row), expected, "{row}");
    }
}

fn distinct(revisions: &[(&str, Revision)]) {
    for (at, (name, revision)) in revisions.iter().enumerate() {
        let twin = revisions[..at].iter().find(|(_, other)| other == revision);
        assert!(
            twin.is_none(),
            "{name} and {:?}",
            twin.map(|(name, _)| name)
        );
    }
}

/// A value of each key that is not its default.
const OTHER_VALUES: &[(&str, &str)] = &[
    ("protocol", "'uwsgi'"),
    ("listen", "'path'"),
    ("command", "['python3', 'other']"),
    ("working_dir", "'/other'"),
    ("ready.probe", "'connect'"),
    ("ready.path", "'/other'"),
    ("ready.status", "'200'"),
    ("ready.warm", "['/other']"),
    ("ready.timeout", "'61s'"),
    ("health.interval", "'61s'"),
    ("health.path", "'/other'"),
    ("health.timeout", "'61s'"),
    ("health.failures", "4"),
    ("health.successes", "4"),
    ("health.watchdog", "'61s'"),
    ("preload.enabled", "true"),
    ("preload.timeout", "'61s'"),
    ("preload.keep", "'61s'"),
    ("instances.min", "2"),
    ("instances.max", "2"),
    ("instances.concurrency", "2"),
    ("instances.max_surge", "2"),
    ("idle.stop_after", "'61s'"),
    ("idle.answer_without_waking", "['/healthz']"),
    ("queue.depth", "2"),
    ("queue.timeout", "'61s'"),
    ("restart.backoff_initial", "'61s'"),
    ("restart.backoff_max", "'61s'"),
    ("stop.signal", "'SIGINT'"),
    ("stop.grace", "'61s'"),
    ("recycle.max_requests", "2"),
    ("recycle.max_memory", "'2MiB'"),
    ("recycle.max_age", "'61s'"),
    ("limits.memory_max", "'2MiB'"),
    ("limits.memory_high", "'2MiB'"),
    ("limits.swap_max", "'2MiB'"),
    ("limits.cpu_max", "'2%'"),
    ("limits.cpu_weight", "2"),
    ("limits.io_weight", "2"),
    ("limits.pids_max", "2"),
    ("limits.nofile", "2"),
    ("sandbox.required", "true"),
    ("sandbox.private_tmp", "true"),
    ("sandbox.tmp_size", "'2MiB'"),
    ("sandbox.read_only_system", "true"),
    ("sandbox.writable", "['/other']"),
    ("sandbox.readable", "['/other']"),
    ("sandbox.inaccessible", "['/other']"),
    ("sandbox.syscalls", "'off'"),
    ("sandbox.capabilities", "['CAP_CHOWN']"),
    ("vars.python", "'python4'"),
    ("vars.args", "['x']"),
    ("vars.ratio", "0.25"),
    ("vars.debug", "true"),
    ("env.MODE", "'x'"),
    ("env.NEW", "'x'"),
    ("files.new", "'x'"),
];

#[test]
fn every_setting_moves_it() {
    let untold = KEYS.iter().map(Key::path);
    // Between the site and the router alone.
    let untold = untold.filter(|path| !path.starts_with("cache."));
    let untold = untold.filter(|path| !OTHER_VALUES.iter().any(|(key, _)| key == path));
    assert_eq!(untold.collect::<Vec<_>>(), ["description"]);
    let all = vassal_core::template::tables();
    let catalog = catalog(CatalogInput {
        policy: Policy {
            site_may_set: vassal_core::overlay::SiteTables::parse(all).unwrap(),
            allow_root: false,
        },
        ..input(APP)
    });
    let mut revisions = vec![("nothing", revision(&catalog, site("")))];
    for (key, value) in OTHER_VALUES {
        let row = format!("{key} = {value}");
        revisions.push((key, revision(&catalog, site(&row))));
    }
    distinct(&revisions);
}

#[test]
fn what_is_kept_of_its_pages_doesn_t() {
    let plain = of_template("command = ['x']");
    let kept = of_template("command = ['x']\ncache.mode = 'until-purged'");
    assert_eq!(plain, kept);
}

#[test]
fn values_don_t_run_into_each_other() {
    let ab = of_template("command = ['x', 'ab', '']");
    distinct(&[
        ("ab", ab),
        ("a b", of_template("command = ['x', 'a', 'b']")),
        ("'' ab", of_template("command = ['x', '', 'ab']")),
        ("env", of_template("command = ['x']\nenv.A = 'BC'")),
        ("env 2", of_template("command = ['x']\nenv.AB = 'C'")),
        ("files", of_template("command = ['x']\nfiles.A = 'BC'")),
        ("text", of_template("command = ['x']\nvars.a = '1'")),
        ("number", of_template("command = ['x']\nvars.a = 1")),
        ("fraction", of_template("command = ['x']\nvars.a = 1.0")),
    ]);
}
