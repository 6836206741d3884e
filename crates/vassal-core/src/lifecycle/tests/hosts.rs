//! Hosts that change: of the route alone, unless the workers were told of them.

use super::story::Story;

fn told(steps: &[&str]) -> Story {
    let mut story = Story::default();
    story.hear_all(steps);
    story
}

/// Revision 1, which serves at `a.example` and doesn't know it.
fn serving(more: &[&str]) -> Story {
    let mut story = told(&["want 1 at a.example", "permit 0 1", "spawned 1"]);
    story.hear_all(&["ready 1", "acked 2"]);
    story.hear_all(more);
    story
}

#[test]
fn another_host_of_the_same_revision_is_another_route_and_nothing_else() {
    let mut story = serving(&[]);
    assert_eq!(story.hear("want 1 at b.example"), "publish 1");
    assert_eq!(story.host(), "b.example");
    assert_eq!(story.state(), "ready");
    let hosts = story.life.as_ref().unwrap().status().hosts;
    assert_eq!(hosts[0].to_string(), "b.example");
}

#[test]
fn a_host_that_changes_with_the_revision_doesn_t_wait_for_the_new_worker() {
    let mut story = serving(&[]);
    let both = "ask 1 to replace, publish 1";
    assert_eq!(story.hear("want 2 at b.example"), both);
    assert_eq!(story.host(), "b.example");
    story.hear_all(&["permit 1 2", "exit 2"]);
    assert_eq!(story.hear("want 2 at c.example"), "publish 1");
    assert_eq!(story.host(), "c.example", "nor for one that fails");
    story.hear("reject");
    assert_eq!(story.host(), "c.example", "nor is it taken back");
}

#[test]
fn a_worker_that_was_told_its_hosts_keeps_them_until_its_successor_answers() {
    let mut story = told(&["want 1", "permit 0 1", "spawned 1", "ready 1", "acked 2"]);
    let own = story.host();
    assert_eq!(story.hear("want 2 at b.example"), "ask 1 to replace");
    assert_eq!(story.host(), own);
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2", "acked 3"]);
    assert_eq!(story.host(), "b.example");
}

#[test]
fn workers_are_asked_for_the_host_that_they_have_now() {
    let mut story = told(&["want 1 at a.example probed", "permit 0 1"]);
    story.hear("want 1 at b.example probed");
    assert_eq!(story.hear("spawned 1"), "probe 1 at b.example");
    let moved = story.hear("want 1 at c.example probed");
    assert_eq!(moved, "probe 1 at c.example, publish waiting");
    story.hear_all(&["after 50", "want 1 at d.example probed"]);
    assert_eq!(story.hear("after 50"), "", "with a whole timeout");
    story.hear_all(&["ready 1", "acked 9", "want 1 at e.example probed"]);
    assert_eq!(story.hear("after 10"), "check 1 at e.example");
}

#[test]
fn what_the_next_emperor_finds_is_reached_as_is_wanted_then() {
    let mut story = serving(&["want 1 at b.example"]);
    assert_eq!(story.adopt("want 1 at b.example", &[]), "publish 1");
    assert_eq!(story.host(), "b.example");
    let mut story = serving(&["want 1 at b.example"]);
    assert_eq!(story.adopt("want 2 at b.example", &[]), "publish 1");
    assert_eq!(story.host(), "b.example", "with another template, too");
}
