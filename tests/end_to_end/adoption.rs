//! The death of the emperor: nobody notices, and the next one goes on with everything.

use nix::sys::signal::Signal;
use serde_json::Value;
use support::processes::Process;
use support::{House, Load, PATIENCE, eventually};

/// Kills the emperor and nothing else.
fn kill(house: &mut House) {
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
}

fn process(pid: &Value) -> Process {
    Process::new(i32::try_from(pid.as_i64().unwrap()).unwrap())
}

/// The pids of the router and of the worker of each site's page.
async fn pids(house: &House, hosts: &[&str]) -> Vec<Value> {
    let mut pids = vec![house.emperor.status().await["router"]["pid"].clone()];
    for host in hosts {
        pids.push(house.page(host).await["pid"].clone());
    }
    pids
}

/// Lets every visitor be answered some times more.
async fn go_on(load: &Load) {
    let before = load.answered();
    eventually("more answers", PATIENCE, async || {
        let answered = load.answered();
        let enough = answered > before + 40;
        enough.then_some(()).ok_or_else(|| answered.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_killed_emperor_costs_no_request_and_the_next_one_goes_on_with_everything() {
    let mut house = House::open().await;
    let hosts = ["one.example", "two.example"];
    for slug in ["one", "two"] {
        house.insert_tiny(slug, "").await;
    }
    let before = pids(&house, &hosts).await;
    let load = Load::start(house.client, &hosts, "/");
    for _ in 0..2 {
        kill(&mut house);
        go_on(&load).await;
        house.emperor.start_again().await;
        for slug in ["one", "two"] {
            let site = house.emperor.in_state(slug, "ready").await;
            assert_eq!(site["restarts"], 0);
        }
        go_on(&load).await;
    }
    load.stop().await;
    assert_eq!(pids(&house, &hosts).await, before);
    // What was adopted is supervised as before, and ends with the emperor.
    process(&before[1]).signal(Signal::SIGKILL);
    house
        .page_where("one.example", |page| page["pid"] != before[1])
        .await;
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
}

#[tokio::test]
async fn rows_that_changed_while_there_was_no_emperor_are_followed_without_loss() {
    let mut house = House::open().await;
    for slug in ["same", "changed", "removed"] {
        house.insert_tiny(slug, "old").await;
    }
    let hosts = ["same.example", "changed.example"];
    let before = pids(&house, &hosts).await;
    let removed = house.page("removed.example").await["pid"].clone();
    let load = Load::start(house.client, &hosts, "/");
    kill(&mut house);
    house.set_marker("changed", "new").await;
    house
        .sql("DELETE FROM emperor.sites WHERE slug = 'removed'", &[])
        .await;
    house.emperor.start_again().await;
    let changed = house
        .page_where("changed.example", |page| page["marker"] == "new")
        .await;
    assert_ne!(changed["pid"], before[2]);
    for pid in [&before[2], &removed] {
        eventually("the end of an old worker", PATIENCE, async || {
            let ended = !process(pid).is_alive();
            ended.then_some(()).ok_or_else(|| pid.to_string())
        })
        .await;
    }
    load.stop().await;
    let after = pids(&house, &hosts).await;
    assert_eq!(after[..2], before[..2]);
}

#[tokio::test]
async fn a_worker_that_ended_while_there_was_no_emperor_is_noticed() {
    let mut house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = house.page("one.example").await["pid"].clone();
    kill(&mut house);
    process(&before).signal(Signal::SIGKILL);
    house.emperor.start_again().await;
    house
        .page_where("one.example", |page| page["pid"] != before)
        .await;
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["restarts"], 1);
}
