//! The command line: what it prints, and its exit status.

use serde_json::Value;
use support::{Emperor, House, PATIENCE, Place, Row, eventually};

async fn check(house: &House, arguments: &[&str], code: i32, words: &[&str]) -> String {
    let outcome = house.emperor.run(arguments).await;
    assert_eq!(outcome.code, code, "{arguments:?}: {outcome:?}");
    let told = outcome.out + &outcome.err;
    for word in words {
        assert!(
            told.contains(word),
            "{arguments:?} doesn't tell {word:?}:\n{told}"
        );
    }
    told
}

#[tokio::test]
async fn reading_commands_tell_what_is_there() {
    let house = House::open().await;
    let id = house.insert_tiny("one", "").await.to_string();
    house.page("one.example").await;
    house.emperor.in_state("one", "ready").await;
    check(&house, &["status"], 0, &["one", "ready", "one.example"]).await;
    check(&house, &["status", "one"], 0, &["one.example"]).await;
    check(&house, &["status", &id], 0, &["one.example"]).await;
    check(&house, &["status", "two"], 4, &["two"]).await;
    check(&house, &["site", "list"], 0, &["one", "tiny"]).await;
    check(
        &house,
        &["site", "show", "one"],
        0,
        &["one", "tiny", "one.example"],
    )
    .await;
    check(&house, &["site", "show", "two"], 4, &["two"]).await;
    check(&house, &["logs", "two"], 4, &["two"]).await;
    check(
        &house,
        &["template", "list"],
        0,
        &["gunicorn", "uwsgi", "node", "demo", "tiny"],
    )
    .await;
    check(&house, &["template", "show", "gunicorn"], 0, &["[vars]"]).await;
    check(&house, &["template", "show", "gunicron"], 1, &["gunicorn"]).await;
    check(&house, &["check"], 0, &[]).await;
    check(&house, &["db", "status"], 0, &["127.0.0.1"]).await;
    check(&house, &["completions", "bash"], 0, &["emperor"]).await;
    check(&house, &["man"], 0, &["emperor"]).await;
    check(
        &house,
        &["status", "--no-such-flag"],
        2,
        &["--no-such-flag"],
    )
    .await;
    let url = check(&house, &["db", "url"], 0, &[]).await;
    assert_eq!(url.trim(), house.postgres.url());
}

#[tokio::test]
async fn every_reading_command_has_json() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    house.page("one.example").await;
    for command in [
        "status --json",
        "status one --json",
        "site list --json",
        "site show one --json",
        "check --json",
        "template list --json",
        "template show tiny --json",
        "template render one --json",
        "db status --json",
        "db url --json",
    ] {
        let arguments: Vec<_> = command.split(' ').collect();
        let text = check(&house, &arguments, 0, &[]).await;
        let parsed: Result<Value, _> = serde_json::from_str(&text);
        assert!(parsed.is_ok(), "{command}: {text}");
    }
}

#[tokio::test]
async fn rows_are_edited_without_sql() {
    let house = House::open().await;
    let overlay = house.place.join("overlay.toml");
    std::fs::write(&overlay, house.tiny_vars("cli")).unwrap();
    let overlay = overlay.to_str().unwrap();
    let add = [
        "site",
        "add",
        "one",
        "--template",
        "tiny",
        "--domain",
        "one.example",
        "--alias",
        "*.one.example",
        "--extra-config",
        overlay,
    ];
    check(&house, &add, 0, &[]).await;
    house
        .page_where("www.one.example", |page| page["marker"] == "cli")
        .await;
    check(&house, &add, 1, &["one"]).await;
    check(
        &house,
        &["site", "set", "one", "--domain", "new.example"],
        0,
        &[],
    )
    .await;
    house.page("new.example").await;
    check(&house, &["site", "disable", "one"], 0, &[]).await;
    house.emperor.in_state("one", "disabled").await;
    check(&house, &["site", "enable", "one"], 0, &[]).await;
    house.page("new.example").await;
    check(&house, &["site", "remove", "one"], 0, &[]).await;
    check(&house, &["site", "remove", "one"], 4, &["one"]).await;
    check(&house, &["reload", "one"], 4, &["one"]).await;
}

#[tokio::test]
async fn check_names_every_wrong_row_and_starts_nothing() {
    let house = House::open().await;
    house.insert(&Row::new("wrong", "tniy", "")).await;
    house.emperor.in_state("wrong", "rejected").await;
    check(&house, &["check"], 1, &["wrong", "tniy", "tiny"]).await;
}

#[tokio::test]
async fn render_shows_what_runs_and_where_each_value_came_from() {
    let house = House::open_with("[templates.tiny]\nenv.A = \"from the config\"").await;
    house.insert_tiny("one", "from the row").await;
    house.page("one.example").await;
    let program = house.place.tiny_worker();
    let words = [
        program.to_str().unwrap(),
        "from the config",
        "from the row",
        "tiny.toml",
        "emperor.toml",
        "extra_config",
    ];
    check(&house, &["template", "render", "one"], 0, &words).await;
}

#[tokio::test]
async fn logs_show_what_a_worker_wrote_with_its_instance() {
    let house = House::open().await;
    house.insert(&Row::new("one", "grumbler", "")).await;
    eventually("its last words", PATIENCE, async || {
        let outcome = house.emperor.run(&["logs", "one", "--lines", "5"]).await;
        let told = outcome.out.contains("out of luck today");
        told.then_some(()).ok_or_else(|| format!("{outcome:?}"))
    })
    .await;
    let text = check(
        &house,
        &["logs", "one", "--json"],
        0,
        &["out of luck today"],
    )
    .await;
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(record["line"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn psql_leads_into_the_database() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    let query = ["db", "psql", "--", "-Atc", "SELECT slug FROM emperor.sites"];
    check(&house, &query, 0, &["one"]).await;
}

#[tokio::test]
async fn without_a_daemon_status_is_3_and_a_bad_configuration_2_with_its_line() {
    let place = Place::new();
    let emperor = Emperor::prepare(&place, "state_dir = \"state\"\nruntime_dir = \"run\"\n");
    let outcome = emperor.run(&["status"]).await;
    assert_eq!(outcome.code, 3, "{outcome:?}");
    emperor.configure("node = \"a\"\n[router]\nlisen = [\"127.0.0.1:1\"]\n");
    for command in ["status", "check", "run"] {
        let outcome = emperor.run(&[command]).await;
        assert_eq!(outcome.code, 2, "{outcome:?}");
        let told = outcome.out + &outcome.err;
        for word in ["lisen", "listen", "3"] {
            assert!(told.contains(word), "{command}: {told}");
        }
    }
}

#[tokio::test]
async fn a_second_emperor_on_one_of_its_folders_is_refused_and_disturbs_nothing() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    let served_by = house.page("one.example").await["pid"].clone();
    let router = house.emperor.router().await;
    for (state, runtime) in [("state", "elsewhere"), ("elsewhere", "run")] {
        let path = |name: &str| house.place.join(name).to_str().unwrap().to_owned();
        let config = format!(
            "state_dir = {:?}\nruntime_dir = {:?}\n[router]\nlisten = [\"127.0.0.1:0\"]\n",
            path(state),
            path(runtime),
        );
        let file = path("second.toml");
        std::fs::write(&file, config).unwrap();
        let pid = house.emperor.process().pid().to_string();
        check(
            &house,
            &["run", "--config", &file],
            1,
            &["another emperor", &pid],
        )
        .await;
    }
    assert_eq!(house.page("one.example").await["pid"], served_by);
    assert_eq!(house.emperor.router().await, router);
}
