//! Sites that stop for want of requests, and the visitors who come at the wrong moment.

use hyper::StatusCode;
use support::processes::Process;
use support::scenario::insert_many;
use support::scenario::sleep::race_the_stop;
use support::{House, PATIENCE, Row, eventually};

/// A tiny worker that sleeps so soon.
async fn insert_sleepy(house: &House, slug: &str, stop_after: &str) {
    let idle = format!(
        "\n[idle]\nstop_after = \"{stop_after}\"\nanswer_without_waking = [\"/healthz\"]\n"
    );
    let row = Row::new(slug, "tiny", &(house.tiny_vars("") + &idle));
    house.insert(&row).await;
}

#[tokio::test]
async fn a_site_sleeps_until_a_request_comes_and_sleeps_again() {
    let house = House::open().await;
    insert_sleepy(&house, "one", "1s").await;
    let asleep = house.emperor.in_state("one", "sleeping").await;
    assert_eq!(asleep["instances"], serde_json::json!([]));
    let healthy = house.client.get("one.example", "/healthz").await;
    assert_eq!(healthy.status, StatusCode::NO_CONTENT);
    house.emperor.in_state("one", "sleeping").await;
    for _ in 0..2 {
        let page = house.client.get("one.example", "/").await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text());
        let worker = Process::new(i32::try_from(page.json()["pid"].as_i64().unwrap()).unwrap());
        // It is awake for a second: who looks at it too late sees it asleep again.
        eventually("the worker's end", PATIENCE, async || {
            let ended = !worker.is_alive();
            ended
                .then_some(())
                .ok_or_else(|| format!("{worker:?} lives"))
        })
        .await;
        let asleep = house.emperor.in_state("one", "sleeping").await;
        assert_eq!(asleep["restarts"], 0);
    }
}

#[tokio::test]
async fn a_checker_that_asks_again_and_again_keeps_no_site_awake() {
    let house = House::open().await;
    insert_sleepy(&house, "one", "1s").await;
    house.page("one.example").await;
    // Far more often than the site would fall asleep.
    eventually("the sleep", PATIENCE, async || {
        let check = house.client.get("one.example", "/healthz").await;
        let is_asleep = check.status == StatusCode::NO_CONTENT;
        is_asleep.then_some(()).ok_or_else(|| check.text())
    })
    .await;
    let asleep = house.emperor.in_state("one", "sleeping").await;
    assert_eq!(asleep["restarts"], 0);
}

#[tokio::test]
async fn a_visitor_wakes_a_site_though_a_bulk_insert_waits_for_its_first_starts() {
    // None of them gets ready or ends, so each has its place for the 10 s that it may: together
    // for far longer than a request waits.
    const ROWS: usize = 30;
    let house = House::open_with("[spawn]\nmax_starting = 2").await;
    insert_sleepy(&house, "one", "1h").await;
    house.emperor.in_state("one", "sleeping").await;
    insert_many(&house, "mute", ROWS, "mute", "").await;
    eventually("the line", PATIENCE, async || {
        let (starting, queued) = (
            in_state(&house, "starting").await,
            in_state(&house, "queued").await,
        );
        (starting > 0 && starting + queued >= ROWS)
            .then_some(())
            .ok_or_else(|| format!("{starting} start and {queued} wait"))
    })
    .await;
    let page = house.client.get("one.example", "/").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    assert!(in_state(&house, "queued").await > 0, "nobody was passed");
}

/// How many instances are in a state.
async fn in_state(house: &House, state: &str) -> usize {
    let status = house.emperor.status().await;
    let sites = status["sites"].as_array().unwrap().iter();
    let instances = sites.flat_map(|site| site["instances"].as_array().unwrap());
    instances
        .filter(|instance| instance["state"] == state)
        .count()
}

#[tokio::test]
async fn no_request_that_races_the_stop_is_lost() {
    let house = House::open().await;
    let races = race_the_stop(&house, 4, 24).await;
    assert_eq!(races.failures, [""; 0]);
    assert!(races.woken >= 24, "{races:?}");
    assert!(races.answered > races.woken, "nobody came before a stop");
}
