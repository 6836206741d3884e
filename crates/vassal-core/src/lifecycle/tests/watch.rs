//! What is seen of an instance without asking it.

use super::story::Story;

/// Incarnation 1 serves, with or without somebody to ask it how it is.
fn serving(want: &str) -> Story {
    let mut story = Story::default();
    story.hear_all(&[want, "permit 0 1", "spawned 1", "ready 1", "acked 2"]);
    story
}

/// The same, and has for a minute.
fn settled() -> Story {
    let mut story = serving("want 1");
    story.hear("after 60");
    story
}

/// Half a minute with good probes in which it may say that it lives.
fn half_a_minute(story: &mut Story, speaks: bool) {
    for _ in 0..3 {
        story.hear("after 9");
        if speaks {
            story.hear("speaks 1");
        }
        story.hear("after 1");
        story.hear("well 1");
    }
}

const MISSED: &str =
    "ready: instance 1 is unwell and is being replaced: it has not sent WATCHDOG=1 for 30s";

#[test]
fn who_says_that_it_lives_is_not_looked_at_again_before_it_must_have_said_so_again() {
    let mut story = serving("want 1 watched x1");
    assert_eq!(story.hear("after 10"), "check 1");
    story.hear_all(&["well 1", "speaks 1"]);
    assert_eq!(story.hear("after 10"), "check 1");
    story.hear("well 1");
    assert_eq!(story.hear("after 10"), "check 1, look 1");
    story.hear("well 1");
    assert_eq!(story.hear("after 9"), "");
}

#[test]
fn who_misses_its_watchdog_again_and_again_is_replaced_although_it_answers_its_probes() {
    let mut story = serving("want 1 watched x1");
    half_a_minute(&mut story, false);
    assert_eq!(story.state(), "ready", "once is no verdict");
    half_a_minute(&mut story, false);
    assert_eq!(story.state(), MISSED);
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.hear("acked 3"), "publish 2");
}

#[test]
fn who_speaks_again_before_its_successor_is_there_stays() {
    let mut story = serving("want 1 watched x1");
    half_a_minute(&mut story, false);
    half_a_minute(&mut story, false);
    assert_eq!(story.state(), MISSED);
    half_a_minute(&mut story, true);
    half_a_minute(&mut story, true);
    assert_eq!(story.state(), "ready");
}

#[test]
fn a_watchdog_begins_when_the_instance_is_ready() {
    let mut story = Story::default();
    story.hear_all(&["want 1 watched x1", "permit 0 1", "spawned 1", "after 50"]);
    story.hear_all(&["ready 1", "acked 2"]);
    assert_eq!(story.hear("after 10"), "check 1");
}

#[test]
fn who_asks_for_a_longer_watchdog_has_it_under_the_next_emperor_too() {
    let mut story = serving("want 1 watched x1");
    story.hear("asks 1 60");
    half_a_minute(&mut story, true);
    story.hear("after 0.5");
    assert_eq!(story.adopt("want 1 watched x1", &[]), "publish 1");
    let looked = story.hear("acked 1");
    assert_eq!(looked, "check 1, look 1", "it may have been stopped");
    story.hear("well 1");
    for _ in 0..5 {
        story.hear("after 10");
        assert_eq!(story.hear("well 1"), "");
    }
    assert_eq!(story.hear("after 10"), "check 1, look 1");
}

#[test]
fn what_an_emperor_could_not_hear_nobody_pays_for() {
    let mut story = serving("want 1 watched x1");
    story.hear_all(&["after 300", "after 300", "after 300"]);
    assert!(!story.state().contains("WATCHDOG"), "{}", story.state());
}

#[test]
fn who_says_that_it_is_broken_is_believed() {
    let mut story = settled();
    assert_eq!(story.hear("trigger 1"), "ask 1");
    assert!(story.state().contains("WATCHDOG=trigger"));
}

#[test]
fn a_stopped_process_is_replaced_after_a_moment_and_let_go_on_as_it_drains() {
    let mut story = settled();
    assert_eq!(story.hear("stopped 1"), "");
    assert_eq!(story.hear("after 2.9"), "");
    assert_eq!(story.hear("after 0.1"), "look 1, ask 1");
    let words = "its process is stopped by a signal, and nobody let it go on for 3s";
    let detail = format!("instance 1 is unwell and is being replaced: {words}");
    assert_eq!(story.state(), format!("ready: {detail}"));
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.hear("acked 3"), "let 1 go on, publish 2");
}

#[test]
fn a_process_that_is_let_go_on_in_time_is_left_alone() {
    let mut story = settled();
    story.hear_all(&["stopped 1", "after 2.5", "goes on 1"]);
    assert_eq!(story.hear("after 60"), "");
    story.hear_all(&["stopped 1", "after 3"]);
    assert!(story.hear("goes on 1").contains("return 1"));
    assert_eq!(story.state(), "ready");
}

#[test]
fn a_stop_that_nobody_tells_of_is_seen_when_a_probe_fails() {
    let mut story = serving("want 1 probed x1");
    story.hear_all(&[
        "after 10", "well 1", "after 10", "well 1", "after 10", "well 1",
    ]);
    story.hear_all(&["unseen stop 1", "after 10"]);
    assert_eq!(story.hear("unwell 1"), "look 1");
    assert_eq!(story.hear("after 3"), "look 1, ask 1");
    assert!(story.state().contains("stopped by a signal"));
}
