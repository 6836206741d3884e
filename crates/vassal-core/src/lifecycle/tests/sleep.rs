//! Sleep for want of requests, and what ends it.

use super::story::{Story, check};

/// A site that sleeps after a minute without a request, and serves.
fn awake() -> Story {
    let mut story = Story::default();
    story.hear_all(&["want 1 sleepy", "load 0 0 0", "wake", "permit 0 1"]);
    story.hear_all(&["spawned 1", "ready 1", "acked 3"]);
    assert_eq!(story.state(), "ready");
    story
}

fn told(steps: &[&str]) -> Story {
    let mut story = awake();
    story.hear_all(steps);
    story
}

#[test]
fn who_may_sleep_begins_asleep_and_the_first_request_wakes_it() {
    check(&[
        ("want 1 sleepy", "publish asleep", "sleeping"),
        ("load 0 0 0", "", "sleeping"),
        (
            "wake",
            "ask 0 for visitors, publish waiting",
            "waking: waits for its turn to start",
        ),
        ("wake", "", "waking: waits for its turn to start"),
        (
            "permit 0 1",
            "spawn 1 as #1 of 01",
            "waking: its worker is starting",
        ),
        ("spawned 1", "probe 1", "waking: its worker is starting"),
        ("load 1 1 0", "", "waking: its worker is starting"),
        (
            "ready 1",
            "return 0, publish 1",
            "waking: its worker is ready, the fastrouter doesn't know yet",
        ),
        ("acked 3", "", "ready"),
    ]);
}

#[test]
fn without_requests_it_leaves_the_route_and_then_its_worker_ends() {
    let mut story = awake();
    assert_eq!(story.hear("after 59"), "");
    assert_eq!(story.hear("after 1"), "publish asleep");
    assert_eq!(story.state(), "sleeping: its worker is ending");
    assert_eq!(story.hear("acked 4"), "await idle 1");
    assert_eq!(story.hear("idle 1"), "signal 1");
    assert!(!story.life.as_ref().unwrap().is_at_rest());
    assert_eq!(story.hear("exit 1"), "clean 1");
    assert_eq!(story.state(), "sleeping");
    let life = story.life.unwrap();
    assert!(life.is_at_rest());
    assert_eq!(life.deadline(), None);
    assert_eq!(life.restarts(), 0);
}

#[test]
fn requests_keep_it_awake_and_the_pause_counts_from_the_last() {
    let mut story = told(&["after 30", "load 1 0 1"]);
    assert_eq!(story.hear("after 3600"), "", "one long request");
    story.hear("load 1 0 0");
    assert_eq!(story.hear("after 59"), "");
    assert_eq!(story.hear("load 2 0 0"), "", "it came and went unseen");
    assert_eq!(story.hear("after 59"), "");
    assert_eq!(story.hear("load 2 0 0"), "", "told again, it is no news");
    assert_eq!(story.hear("after 1"), "publish asleep");
}

#[test]
fn nobody_is_put_to_sleep_while_no_router_tells_of_requests() {
    let mut story = told(&["unseen"]);
    assert_eq!(story.hear("after 3600"), "");
    story.hear("load 0 0 0");
    assert_eq!(story.hear("after 59"), "");
    assert_eq!(story.hear("after 1"), "publish asleep");
    assert_eq!(story.hear("unseen"), "");
    assert_eq!(story.hear("after 3600"), "", "it may still get requests");
    assert_eq!(story.hear("acked 4"), "await idle 1");
    assert_eq!(story.hear("after 29"), "");
    assert_eq!(story.hear("after 1"), "signal 1");
}

#[test]
fn a_request_that_comes_while_the_route_is_taken_down_finds_the_same_worker() {
    let mut story = told(&["after 60"]);
    assert_eq!(story.hear("wake"), "publish 1");
    story.hear("acked 4");
    assert_ne!(story.state(), "ready", "that was the route without it");
    story.hear("acked 5");
    assert_eq!(story.state(), "ready");
    assert_eq!(story.hear("idle 1"), "");
    assert_eq!(story.hear("after 59"), "");
    assert_eq!(
        story.hear("after 1"),
        "publish asleep",
        "it dozes off again"
    );
}

#[test]
fn a_request_that_comes_while_the_worker_ends_starts_another() {
    for drained in [
        &["after 60", "acked 4"][..],
        &["after 60", "acked 4", "idle 1"],
    ] {
        let mut story = told(drained);
        assert_eq!(story.hear("wake"), "ask 1 for visitors, publish waiting");
        assert_eq!(story.hear("permit 1 2"), "spawn 2 as #2 of 01");
        story.hear_all(&["exit 1", "spawned 2", "ready 2", "acked 9"]);
        assert_eq!(story.state(), "ready");
    }
}

#[test]
fn waiting_requests_wake_it_though_the_call_was_lost() {
    let mut story = told(&["after 60", "acked 4", "idle 1", "exit 1"]);
    assert_eq!(
        story.hear("load 1 1 0"),
        "ask 1 for visitors, publish waiting"
    );
}

#[test]
fn whom_a_visitor_waits_for_comes_before_whom_nobody_waits_for() {
    check(&[
        (
            "want 1",
            "ask 0, publish waiting",
            "starting: waits for its turn to start",
        ),
        ("load 0 0 0", "", "starting: waits for its turn to start"),
        (
            "load 1 1 0",
            "return 0, ask 1 for visitors",
            "starting: waits for its turn to start",
        ),
        ("load 1 0 0", "", "starting: waits for its turn to start"),
        (
            "permit 1 1",
            "spawn 1 as #1 of 01",
            "starting: its worker is starting",
        ),
    ]);
}

#[test]
fn a_worker_that_ends_while_requests_wait_has_a_successor_before_others() {
    let mut story = told(&["load 1 1 0", "exit 1"]);
    assert_eq!(story.hear("after 1"), "ask 1 for visitors");
}

#[test]
fn a_replacement_and_trouble_keep_it_awake() {
    let mut story = told(&["after 59", "want 2 sleepy"]);
    assert_eq!(story.hear("after 59"), "", "counted anew");
    story.hear_all(&["permit 1 2", "spawned 2"]);
    assert_eq!(story.hear("after 40"), "", "both are there");
    story.hear("unready 2");
    assert!(story.state().starts_with("ready: revision 0202"));
    assert_eq!(story.hear("exit 2"), "clean 2, return 1");
    let mut story = told(&["exit 1"]);
    assert!(story.state().starts_with("backing-off"));
    assert_eq!(story.hear("after 3600"), "ask 1");
}

#[test]
fn what_is_edited_asleep_stays_asleep_and_is_not_fallen_back_from() {
    let asleep = ["after 60", "acked 4", "idle 1", "exit 1"];
    let mut story = told(&asleep);
    assert_eq!(story.hear("want 2 sleepy"), "publish asleep", "its hosts");
    assert_eq!(story.hear("reload"), "");
    assert_eq!(story.hear("reject"), "publish rejected");
    assert!(story.life.as_ref().unwrap().is_at_rest());
    assert_eq!(story.hear("disable"), "publish disabled");
    assert_eq!(story.state(), "disabled");
    assert!(story.life.as_ref().unwrap().is_at_rest());
    assert_eq!(story.hear("want 3 sleepy"), "publish asleep");
    assert_eq!(story.hear("wake"), "ask 1 for visitors, publish waiting");
    story.hear("permit 1 2");
    assert_eq!(story.hear("impossible 2"), "return 1, publish failed");
    let mut story = told(&asleep);
    assert_eq!(
        story.hear("want 2"),
        "ask 1, publish waiting",
        "never sleeps"
    );
    assert_eq!(story.state(), "starting: waits for its turn to start");
}

#[test]
fn a_reload_in_the_moment_of_dozing_off_is_a_reload() {
    let mut story = told(&["after 60", "reload"]);
    assert_eq!(
        story.hear("wake"),
        "ask 1 for visitors, publish waiting",
        "another worker"
    );
}

#[test]
fn a_site_that_dozes_off_and_is_removed_ends_without_a_router() {
    let mut story = told(&["after 60", "unseen", "remove"]);
    assert_eq!(story.hear("after 30"), "signal 1");
    assert_eq!(story.hear("exit 1"), "clean 1");
    assert!(story.life.unwrap().is_over());
}
