//! Mistakes in templates and in the configuration: whom they concern.

use std::sync::Arc;

use insta::assert_snapshot;
use vassal_core::template::check;
use vassal_core::{Catalog, CatalogInput, Source};

use crate::support::{APP, catalog, input, rejection, site, template};

#[test]
fn a_broken_template_rejects_its_sites_alone_and_is_listed() {
    let mut input = input("command = ['x']\ncolour = 'red'\n");
    input.templates.push(template("good", APP));
    let catalog = catalog(input);
    let reason = catalog.resolve(&Arc::new(site(""))).unwrap_err();
    assert_snapshot!(reason.to_string(), @r"
    its template app is broken:
    error: unknown key `colour`
     --> app.toml:2:1
      |
    2 | colour = 'red'
      | ^^^^^^
    ");
    let mut other = site("");
    other.template = Some("good".parse().unwrap());
    assert!(catalog.resolve(&Arc::new(other)).is_ok());
    let problems = catalog.templates().filter(|info| info.problem.is_some());
    assert_eq!(
        problems.map(|info| info.name.as_str()).collect::<Vec<_>>(),
        ["app"]
    );
}

fn check_broken(text: &str, expected: &str) {
    let Err(found) = check(&Source::new("t.toml", text)) else {
        panic!("taken: {text}");
    };
    let found = found.to_string();
    assert!(found.contains(expected), "{text}\n{found}");
    // Whatever the text checked alone shows, a site is told too.
    assert!(rejection(text, "").contains(expected), "{text}");
}

#[test]
fn a_template_s_mistakes_are_found_before_a_site_uses_it() {
    check_broken("", "a template needs a `command`");
    check_broken("command = []", "a command begins with a program");
    check_broken("command = ['']", "a command begins with a program");
    check_broken("command = 'x'", "a list of strings, program first, is due");
    check_broken("command = ['x', 5]", "this is a whole number");
    check_broken("command = ['x']\nprotocol = 'htpp'", "did you mean `http`?");
    check_broken("command = ['x']\nworking_dir = 'srv'", "absolute path");
    check_broken("command = ['{{ vars.x }}']", "unknown name `vars.x`");
    check_broken("command = ['{{ site.slg }}']", "did you mean `site.slug`?");
    check_broken("command = ['{{ sit.slug }}']", "did you mean `site.slug`?");
    check_broken(
        "command = ['{% if 0 %}{{ vars.x }}{% endif %}']",
        "`vars.x`",
    );
    check_broken("command = ['{{ site.slug']", "syntax error");
    check_broken(
        "command = ['{{ namespace() }}']",
        "unknown name `namespace`",
    );
    check_broken(
        "command = ['x']\nlisten = '{{ socket.fd }}'",
        "unknown name",
    );
    check_broken(
        "command = ['x']\nvars.a = '{{ vars.b }}'\nvars.b = ''",
        "unknown name",
    );
    check_broken("command = ['x']\nvars.a-b = 1", "variable's name");
    check_broken("command = ['x']\nfiles.'../x' = ''", "a file's name");
    check_broken(
        "command = ['x']\nvars.a = { defualt = 1 }",
        "did you mean `default`?",
    );
    check_broken(
        "command = ['x']\nvars.a = { default = 1, required = true }",
        "a required variable has no default",
    );
    check_broken(
        "command = ['x']\nvars.a = { required = false }",
        "has a default",
    );
    check_broken(
        "command = ['x']\nrestart = { backoff_initial = '5m' }",
        "longer than `restart.backoff_max`",
    );
}

#[test]
fn values_that_only_a_site_reveals_are_found_when_it_is_resolved() {
    let check = |template: &str, expected: &str| {
        let refused = rejection(template, "");
        assert!(refused.contains(expected), "{template}\n{refused}");
    };
    check(
        "command = ['{{ vars.p }}']\nvars.p = ' '",
        "program's name is empty",
    );
    check(
        "command = ['x', '{{ vars.l }}!']\nvars.l = ['a']",
        "a list can't stand",
    );
    check("command = ['x', '{{ site }}']", "a table can't stand");
    check("command = ['{{ site.slug | nope }}']", "filter nope");
    check("command = ['x', \"a\\u0000\"]", "NUL byte");
    check(
        "command = ['x', '{{ files[\"y\"] }}']\nfiles.x = ''",
        "did you mean `files[\"x\"]`?",
    );
    check(
        "command = ['x', '{{ socket.fd }}']\nlisten = 'path'",
        "use socket.path",
    );
    check("command = ['x', '{{ 1 // 0 }}']", "app.toml:1:");
}

fn errors(input: CatalogInput) -> String {
    Catalog::new(input).unwrap_err().to_string()
}

#[test]
fn a_mistake_in_the_configuration_is_the_configuration_s() {
    let vassal = |text: &str| CatalogInput {
        vassal: Some(Source::new("emperor.toml [vassal]", text)),
        ..input(APP)
    };
    assert_snapshot!(errors(vassal("\nvars.wrokers = 2\nstop.grace = 5\n")), @r#"
    error: no template has a variable `wrokers`
     --> emperor.toml [vassal]:2:6
      |
    2 | vars.wrokers = 2
      |      ^^^^^^^ did you mean `workers`?

    error: 5 of what? a duration is written "500ms", "30s", "5m", "2h" or "7d"
     --> emperor.toml [vassal]:3:14
      |
    3 | stop.grace = 5
      |              ^
    "#);
    let wrong_type = errors(vassal("vars.workers = 'two'"));
    assert!(
        wrong_type.contains("`vars.workers` is a whole number"),
        "{wrong_type}"
    );
    let wrong_name = errors(vassal("env.A = '{{ vars.x }}'"));
    assert!(wrong_name.contains("unknown name `vars.x`"), "{wrong_name}");
    let wrong_together = errors(vassal("restart.backoff_max = '1ms'"));
    assert!(
        wrong_together.contains("is longer than"),
        "{wrong_together}"
    );
}

#[test]
fn a_mistake_that_is_laid_over_many_templates_is_told_once() {
    let mut input = input(APP);
    input.templates.push(template("other", APP));
    input.vassal = Some(Source::new("x", "env.A = '{{ site.slugg }}'"));
    let told = errors(input);
    assert_eq!(told.matches("error:").count(), 1, "{told}");
}

#[test]
fn a_variable_in_vassal_passes_over_templates_that_lack_it() {
    let mut input = input("command = ['x']");
    input.templates.push(template("other", APP));
    input.vassal = Some(Source::new("x", "vars.workers = 2"));
    assert!(catalog(input).resolve(&Arc::new(site(""))).is_ok());
}

#[test]
fn a_misspelt_key_that_only_vassal_has_is_suggested_there() {
    for (wrong, right) in [("templte = 'x'", "template"), ("run_sa = 'x'", "run_as")] {
        let wrong = CatalogInput {
            vassal: Some(Source::new("[vassal]", wrong)),
            ..input(APP)
        };
        let told = Catalog::new(wrong).unwrap_err().to_string();
        assert!(told.contains(&format!("did you mean `{right}`?")), "{told}");
    }
}

#[test]
fn an_unknown_template_in_the_configuration_is_shown_where_it_stands() {
    let file = Source::new(
        "emperor.toml",
        "[vassal]\ntemplate = 'aap'\n[templates.elsewhere]\n",
    );
    let wrong = CatalogInput {
        default_template: Some("aap".parse().unwrap()),
        overlays: [("elsewhere".parse().unwrap(), Source::new("x", ""))].into(),
        mentions: [
            ("aap".parse().unwrap(), file.place(20..25)),
            ("elsewhere".parse().unwrap(), file.place(37..46)),
        ]
        .into(),
        ..input(APP)
    };
    assert_snapshot!(Catalog::new(wrong).unwrap_err(), @r#"
    error: there is no template "aap"
     --> emperor.toml:2:12
      |
    2 | template = 'aap'
      |            ^^^^^ did you mean "app"?

    error: there is no template "elsewhere"
     --> emperor.toml:3:12
      |
    3 | [templates.elsewhere]
      |            ^^^^^^^^^
      |
      = help: `emperor template list` names those there are
    "#);
}

#[test]
fn an_overlay_can_mend_no_template_but_can_break_only_the_configuration() {
    let over_broken = CatalogInput {
        overlays: [("app".parse().unwrap(), Source::new("x", "command = ['y']"))].into(),
        ..input("description = 'no command'")
    };
    let catalog = catalog(over_broken);
    assert!(catalog.resolve(&Arc::new(site(""))).is_err());
}
