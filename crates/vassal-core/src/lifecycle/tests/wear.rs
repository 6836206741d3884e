//! Who is worn out is replaced, its successor first.

use super::story::Story;

fn serving() -> Story {
    let mut story = Story::default();
    story.hear_all(&[
        "want 1 recycled x1",
        "permit 0 1",
        "spawned 1",
        "ready 1",
        "acked 2",
    ]);
    story
}

/// Two that serve.
fn both() -> Story {
    let mut story = Story::default();
    story.hear_all(&[
        "want 1 recycled x2",
        "permit 0 1",
        "spawned 1",
        "ready 1",
        "acked 2",
    ]);
    story.hear_all(&["permit 1 2", "spawned 2", "ready 2", "acked 3"]);
    assert_eq!(story.state(), "ready");
    story
}

#[test]
fn each_bound_brings_an_ordinary_replacement() {
    for worn in ["load 100 0 0", "memory 1 100", "after 3600"] {
        let mut story = serving();
        assert_eq!(story.hear("load 80 0 0"), "");
        assert_eq!(story.hear("memory 1 80"), "");
        assert_eq!(story.hear("after 3000"), "measure 1");
        assert_eq!(story.hear(worn), "ask 1 to replace", "{worn}");
        assert_eq!(story.hear("memory 1 5"), "", "it stays worn");
        assert_eq!(story.hear("after 1000"), "", "and is no longer measured");
        story.hear_all(&["permit 1 2", "spawned 2"]);
        assert_eq!(story.hear("ready 2"), "publish 1+2");
        assert_eq!(story.hear("acked 3"), "publish 2");
        assert_eq!(story.state(), "ready");
        assert_eq!(story.life.unwrap().restarts(), 0);
    }
}

#[test]
fn who_is_worn_serves_until_its_successor_is_there() {
    let mut story = serving();
    story.hear_all(&["memory 1 200", "permit 1 2", "spawned 2", "exit 2"]);
    assert_eq!(story.state(), "ready");
    assert_eq!(story.hear("after 1"), "ask 2 to replace", "tried again");
}

#[test]
fn of_several_the_worn_one_alone_is_replaced() {
    let mut story = both();
    assert_eq!(story.hear("memory 1 200"), "ask 2 to replace");
    story.hear_all(&["permit 2 3", "spawned 3", "ready 3"]);
    assert_eq!(story.hear("acked 4"), "publish 2+3");
}

#[test]
fn all_that_are_worn_are_replaced_one_after_the_other() {
    let mut story = both();
    assert_eq!(story.hear("after 3600"), "ask 2 to replace");
    story.hear_all(&["permit 2 3", "spawned 3", "ready 3"]);
    assert_eq!(story.hear("acked 4"), "publish 2+3");
    story.hear_all(&["acked 5", "idle 1"]);
    let done = "clean 1, ask 3 to replace, return 2";
    assert_eq!(story.hear("exit 1"), done);
    story.hear_all(&["permit 3 4", "spawned 4", "ready 4"]);
    assert_eq!(story.hear("acked 6"), "publish 4+3");
}

#[test]
fn those_that_began_together_don_t_go_together() {
    let mut story = both();
    let mut asked = Vec::new();
    for second in 0..3_600 {
        if story.hear("after 1").contains("ask") {
            asked.push(second);
            break;
        }
    }
    let first = asked[0];
    story.hear_all(&["permit 2 3", "spawned 3", "ready 3"]);
    let stays = story.hear("acked 4");
    let gone = if stays == "publish 2+3" { 1 } else { 2 };
    story.hear_all(&["acked 5", &format!("idle {gone}"), &format!("exit {gone}")]);
    let second = (first + 1..3_601).find(|_| story.hear("after 1").contains("ask"));
    assert!(first >= 3_239, "{first}");
    assert!(
        second.is_some_and(|second| second > first + 1),
        "{first} {second:?}"
    );
}
