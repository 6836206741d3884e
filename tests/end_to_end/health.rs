//! Workers that no longer do what they are for, without having ended.

use hyper::StatusCode;
use nix::sys::signal::Signal;
use serde_json::Value;
use support::house::vars;
use support::place::python;
use support::processes::Process;
use support::{House, PATIENCE, Row, eventually};

fn worker(page: &Value) -> Process {
    Process::new(i32::try_from(page["pid"].as_i64().unwrap()).unwrap())
}

/// Inserts a row whose worker can be asked to fall silent, or to hang; returns its worker.
async fn watched(house: &House) -> Process {
    let (python, app) = (python(), house.place.fixture("python"));
    let values = [("python", &python), ("app_dir", &app)];
    let values = values.map(|(name, path)| (name, path.to_str().unwrap()));
    house
        .insert(&Row::new("watched", "watched", &vars(&values)))
        .await;
    worker(&house.page("watched.example").await)
}

/// Waits until another worker alone serves a site. Nothing is asked of it: whoever answers is well.
async fn replaced(house: &House, slug: &str, before: Process) {
    eventually("another worker", PATIENCE, async || {
        let site = house.emperor.site(slug).await.unwrap_or_default();
        let instances = site["instances"].as_array().cloned().unwrap_or_default();
        let ready = instances.iter().all(|one| one["state"] == "ready");
        let other = instances.iter().all(|one| one["pid"] != before.pid());
        let done = ready && other && instances.len() == 1;
        done.then_some(()).ok_or_else(|| site.to_string())
    })
    .await;
}

/// What the emperor says happened to a site.
async fn story(house: &House, slug: &str) -> String {
    let told = house.emperor.run(&["status", slug]).await;
    assert_eq!(told.code, 0, "{told:?}");
    told.out
}

#[tokio::test]
async fn who_no_longer_says_that_it_lives_is_replaced_although_it_answers() {
    let house = House::open_with("[templates.watched.health]\nwatchdog = \"2s\"").await;
    let before = watched(&house).await;
    let asked = house.client.get("watched.example", "/silent").await;
    assert_eq!(asked.status, StatusCode::OK);
    replaced(&house, "watched", before).await;
    let told = story(&house, "watched").await;
    assert!(told.contains("it has not sent WATCHDOG=1"), "{told}");
    let after = worker(&house.page("watched.example").await);
    assert_ne!(after, before);
}

#[tokio::test]
async fn who_hangs_is_replaced_whatever_it_says_and_whoever_is_connected() {
    let probed = "[templates.watched.health]\npath = \"/\"\ninterval = \"1s\"\ntimeout = \"1s\"";
    let house = House::open_with(probed).await;
    let before = watched(&house).await;
    let tunnel = house.client.websocket("watched.example").await;
    let asked = house.client.get("watched.example", "/hang").await;
    assert_eq!(worker(&asked.json()), before);
    replaced(&house, "watched", before).await;
    let told = story(&house, "watched").await;
    assert!(!told.contains("WATCHDOG"), "{told}");
    assert!(told.contains("unwell"), "{told}");
    drop(tunnel);
}

#[tokio::test]
async fn a_stopped_worker_is_replaced_and_ends_the_request_it_has() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = worker(&house.page("one.example").await);
    before.signal(Signal::SIGSTOP);
    let (page, ()) = tokio::join!(
        house.client.get("one.example", "/"),
        replaced(&house, "one", before)
    );
    assert_eq!(worker(&page.json()), before, "it was let go on");
    let site = house.emperor.site("one").await.unwrap();
    assert_eq!(site["restarts"], 0);
}
