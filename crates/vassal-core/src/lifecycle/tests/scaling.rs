//! The number of instances follows the load.

use super::story::Story;

/// A site of one instance to three, the first of which serves.
fn told(steps: &[&str]) -> Story {
    let mut story = Story::default();
    story.hear_all(&[
        "want 1 scaled",
        "permit 0 1",
        "spawned 1",
        "ready 1",
        "acked 2",
    ]);
    story.hear_all(steps);
    story
}

/// The same with all three of them, since five requests had to wait.
fn full(steps: &[&str]) -> Story {
    let mut story = told(&["load 5 3 2", "permit 1 2", "permit 2 3"]);
    story.hear_all(&["spawned 2", "spawned 3", "ready 2", "ready 3", "acked 4"]);
    assert_eq!(story.state(), "ready");
    story.hear_all(steps);
    story
}

#[test]
fn waiting_requests_bring_as_many_as_take_them() {
    let mut story = told(&[]);
    assert_eq!(story.hear("load 2 0 2"), "");
    assert_eq!(
        story.hear("load 5 3 2"),
        "ask 1 for visitors, ask 2 for visitors"
    );
    assert_eq!(story.state(), "ready", "it lacks nothing");
    assert_eq!(story.hear("load 50 40 2"), "", "there are no more");
}

#[test]
fn requests_that_wait_for_the_first_instance_are_no_load() {
    let mut story = Story::default();
    story.hear_all(&["want 1 scaled", "load 5 5 0", "permit 0 1", "spawned 1"]);
    assert_eq!(story.hear("load 5 5 0"), "");
}

#[test]
fn without_load_they_go_one_by_one_the_youngest_first() {
    let mut story = full(&["load 5 0 0"]);
    assert_eq!(story.hear("after 59"), "");
    assert_eq!(story.hear("after 1"), "publish 1+2");
    assert_eq!(story.hear("acked 5"), "await idle 3");
    assert_eq!(story.hear("idle 3"), "signal 3");
    assert_eq!(story.hear("exit 3"), "clean 3");
    assert_eq!(story.hear("after 60"), "publish 1");
    assert_eq!(story.hear("after 3600"), "", "one stays");
    assert_eq!(story.state(), "ready");
}

#[test]
fn load_that_comes_back_in_time_takes_back_who_was_to_go() {
    let mut story = full(&["load 5 0 0"]);
    assert_eq!(story.hear("after 60"), "publish 1+2");
    assert_eq!(story.hear("load 11 4 2"), "publish 1+2+3");
}

#[test]
fn what_is_on_its_way_and_no_longer_needed_goes_first() {
    let mut story = told(&["load 5 3 2", "permit 1 2", "spawned 2", "load 5 0 0"]);
    assert_eq!(story.hear("after 60"), "return 1, return 2");
}

#[test]
fn as_many_are_replaced_as_the_load_wants() {
    let mut story = full(&[]);
    assert_eq!(story.hear("want 2 scaled"), "ask 3 to replace");
    story.hear_all(&["permit 3 4", "spawned 4", "ready 4"]);
    assert_eq!(story.hear("acked 5"), "publish 2+3+4");
    story.hear_all(&["acked 6", "idle 1"]);
    let done = "clean 1, ask 4 to replace, return 3";
    assert_eq!(story.hear("exit 1"), done);
    let mut story = full(&["load 5 0 0", "want 2 scaled"]);
    let one_too_many = "return 3, publish 2+3";
    assert_eq!(
        story.hear("after 60"),
        one_too_many,
        "and its end comes first"
    );
    story.hear_all(&["acked 5", "idle 1"]);
    assert_eq!(story.hear("exit 1"), "clean 1, ask 4 to replace");
}
