//! Who is unwell is replaced.

use super::story::Story;

fn serving() -> Story {
    let mut story = Story::default();
    story.hear_all(&[
        "want 1 probed x1",
        "permit 0 1",
        "spawned 1",
        "ready 1",
        "acked 2",
    ]);
    story
}

#[test]
fn who_doesn_t_answer_its_probes_is_replaced_its_successor_first() {
    let mut story = serving();
    assert_eq!(story.hear("after 10"), "check 1");
    assert_eq!(story.hear("well 1"), "");
    for _ in 0..2 {
        assert_eq!(story.hear("after 10"), "check 1");
        assert!(story.hear("unwell 1").starts_with("look 1"));
    }
    let detail = "instance 1 is unwell and is being replaced: it has not answered";
    assert_eq!(story.state(), format!("ready: {detail}"));
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2"]);
    assert_eq!(story.hear("acked 3"), "publish 2");
    assert_eq!(story.state(), "ready");
}

#[test]
fn a_probe_that_says_nothing_failed() {
    let mut story = serving();
    for _ in 0..2 {
        assert_eq!(story.hear("after 10"), "check 1");
        story.hear("after 11");
    }
    assert!(story.state().contains("unwell"), "{}", story.state());
}

#[test]
fn who_recovers_before_its_successor_is_there_stays() {
    let mut story = serving();
    for probe in ["unwell 1", "unwell 1", "well 1"] {
        story.hear("after 10");
        story.hear(probe);
    }
    story.hear("after 10");
    assert!(
        story.hear("well 1").contains("return 1"),
        "the successor goes"
    );
    assert_eq!(story.state(), "ready");
}

#[test]
fn where_another_one_serves_it_leaves_the_route_at_once() {
    let mut story = Story::default();
    story.hear_all(&[
        "want 1 probed x2",
        "permit 0 1",
        "spawned 1",
        "ready 1",
        "acked 2",
    ]);
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2", "acked 3"]);
    story.hear_all(&["after 10", "unwell 1", "well 2", "after 10", "well 2"]);
    assert!(story.hear("unwell 1").contains("publish 2"));
}
