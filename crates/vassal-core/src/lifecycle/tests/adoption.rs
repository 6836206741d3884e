//! What becomes of a vassal whose emperor was killed.

use super::story::Story;

fn told(steps: &[&str]) -> Story {
    let mut story = Story::default();
    story.hear_all(steps);
    story
}

/// An instance of revision 1 that serves.
fn serving(more: &[&str]) -> Story {
    let mut story = told(&["want 1", "permit 0 1", "spawned 1", "ready 1", "acked 2"]);
    story.hear_all(more);
    story
}

#[test]
fn an_instance_of_the_wanted_revision_goes_on_serving() {
    let mut story = serving(&[]);
    assert_eq!(story.adopt("want 1", &[]), "publish 1");
    assert_eq!(story.hear("acked 1"), "look 1");
    assert_eq!(story.state(), "ready");
}

#[test]
fn a_row_that_changed_meanwhile_is_an_ordinary_replacement() {
    let mut story = serving(&[]);
    assert_eq!(story.adopt("want 2", &[]), "publish 1");
    assert_eq!(story.hear("acked 1"), "look 1, ask 0 to replace");
    story.hear_all(&["permit 0 2", "spawned 2", "ready 2"]);
    assert_eq!(story.hear("acked 2"), "publish 2");
    assert_eq!(story.hear("acked 3"), "await idle 1");
}

#[test]
fn an_old_instance_serves_on_where_the_row_was_broken_meanwhile() {
    let mut story = serving(&[]);
    assert_eq!(story.adopt("reject", &[]), "publish 1");
    assert!(story.state().contains("serves on"), "{}", story.state());
}

#[test]
fn an_instance_whose_row_is_gone_or_disabled_is_drained() {
    let mut story = serving(&[]);
    assert_eq!(story.adopt("remove", &[]), "withdraw");
    assert_eq!(story.hear("acked 1"), "await idle 1");
    assert_eq!(story.hear("idle 1"), "signal 1");
    assert_eq!(serving(&[]).adopt("disable", &[]), "publish disabled");
}

#[test]
fn an_instance_that_ended_meanwhile_is_counted_and_started_again() {
    let mut story = serving(&["after 60"]);
    assert_eq!(
        story.adopt("want 1", &[1]),
        "clean 1, ask 0, publish waiting"
    );
    assert_eq!(story.life.unwrap().status().restarts, 1);
}

#[test]
fn an_instance_on_its_way_is_probed_again() {
    let mut story = told(&["want 1", "permit 0 1", "spawned 1"]);
    assert_eq!(story.adopt("want 1", &[]), "probe 1, publish waiting");
    assert_eq!(story.hear("ready 1"), "publish 1");
}

#[test]
fn a_replacement_goes_on_where_it_was() {
    let mut story = serving(&["want 2", "permit 1 2", "spawned 2"]);
    assert_eq!(story.adopt("want 2", &[]), "probe 2, publish 1");
    assert_eq!(story.hear("ready 2"), "publish 1+2");
    assert_eq!(story.hear("acked 2"), "look 1, look 2, publish 2");

    let mut story = serving(&["want 2", "permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.adopt("want 2", &[]), "publish 1+2");
    assert_eq!(story.hear("acked 1"), "look 1, look 2, publish 2");
}

#[test]
fn a_reload_of_the_same_revision_goes_on_where_it_was() {
    let mut story = serving(&["reload", "permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.adopt("want 1", &[]), "publish 1+2");
    assert_eq!(story.hear("acked 1"), "look 1, look 2, publish 2");
}

#[test]
fn the_last_good_revision_is_fallen_back_on_after_an_adoption_too() {
    let mut story = serving(&["after 60", "want 2", "permit 1 2", "spawned 2", "exit 2"]);
    assert_eq!(
        story.adopt("want 2", &[1]),
        "clean 1, ask 0, publish waiting"
    );
    assert_eq!(story.hear("permit 0 3"), "spawn 3 as #1 of 01");
}

#[test]
fn a_drain_and_a_stop_keep_their_deadlines() {
    let steps = ["want 2", "permit 1 2", "spawned 2", "ready 2", "acked 4"];
    let mut story = serving(&steps);
    story.hear("after 20");
    assert_eq!(story.adopt("want 2", &[]), "publish 2");
    assert_eq!(story.hear("acked 1"), "await idle 1, look 2");
    assert_eq!(story.hear("after 9"), "");
    assert_eq!(story.hear("after 1"), "signal 1");
    story.hear("after 29");
    assert_eq!(story.adopt("want 2", &[]), "publish 2");
    assert_eq!(story.hear("after 1"), "kill 1");
}

#[test]
fn a_backoff_goes_on_and_grows() {
    let failing = ["want 1", "permit 0 1", "spawned 1", "exit 1"];
    let mut story = told(&failing);
    let before = story.state();
    assert_eq!(story.adopt("want 1", &[]), "publish waiting");
    assert_eq!(story.state(), before);
    assert_eq!(story.hear("after 1"), "ask 0");
    story.hear_all(&["permit 0 2", "spawned 2", "exit 2"]);
    let state = story.state();
    assert!(state.contains("2 starts failed in a row"), "{state}");
}

#[test]
fn a_backoff_of_another_revision_counts_for_nothing() {
    let mut story = told(&["want 1", "permit 0 1", "spawned 1", "exit 1"]);
    assert_eq!(story.adopt("want 2", &[]), "ask 0, publish waiting");
}
