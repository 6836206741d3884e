//! Replacing several at a time, and the places that replacements have in the house.

use super::story::Story;

/// A site whose four instances of revision 1 serve, incarnations 1 to 4, with two more while they are
/// replaced.
fn four() -> Story {
    let mut story = Story::default();
    story.hear_all(&["want 1 x4 surge 2", "permit 0 1", "spawned 1", "ready 1"]);
    story.hear_all(&["acked 2", "permit 1 2", "permit 2 3", "permit 3 4"]);
    story.hear_all(&["spawned 2", "spawned 3", "spawned 4"]);
    story.hear_all(&["ready 2", "ready 3", "ready 4", "acked 9"]);
    assert_eq!(story.state(), "ready");
    story
}

/// The same, with the first instance of revision 2, incarnation 5, and incarnation 1 gone.
fn one_of_four() -> Story {
    let mut story = four();
    assert_eq!(story.hear("want 2 x4 surge 2"), "ask 4 to replace", "alone");
    story.hear_all(&["permit 4 5", "spawned 5", "ready 5"]);
    let done = "ask 5 to replace, publish 2+3+4+5";
    assert_eq!(story.hear("acked 19"), done, "and one drains");
    story.hear_all(&["acked 29", "idle 1"]);
    let done = "clean 1, ask 6 to replace, return 4";
    assert_eq!(story.hear("exit 1"), done);
    story
}

#[test]
fn once_the_first_is_ready_as_many_are_replaced_at_a_time_as_may_be() {
    let mut story = one_of_four();
    story.hear_all(&["permit 5 6", "permit 6 7", "spawned 6", "spawned 7"]);
    assert_eq!(story.hear("ready 6"), "publish 2+3+4+5+6");
    assert_eq!(story.hear("ready 7"), "publish 7+2+3+4+5+6");
    assert_eq!(story.hear("acked 39"), "publish 7+4+5+6", "two go");
    story.hear_all(&["acked 49", "idle 2", "idle 3"]);
    let done = "clean 2, ask 7 to replace, return 5";
    assert_eq!(story.hear("exit 2"), done, "three are replaced");
    assert_eq!(story.hear("exit 3"), "clean 3, return 6");
    story.hear_all(&["permit 7 8", "spawned 8", "ready 8", "acked 59"]);
    story.hear_all(&["acked 69", "idle 4"]);
    assert_eq!(story.hear("exit 4"), "clean 4, return 7");
    assert_eq!(story.state(), "ready");
}

#[test]
fn after_a_start_that_failed_the_next_comes_alone() {
    let mut story = one_of_four();
    story.hear_all(&["permit 5 6", "permit 6 7", "spawned 6", "spawned 7"]);
    assert_eq!(story.hear("exit 6"), "clean 6, return 5");
    assert_eq!(story.hear("exit 7"), "clean 7, return 6");
    assert!(
        story.state().ends_with("the one before serves on"),
        "{}",
        story.state()
    );
    assert_eq!(story.hear("after 2"), "ask 7 to replace");
}

#[test]
fn a_place_is_held_for_as_long_as_a_predecessor_takes_to_end() {
    let mut story = Story::default();
    story.hear_all(&["want 1", "permit 0 1", "spawned 1", "ready 1", "acked 2"]);
    story.hear_all(&["want 2", "permit 1 2", "spawned 2", "ready 2", "acked 3"]);
    assert_eq!(story.state(), "ready");
    assert_eq!(story.hear("want 3"), "", "there is one too many already");
    assert_eq!(story.hear("after 30"), "signal 1");
    assert_eq!(story.hear("after 30"), "kill 1");
    let done = "clean 1, ask 2 to replace, return 1";
    assert_eq!(story.hear("exit 1"), done);
}

#[test]
fn who_waits_to_replace_one_that_ends_meanwhile_starts_at_once() {
    let mut story = Story::default();
    let worn = ["want 1 recycled x1", "permit 0 1", "spawned 1", "ready 1"];
    story.hear_all(&worn);
    story.hear("acked 2");
    assert_eq!(story.hear("load 100 0 0"), "ask 1 to replace");
    let done = "clean 1, return 1, ask 2, publish waiting";
    assert_eq!(story.hear("exit 1"), done);
    assert_eq!(story.hear("permit 2 2"), "spawn 2 as #2 of 01");
}

#[test]
fn who_is_unwell_is_replaced_before_all_who_are_well() {
    let mut story = Story::default();
    story.hear_all(&["want 1 probed x1", "permit 0 1", "spawned 1", "ready 1"]);
    story.hear_all(&["acked 2", "want 2 probed x1"]);
    story.hear_all(&["after 10", "unwell 1", "after 10"]);
    assert_eq!(story.hear("unwell 1"), "look 1, return 1, ask 2");
}
