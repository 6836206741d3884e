//! The daemon's own life, and that of a worker that ends by itself.

use nix::sys::signal::Signal;
use support::house::vars;
use support::place::python;
use support::processes::Process;
use support::{House, Load, PATIENCE, Row, eventually};

#[tokio::test]
async fn sigterm_stops_everything_and_leaves_no_process() {
    let mut house = House::open().await;
    for slug in ["one", "two", "three"] {
        house.insert_tiny(slug, "").await;
        house.page(&format!("{slug}.example")).await;
    }
    assert!(house.emperor.processes().len() >= 5);
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
    assert!(house.client.try_get("one.example", "/").await.is_err());
}

#[tokio::test]
async fn a_second_sigterm_stops_what_will_not_end() {
    let mut house = House::open().await;
    let app = house.place.fixture("python");
    let values = [("python", python()), ("app_dir", app)];
    let values = values
        .each_ref()
        .map(|(name, path)| (*name, path.to_str().unwrap()));
    house
        .insert(&Row::new("stubborn", "stubborn", &vars(&values)))
        .await;
    house.page("stubborn.example").await;
    house.emperor.signal(Signal::SIGTERM);
    eventually("the drain", PATIENCE, async || {
        let gone = house.client.try_get("stubborn.example", "/").await.is_err();
        gone.then_some(()).ok_or_else(|| "still served".to_owned())
    })
    .await;
    house.emperor.signal(Signal::SIGTERM);
    // By itself it would take an hour.
    house.emperor.ended(PATIENCE);
    assert_eq!(house.emperor.processes(), []);
}

#[tokio::test]
async fn sighup_replaces_only_what_changed() {
    let house = House::open().await;
    let templates = house.place.fixture("templates");
    std::fs::copy(templates.join("tiny.toml"), templates.join("new.toml")).unwrap();
    house.insert_tiny("one", "").await;
    house
        .insert(&Row::new("two", "new", &house.tiny_vars("")))
        .await;
    house.emperor.in_state("two", "rejected").await;
    house.emperor.signal(Signal::SIGHUP);
    let one = house.page("one.example").await;
    let two = house.page("two.example").await;
    let load = Load::start(house.client, &["one.example", "two.example"], "/");
    house.configure("[templates.new]\nenv.FROM_CONFIG = \"yes\"");
    house.emperor.signal(Signal::SIGHUP);
    let replaced = house
        .page_where("two.example", |page| page["pid"] != two["pid"])
        .await;
    let worker = Process::new(i32::try_from(replaced["pid"].as_i64().unwrap()).unwrap());
    assert_eq!(worker.variable("FROM_CONFIG").as_deref(), Some("yes"));
    assert_eq!(house.page("one.example").await["pid"], one["pid"]);
    load.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_at_sighup_changes_nothing_and_is_told() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = house.page("one.example").await;
    house.configure("lisen = [\"127.0.0.1:1\"]");
    house.emperor.signal(Signal::SIGHUP);
    eventually("the cause", PATIENCE, async || {
        let told = house.emperor.log_text().contains("lisen");
        told.then_some(()).ok_or_else(|| house.emperor.log_tail())
    })
    .await;
    assert_eq!(house.page("one.example").await["pid"], before["pid"]);
}

#[tokio::test]
async fn a_killed_worker_is_back_at_once_and_counted() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = house.page("one.example").await;
    Process::new(i32::try_from(before["pid"].as_i64().unwrap()).unwrap()).signal(Signal::SIGKILL);
    let after = house
        .page_where("one.example", |page| page["pid"] != before["pid"])
        .await;
    assert_ne!(before["began_ns"], after["began_ns"]);
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["restarts"], 1);
}

#[tokio::test]
async fn a_crash_storm_costs_a_neighbour_nothing() {
    let house = House::open().await;
    house.insert_tiny("good", "").await;
    let before = house.page("good.example").await;
    let load = Load::start(house.client, &["good.example"], "/");
    for number in 1..=20 {
        house
            .insert(&Row::new(&format!("storm-{number}"), "grumbler", ""))
            .await;
    }
    for number in 1..=20 {
        let slug = format!("storm-{number}");
        eventually(&format!("three tries of {slug}"), PATIENCE, async || {
            let site = house.emperor.site(&slug).await.unwrap_or_default();
            let tried = site["restarts"]
                .as_u64()
                .is_some_and(|restarts| restarts >= 3);
            tried.then_some(()).ok_or_else(|| site.to_string())
        })
        .await;
    }
    load.stop().await;
    assert_eq!(house.page("good.example").await["pid"], before["pid"]);
}

#[tokio::test]
async fn after_a_killed_emperor_the_next_one_serves_and_nothing_runs_twice() {
    let mut house = House::open().await;
    let id = house.insert_tiny("one", "").await;
    house.page("one.example").await;
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
    house.emperor.start_again().await;
    house.page("one.example").await;
    house.emperor.in_state("one", "ready").await;
    eventually("one worker and one router", PATIENCE, async || {
        let processes = house.emperor.processes();
        let workers = processes
            .iter()
            .filter(|process| process.variable("SITE_ID") == Some(id.to_string()))
            .count();
        // The emperor, the router and the worker.
        let alone = workers == 1 && processes.len() == 3;
        alone.then_some(()).ok_or_else(|| format!("{processes:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_killed_router_is_replaced() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    let page = house.page("one.example").await;
    let router = house.emperor.router().await;
    router.signal(Signal::SIGKILL);
    // The listening socket outlives it: a connection waits, and none is refused.
    let again = eventually("an answer", PATIENCE, async || {
        match house.client.try_get("one.example", "/").await {
            Ok(answer) if answer.status.is_success() => Ok(answer.json()),
            Ok(answer) => Err(answer.text()),
            Err(support::client::NoAnswer::Connect(error)) => panic!("refused: {error}"),
            Err(broken) => Err(format!("{broken:?}")),
        }
    })
    .await;
    assert_eq!(page["pid"], again["pid"]);
}
