//! Which layer wins, and that each value knows where it is from.

use std::sync::Arc;
use std::time::Duration;

use vassal_core::resolve::Rendering;
use vassal_core::{CatalogInput, Source};

use crate::support::{APP, catalog, input, instance, resolve, site};

fn layered(extra_config: &str) -> Rendering {
    let name = "app".parse().unwrap();
    let overlay = Source::new(
        "emperor.toml [templates.app]",
        "\n\nvars.python = '/venv/bin/python'\n[env]\nTZ = 'UTC'\nMODE = 'overlay'\n",
    );
    let vassal = Source::new(
        "emperor.toml [vassal]",
        "queue.depth = 7\nstop.grace = '20s'\nvars.workers = 2\nenv.TZ = 'Europe/Rome'\n",
    );
    let catalog = catalog(CatalogInput {
        vassal: Some(vassal),
        overlays: [(name, overlay)].into(),
        ..input(APP)
    });
    let site = Arc::new(site(extra_config));
    catalog.explain(&site, &instance()).unwrap()
}

fn check(rendering: &Rendering, key: &str, value: &str, origin: &str) {
    let found = rendering.settings.iter().find(|setting| setting.key == key);
    let found = found.unwrap_or_else(|| panic!("no {key}"));
    assert_eq!((&*found.value, &*found.origin), (value, origin), "{key}");
}

#[test]
fn a_later_layer_wins_key_by_key_and_is_named() {
    let rendering = layered("vars.workers = 5\n[env]\nMODE = 'row'\n");
    check(&rendering, "ready.path", "\"/\"", "built-in default");
    check(&rendering, "stop.grace", "'20s'", "emperor.toml [vassal]:2");
    check(&rendering, "queue.depth", "7", "emperor.toml [vassal]:1");
    check(&rendering, "vars.workers", "5", "site 12 extra_config:1");
    check(&rendering, "vars.ratio", "0.5", "app.toml:8");
    let python = "'/venv/bin/python'";
    check(
        &rendering,
        "vars.python",
        python,
        "emperor.toml [templates.app]:3",
    );
    check(
        &rendering,
        "env.TZ",
        "'UTC'",
        "emperor.toml [templates.app]:5",
    );
    check(&rendering, "env.MODE", "'row'", "site 12 extra_config:3");
    assert_eq!(rendering.spec.settings.stop.grace, Duration::from_secs(20));
    let env = [("MODE", "row"), ("TZ", "UTC")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(rendering.launch.env, env);
    assert_eq!(rendering.launch.argv[0], "/venv/bin/python");
    assert_eq!(rendering.launch.argv[4], "5");
}

#[test]
fn what_a_site_chooses_to_listen_on_is_shown_as_what_it_comes_to() {
    let template = "command = ['x']\nlisten = '{{ vars.listen }}'\nvars.listen = 'fd'\n";
    let site = Arc::new(site("vars.listen = 'path'"));
    let rendering = catalog(input(template)).explain(&site, &instance());
    check(&rendering.unwrap(), "listen", "\"path\"", "app.toml:2");
}

#[test]
fn lists_replace_and_don_t_grow() {
    let template = format!("{APP}[cache]\nignore = ['^/admin/']\n");
    let spec = resolve(&template, "cache.ignore = ['^/a', '^/b']").unwrap();
    assert_eq!(spec.settings.cache.ignore, ["^/a", "^/b"]);
}

#[test]
fn the_configuration_may_declare_a_variable_of_its_own() {
    let overlay = Source::new(
        "x",
        "command = ['run', '{{ vars.mode }}']\nvars.mode = { required = true, help = 'how' }\n",
    );
    let catalog = catalog(CatalogInput {
        overlays: [("app".parse().unwrap(), overlay)].into(),
        ..input(APP)
    });
    let refused = catalog.resolve(&Arc::new(site(""))).unwrap_err();
    assert!(
        refused.to_string().contains("`vars.mode`: how"),
        "{refused}"
    );
    let spec = catalog
        .resolve(&Arc::new(site("vars.mode = 'fast'")))
        .unwrap();
    assert_eq!(spec.render(&instance()).unwrap().argv, ["run", "fast"]);
}

#[test]
fn more_instances_at_least_raise_the_built_in_bound_and_no_other() {
    let spec = resolve(APP, "instances.min = 3").unwrap();
    assert_eq!(spec.settings.instances.max, 3);
    let template = format!("{APP}[instances]\nmax = 2\n");
    assert!(resolve(&template, "instances.min = 3").is_err());
}

#[test]
fn the_first_template_of_a_name_counts() {
    let mut input = input(APP);
    let second = crate::support::template("app", "command = ['other']");
    input.templates.push(second);
    let spec = catalog(input).resolve(&Arc::new(site(""))).unwrap();
    assert_eq!(spec.render(&instance()).unwrap().argv[0], "python3");
}
