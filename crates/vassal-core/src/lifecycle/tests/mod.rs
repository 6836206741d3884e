//! The state machine, case by case and by simulation.

mod adoption;
mod checkup;
pub(crate) mod fixture;
mod hosts;
mod scaling;
mod simulation;
mod sleep;
mod story;
mod surge;
mod watch;
mod wear;

use site_model::{InstanceState, Revision};

use self::story::{Story, check};

/// A site whose first instance, of revision 1, serves.
const SERVING: [&str; 5] = ["want 1", "permit 0 1", "spawned 1", "ready 1", "acked 2"];

fn serving() -> Story {
    let mut story = Story::default();
    story.hear_all(&SERVING);
    assert_eq!(story.state(), "ready");
    story
}

fn told(steps: &[&str]) -> Story {
    let mut story = serving();
    story.hear_all(steps);
    story
}

#[test]
fn a_row_becomes_a_route() {
    check(&[
        (
            "want 1",
            "ask 0, publish waiting",
            "starting: waits for its turn to start",
        ),
        (
            "permit 0 1",
            "spawn 1 as #1 of 01",
            "starting: its worker is starting",
        ),
        ("spawned 1", "probe 1", "starting: its worker is starting"),
        (
            "ready 1",
            "return 0, publish 1",
            "starting: its worker is ready, the fastrouter doesn't know yet",
        ),
        (
            "acked 1",
            "",
            "starting: its worker is ready, the fastrouter doesn't know yet",
        ),
        ("acked 2", "", "ready"),
    ]);
}

#[test]
fn what_an_instance_runs_without_is_told_for_as_long_as_it_does() {
    let mut story = Story::default();
    story.hear_all(&["want 1", "permit 0 1", "spawned 1 unbounded"]);
    assert_eq!(story.state(), "starting: its worker is starting");
    story.hear_all(&["ready 1", "acked 2"]);
    let told = "ready: runs without limits.memory_max: there are no cgroups here";
    assert_eq!(story.state(), told);
    story.hear_all(&["want 2", "permit 1 2", "spawned 2", "ready 2", "acked 3"]);
    story.hear_all(&["acked 4", "idle 1", "exit 1", "acked 5"]);
    assert_eq!(story.state(), "ready");
}

#[test]
fn a_replacement_is_ready_and_known_before_the_old_one_drains() {
    let mut story = serving();
    assert_eq!(story.hear("want 2"), "ask 1 to replace");
    let waits = "reloading: revision 020202020202 waits for its turn to take over";
    assert_eq!(story.state(), waits);
    story.hear_all(&["permit 1 2", "spawned 2"]);
    assert_eq!(story.state(), "reloading: revision 020202020202 takes over");
    assert_eq!(story.hear("ready 2"), "publish 1+2");
    assert_eq!(story.hear("acked 3"), "publish 2");
    assert_eq!(story.state(), "ready");
    assert_eq!(story.hear("acked 4"), "await idle 1");
    assert_eq!(story.hear("idle 1"), "signal 1");
    assert_eq!(
        story.hear("exit 1"),
        "clean 1, return 1",
        "its place with it"
    );
    assert_eq!(story.life.unwrap().status().restarts, 0);
}

#[test]
fn an_old_instance_with_an_endless_request_is_stopped_after_its_grace_and_killed_after_another() {
    let mut story = told(&["want 2", "permit 1 2", "spawned 2", "ready 2", "acked 4"]);
    assert_eq!(story.hear("after 29"), "");
    assert_eq!(story.hear("after 1"), "signal 1");
    assert_eq!(story.hear("after 29"), "");
    assert_eq!(story.hear("after 1"), "kill 1");
    assert_eq!(
        story.hear("after 5"),
        "kill 1",
        "a lost end is asked for again"
    );
}

#[test]
fn failed_replacement_keeps_the_old_instance_serving() {
    let mut story = told(&["want 2", "permit 1 2", "spawned 2"]);
    assert_eq!(story.hear("exit 2"), "clean 2, return 1");
    let state = story.state();
    assert!(
        state.starts_with(
            "ready: revision 020202020202 failed: its process exited with status 1 before it was \
             ready; it said: no module; tried again after "
        ) && state.ends_with("; the one before serves on"),
        "{state}"
    );
    assert_eq!(story.hear("after 1"), "ask 2 to replace", "again");
    let again = "reloading: revision 020202020202 waits for its turn to take over; the last try";
    assert!(story.state().starts_with(again), "{}", story.state());
    assert_eq!(
        story.hear("want 3"),
        "return 2, ask 3 to replace",
        "a changed row is tried at once"
    );
}

#[test]
fn a_row_that_is_set_back_ends_the_attempt() {
    let mut story = told(&["want 2", "permit 1 2", "spawned 2"]);
    assert_eq!(story.hear("want 1"), "signal 2");
    assert_eq!(story.state(), "ready");
    assert_eq!(story.hear("exit 2"), "clean 2, return 1");
}

#[test]
fn the_last_good_revision_is_restarted_while_its_successor_fails() {
    let mut story = told(&["want 2", "permit 1 2", "impossible 2"]);
    assert_eq!(story.hear("exit 1"), "clean 1, publish waiting");
    story.hear("after 1");
    assert_eq!(story.hear("permit 2 3"), "spawn 3 as #1 of 01");
    story.hear_all(&["spawned 3", "ready 3"]);
    story.hear("acked 9");
    let status = story.life.as_ref().unwrap().status();
    assert_eq!(status.revision, Some(Revision::from_bytes([1; 16])));
    assert_eq!(status.restarts, 1);
}

#[test]
fn a_crash_is_answered_after_a_pause_and_at_once_where_the_instance_had_settled() {
    let mut story = serving();
    assert_eq!(story.hear("exit 1"), "clean 1, publish waiting");
    let state = story.state();
    assert!(
        state.starts_with("backing-off: its process exited with status 1 after 0s of service"),
        "{state}"
    );
    assert_eq!(story.hear("after 1"), "ask 1");
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2", "acked 9", "after 30"]);
    assert_eq!(story.hear("exit 2"), "clean 2, ask 2, publish waiting");
}

#[test]
fn what_clearly_won_t_start_is_said_so_and_tried_slowly() {
    let mut story = Story::default();
    story.hear("want 1");
    for attempt in 0..5 {
        story.hear(&format!("permit {attempt} {}", attempt + 1));
        let done = story.hear(&format!("unspawned {}", attempt + 1));
        let last = if attempt == 4 { ", publish failed" } else { "" };
        assert_eq!(done, format!("return {attempt}{last}"));
        if attempt < 4 {
            story.hear("after 10");
        }
    }
    let state = story.state();
    assert!(
        state.starts_with("failed: could not execute the program; 5 starts failed"),
        "{state}"
    );
    assert_eq!(story.hear("after 80"), "", "slowly");
    assert_eq!(story.hear("after 100"), "ask 5", "but still");
    assert!(story.state().starts_with("failed"), "until it is ready");
    story.hear_all(&["permit 5 6", "spawned 6"]);
    assert_eq!(story.hear("ready 6"), "return 5, publish 6");
}

#[test]
fn a_program_that_does_not_exist_fails_at_once_and_a_changed_row_helps_at_once() {
    let mut story = Story::default();
    story.hear_all(&["want 1", "permit 0 1"]);
    assert_eq!(story.hear("impossible 1"), "return 0, publish failed");
    assert_eq!(story.hear("want 2"), "ask 1, publish waiting");
}

#[test]
fn a_rejected_row_keeps_what_served_and_starts_nothing_where_nothing_did() {
    let mut story = serving();
    assert_eq!(story.hear("reject"), "");
    let serving = "rejected: line 1: no such key; revision 010101010101, the last one that could \
                   be run, serves on";
    assert_eq!(story.state(), serving);
    assert_eq!(story.hear("exit 1"), "clean 1, publish waiting");
    assert_eq!(story.hear("after 1"), "ask 1", "and it is kept running");
    check(&[(
        "reject",
        "publish rejected",
        "rejected: line 1: no such key",
    )]);
    check(&[
        (
            "want 1",
            "ask 0, publish waiting",
            "starting: waits for its turn to start",
        ),
        (
            "reject",
            "return 0, publish rejected",
            "rejected: line 1: no such key",
        ),
    ]);
}

#[test]
fn a_disabled_site_is_drained_and_can_be_enabled_while_it_stops() {
    let mut story = serving();
    assert_eq!(story.hear("disable"), "publish disabled");
    assert_eq!(story.state(), "stopping: disabled");
    story.hear_all(&["acked 3", "idle 1"]);
    assert_eq!(story.hear("want 1"), "ask 1, publish waiting");
    assert_eq!(story.hear("permit 1 2"), "spawn 2 as #2 of 01");
    assert_eq!(story.hear("exit 1"), "clean 1");
    story.hear_all(&["spawned 2", "ready 2", "acked 9"]);
    assert_eq!(story.state(), "ready");
}

#[test]
fn a_site_that_moves_into_a_pool_ends_its_own_requests_and_rests() {
    let mut story = serving();
    assert_eq!(story.hear("pool"), "publish in -1");
    assert_eq!(story.hear("acked 3"), "await idle 1");
    assert!(!story.life.as_ref().unwrap().is_at_rest());
    assert_eq!(story.hear("idle 1"), "signal 1");
    assert_eq!(story.hear("exit 1"), "clean 1");
    assert!(story.life.as_ref().unwrap().is_at_rest());
    assert_eq!(story.hear("want 1"), "ask 1, publish waiting");
}

#[test]
fn a_removed_site_is_over_once_its_last_process_is_gone() {
    let mut story = serving();
    assert_eq!(story.hear("remove"), "withdraw");
    assert_eq!(story.hear("acked 3"), "await idle 1");
    assert_eq!(story.hear("idle 1"), "signal 1");
    assert!(!story.life.as_ref().unwrap().is_over());
    assert_eq!(story.hear("exit 1"), "clean 1");
    assert!(story.life.unwrap().is_over());
}

#[test]
fn without_a_router_an_end_is_not_waited_for_and_a_replacement_is() {
    let mut story = serving();
    story.hear("remove");
    assert_eq!(story.hear("after 30"), "signal 1");
    let mut story = told(&["want 2", "permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.hear("after 3600"), "");
    assert_eq!(story.hear("acked 3"), "publish 2", "until it is back");
}

#[test]
fn a_process_that_is_being_made_when_its_site_goes_is_ended_as_soon_as_it_is_there() {
    let mut story = Story::default();
    story.hear_all(&["want 1", "permit 0 1"]);
    assert_eq!(story.hear("remove"), "withdraw");
    assert_eq!(story.hear("spawned 1"), "return 0, signal 1");
    assert_eq!(story.hear("exit 1"), "clean 1");
    assert!(story.life.unwrap().is_over());
}

#[test]
fn events_of_an_incarnation_that_is_gone_change_nothing() {
    let mut story = told(&["exit 1"]);
    for late in [
        "ready 1",
        "unready 1",
        "exit 1",
        "idle 1",
        "spawned 1",
        "unspawned 1",
    ] {
        assert_eq!(story.hear(late), "", "{late}");
    }
    assert_eq!(story.hear("permit 9 9"), "return 9");
    assert_eq!(story.life.unwrap().status().restarts, 1);
}

#[test]
fn a_worker_that_hangs_gives_its_permit_back_and_is_ended_in_time() {
    let mut story = Story::default();
    story.hear_all(&["want 1", "permit 0 1", "spawned 1"]);
    assert_eq!(story.hear("after 10"), "return 0", "others may start");
    assert_eq!(story.hear("after 50"), "", "its prober says so first");
    assert_eq!(story.hear("unready 1"), "signal 1");
    assert!(
        story
            .state()
            .starts_with("backing-off: it answered with status 500")
    );
    let mut story = Story::default();
    story.hear_all(&["want 1", "permit 0 1", "spawned 1"]);
    assert_eq!(
        story.hear("after 61"),
        "return 0, signal 1",
        "if the prober says nothing"
    );
}

#[test]
fn the_first_of_several_instances_comes_alone_and_the_rest_together() {
    let mut story = Story::default();
    assert_eq!(story.hear("want 1 x3"), "ask 0, publish waiting");
    story.hear_all(&["permit 0 1", "spawned 1", "ready 1"]);
    assert_eq!(story.hear("acked 2"), "ask 1, ask 2");
    assert_eq!(story.state(), "ready: 1 of 3 instances are ready");
}

#[test]
fn several_instances_are_replaced_one_after_the_other() {
    let mut story = Story::default();
    story.hear_all(&["want 1 x2", "permit 0 1", "spawned 1", "ready 1", "acked 2"]);
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2", "acked 3"]);
    assert_eq!(story.hear("want 2 x2"), "ask 2 to replace");
    story.hear_all(&["permit 2 3", "spawned 3", "ready 3"]);
    assert_eq!(
        story.hear("acked 4"),
        "publish 2+3",
        "the first of the old ones goes"
    );
    story.hear_all(&["acked 5", "idle 1"]);
    let done = "clean 1, ask 3 to replace, return 2";
    assert_eq!(story.hear("exit 1"), done, "one is above at a time");
    story.hear_all(&["permit 3 4", "spawned 4", "ready 4"]);
    assert_eq!(story.hear("acked 6"), "publish 4+3");
    let states: Vec<_> = story
        .life
        .unwrap()
        .status()
        .instances
        .iter()
        .map(|i| i.state)
        .collect();
    let (draining, ready) = (InstanceState::Draining, InstanceState::Ready);
    assert_eq!(states, [ready, draining, ready]);
}

#[test]
fn a_reload_replaces_instances_of_an_unchanged_revision_and_retries_one_in_trouble() {
    let mut story = serving();
    assert_eq!(story.hear("reload"), "ask 1 to replace");
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.hear("acked 3"), "publish 2");
    let mut story = told(&["exit 1"]);
    assert_eq!(story.hear("reload"), "ask 1", "without the pause");
}

#[test]
fn a_reload_replaces_what_crashed_once_and_serves_again() {
    let mut story = told(&["exit 1", "after 1", "permit 1 2", "spawned 2", "ready 2"]);
    story.hear("acked 4");
    assert_eq!(story.state(), "ready");
    assert_eq!(story.hear("reload"), "ask 2 to replace");
    story.hear_all(&["permit 2 3", "spawned 3", "ready 3"]);
    assert_eq!(story.hear("acked 5"), "publish 3");
}

#[test]
fn the_emperor_s_end_is_orderly_and_the_second_request_kills() {
    let mut story = told(&["want 2", "permit 1 2"]);
    assert_eq!(story.hear("shutdown"), "signal 1, publish waiting");
    assert_eq!(story.hear("shutdown now"), "kill 1");
    assert_eq!(story.hear("spawned 2"), "signal 2, kill 2");
    story.hear_all(&["exit 1", "exit 2"]);
    assert!(story.life.unwrap().is_over());
}

#[test]
fn a_crash_in_the_midst_of_a_rollout_delays_it_and_doesn_t_freeze_it() {
    let mut story = Story::default();
    story.hear_all(&["want 1 x2", "permit 0 1", "spawned 1", "ready 1", "acked 2"]);
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2", "acked 3", "want 2 x2"]);
    story.hear_all(&["permit 2 3", "spawned 3", "ready 3"]);
    assert_eq!(story.hear("acked 4"), "publish 2+3");
    assert_eq!(
        story.hear("exit 3"),
        "clean 3, ask 3, return 2, publish 2",
        "what served before is kept at its number"
    );
    assert_eq!(story.hear("after 1"), "ask 4", "and the new one is tried");
    assert_eq!(story.hear("permit 4 4"), "spawn 4 as #4 of 02");
    story.hear_all(&["spawned 4", "ready 4", "acked 9"]);
    let status = story.life.as_ref().unwrap().status();
    assert_eq!(status.revision, Some(Revision::from_bytes([2; 16])));
}
