//! Rows that are refused, and how their operators read it.

use std::sync::Arc;

use insta::assert_snapshot;
use site_model::{RejectionReason, RunAs};
use vassal_core::overlay::SiteTables;
use vassal_core::resolve::Privilege;
use vassal_core::{CatalogInput, Policy};

use crate::support::{APP, catalog, input, rejection, resolve, site};

#[test]
fn every_mistake_of_a_row_is_told_at_once_in_the_order_of_its_lines() {
    let row = "\
vars.wrokers = 3
[redy]
timeout = \"5s\"
[ready]
timeuot = \"5s\"
timeout = 5
probe = \"htp\"
";
    assert_snapshot!(rejection(APP, row), @r#"
    error: unknown key `redy`
     --> site 12 extra_config:2:2
      |
    2 | [redy]
      |  ^^^^ did you mean `ready`?

    error: unknown key `ready.timeuot`
     --> site 12 extra_config:5:1
      |
    5 | timeuot = "5s"
      | ^^^^^^^ did you mean `ready.timeout`?

    error: 5 of what? a duration is written "500ms", "30s", "5m", "2h" or "7d"
     --> site 12 extra_config:6:11
      |
    6 | timeout = 5
      |           ^

    error: `htp` is none of http, notify, connect
     --> site 12 extra_config:7:9
      |
    7 | probe = "htp"
      |         ^^^^^ did you mean `http`?
    "#);
}

#[test]
fn a_variable_that_the_template_lacks_is_told_with_the_nearest() {
    assert_snapshot!(rejection(APP, "vars.wrokers = 3"), @r"
    error: the template has no variable `wrokers`
     --> site 12 extra_config:1:6
      |
    1 | vars.wrokers = 3
      |      ^^^^^^^ did you mean `workers`?
    ");
}

#[test]
fn a_variable_that_the_site_has_to_fill_in_is_told_with_its_help() {
    let template = "command = ['{{ vars.dir }}']\n[vars]\ndir = { help = 'where it lives' }\n";
    assert_snapshot!(rejection(template, ""), @r"
    error: the site has to fill in `vars.dir`: where it lives
     --> app.toml:3:7
      |
    3 | dir = { help = 'where it lives' }
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^ declared here without a default
      |
      = help: add a line `vars.dir = ...` to the row's extra_config
    ");
}

#[test]
fn what_the_policy_doesn_t_permit_is_told_with_the_key_to_change() {
    assert_snapshot!(rejection(APP, "command = ['sh']"), @r#"
    error: a site's row may not set `command`
     --> site 12 extra_config:1:1
      |
    1 | command = ['sh']
      | ^^^^^^^
      |
      = help: whoever runs the machine may permit it: add "command" to `site_may_set` in [policy] of emperor.toml
    "#);
    for table in [
        "listen",
        "protocol",
        "working_dir",
        "files",
        "limits",
        "description",
    ] {
        let refused = rejection(APP, &format!("{table} = 'x'"));
        assert!(
            refused.contains(&format!("may not set `{table}`")),
            "{refused}"
        );
    }
}

#[test]
fn a_table_the_policy_permits_can_be_set() {
    let catalog = catalog(CatalogInput {
        policy: Policy {
            site_may_set: SiteTables::parse(["command"]).unwrap(),
            allow_root: false,
        },
        ..input(APP)
    });
    assert!(catalog.resolve(&Arc::new(site("command = ['sh']"))).is_ok());
    let refused = catalog.resolve(&Arc::new(site("vars.workers = 2")));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("may not set `vars`")
    );
}

fn check(row: &str, expected: &str) {
    let refused = rejection(APP, row);
    assert!(refused.contains(expected), "{row}\n{refused}");
    assert!(
        refused.contains("site 12 extra_config:1:"),
        "{row}\n{refused}"
    );
    assert!(!refused.contains('\u{1b}'), "{refused}");
}

#[test]
fn impossible_values_are_told_at_their_place() {
    check("idle.stop_after = '-5s'", "is no whole number");
    check("idle.stop_after = '5'", "5 of what?");
    check("idle.answer_without_waking = '/'", "a list of paths");
    check("idle.answer_without_waking = ['up']", "begins with `/`");
    check("ready.timeout = '0s'", "can't be 0");
    check("ready.timeout = '99999d'", "at most 3650d");
    check("recycle.max_memory = 5", "5 of what? a size");
    check("recycle.max_memory = '5QB'", "\"QB\" is no unit");
    check("recycle.max_requests = -1", "a number from 0");
    check("instances.min = 0", "a number from 1 to 1000");
    check("instances.max_surge = 0", "by one that is ready beside it");
    check("instances.max = 1.5", "this is a fraction");
    check("ready.path = 'x'", "begins with `/`");
    check("ready.path = '/a b'", "no blanks");
    check("ready.status = '200-99'", "is no status");
    check("ready.status = '+20'", "is no status");
    check("ready = 5", "a table [ready] is due");
    check("stop.signal = 'TERM'", "none of SIGTERM");
    check("cache.mode = 'on'", "none of off, http, until-purged");
    check("cache.ignore = ['(']", "no regular expression");
    check("cache.cookies = ['a b']", "a cookie's name");
    check("cache.ignore_query = ['a*b']", "at the end alone");
    check(
        "cache.path = [{ match = '[', mode = 'off' }]",
        "no regular expression",
    );
    check("cache.path = [{ match = 'x' }]", "`mode` is missing");
    check(
        "cache.path = [{ match = 'x', mode = 'on' }]",
        "none of off, http, until-purged",
    );
    check(
        "cache.path = [{ macth = 'x', mode = 'off' }]",
        "did you mean `match`?",
    );
    check("env.SITE_ID = '9'", "the emperor's own");
    check("env.LISTEN_FDS = '9'", "the emperor's own");
    check("env.'A=B' = '9'", "no '='");
    check("env.A = 5", "a string, in quotes, is due");
    check("env.A = \"a\\u0000b\"", "NUL byte");
    check("vars.workers = 'two'", "`vars.workers` is a whole number");
    check("vars.workers = { default = 2 }", "templates declare them");
    check("vars.python = \"a\\nb\"", "line breaks");
    check("vars.args = ['a', \"b\\u0000\"]", "control characters");
}

#[test]
fn names_in_a_row_are_checked_and_expressions_are_not_for_rows() {
    check("env.A = '{{ site.slugg }}'", "did you mean `site.slug`?");
    check(
        "env.A = '{{ vars.wrokers }}'",
        "did you mean `vars.workers`?",
    );
    check(
        "env.A = '{{ files[\"app.cnf\"] }}'",
        "did you mean `files[\"app.conf\"]`?",
    );
    check(
        "vars.python = '{{ vars.workers }}'",
        "unknown name `vars.workers`",
    );
    check("env.A = '{{ \"x\" * 100000000 }}'", "only names can stand");
    check("env.A = '{% for a in b %}'", "only names can stand");
}

#[test]
fn an_unknown_template_is_told_with_the_nearest() {
    let mut row = site("");
    row.template = Some("aap".parse().unwrap());
    let refused = catalog(input(APP)).resolve(&Arc::new(row)).unwrap_err();
    let expected = RejectionReason::UnknownTemplate {
        name: "aap".to_owned(),
        nearest: Some("app".to_owned()),
    };
    assert_eq!(refused, expected);
}

#[test]
fn a_row_without_a_template_needs_a_default_one() {
    let catalog = catalog(CatalogInput {
        default_template: None,
        ..input(APP)
    });
    let refused = catalog.resolve(&Arc::new(site(""))).unwrap_err();
    assert!(matches!(
        refused,
        RejectionReason::Column {
            column: "template",
            ..
        }
    ));
}

#[test]
fn run_as_is_the_row_s_then_the_configuration_s_then_the_emperor_s_choice() {
    let check = |privilege: Privilege, default: Option<&str>, row: Option<&str>, expected| {
        let parse = |text: &str| RunAs::parse(text).unwrap();
        let catalog = catalog(CatalogInput {
            privilege,
            default_run_as: default.map(parse),
            ..input(APP)
        });
        let mut site = site("");
        site.run_as = row.map(parse);
        let spec = catalog.resolve(&Arc::new(site));
        let run_as = spec.map(|spec| spec.run_as.to_string());
        assert_eq!(run_as.ok().as_deref(), expected);
    };
    let me = || Privilege::User("me".to_owned());
    check(Privilege::Root, None, None, Some("auto"));
    check(Privilege::Root, Some("web"), None, Some("web"));
    check(Privilege::Root, Some("web"), Some("auto"), Some("auto"));
    check(Privilege::Root, None, Some("root"), None);
    check(me(), None, None, Some("me"));
    check(me(), None, Some("auto"), None);
}

#[test]
fn a_broken_row_says_nothing_of_others() {
    let catalog = catalog(input(APP));
    assert!(catalog.resolve(&Arc::new(site("x"))).is_err());
    assert!(catalog.resolve(&Arc::new(site(""))).is_ok());
    assert!(resolve(APP, "  \n# a comment\n").is_ok());
}

#[test]
fn a_limit_that_never_comes_to_hold_is_refused() {
    let template = "\
command = ['x']
[limits]
memory_max = '1MiB'
memory_high = '2MiB'
";
    assert_snapshot!(rejection(template, ""), @r#"
    its template app is broken:
    error: `limits.memory_high` is more than `limits.memory_max`
     --> app.toml:4:15
      |
    4 | memory_high = '2MiB'
      |               ^^^^^^
    "#);
}

#[test]
fn a_mistake_in_a_limit_or_a_wall_is_told_with_what_would_be_right() {
    let template = "\
command = ['x']
[limits]
cpu_max = '1.5'
swap_max = 0
cpu_weight = 10001
[sandbox]
required = 'yes'
writable = ['media']
syscalls = 'on'
capabilities = ['NET_BIND_SERVICE', 'cap_chown']
";
    assert_snapshot!(rejection(template, ""), @r#"
    its template app is broken:
    error: `1.5` is no whole percentage from 0% to 100000%
     --> app.toml:3:11
      |
    3 | cpu_max = '1.5'
      |           ^^^^^
      |
      = help: 100% is one core; two and a half are "250%"

    error: 0 of what? a size is written "64KiB", "256MiB" or "2GiB"
     --> app.toml:4:12
      |
    4 | swap_max = 0
      |            ^

    error: this is a number from 0 to 10000
     --> app.toml:5:14
      |
    5 | cpu_weight = 10001
      |              ^^^^^

    error: true or false is due here
     --> app.toml:7:12
      |
    7 | required = 'yes'
      |            ^^^^^ this is a string

    error: a path here is absolute
     --> app.toml:8:13
      |
    8 | writable = ['media']
      |             ^^^^^^^

    error: `on` is none of service, off
     --> app.toml:9:12
      |
    9 | syscalls = 'on'
      |            ^^^^

    error: `NET_BIND_SERVICE` is no capability
      --> app.toml:10:17
       |
    10 | capabilities = ['NET_BIND_SERVICE', 'cap_chown']
       |                 ^^^^^^^^^^^^^^^^^^ did you mean `CAP_NET_BIND_SERVICE`?
    "#);
}

#[test]
fn a_row_can_neither_lift_limits_nor_walls() {
    for (row, table) in [
        ("limits.memory_max = '0'", "limits"),
        ("sandbox.syscalls = 'off'", "sandbox"),
    ] {
        let told = rejection(APP, row);
        let expected = format!("error: a site's row may not set `{table}`");
        assert!(told.starts_with(&expected), "{told}");
    }
}
