//! Purges: what they name, what they don't, and what was on its way when they came.

use page_cache::{Answered, BypassReason, Lookup, Mode, Purge};

use crate::house::{House, MAX_AGE, asked, get, headers, post, says, site_id};

type Lines = &'static [(&'static str, &'static str)];

fn filled() -> House {
    let house = House::new(Mode::UntilPurged);
    let pages: [(&str, Lines, Lines); 5] = [
        ("/", &[], &[("surrogate-key", "front news")]),
        ("/news/1", &[], &[("xkey", "news"), ("cache-tag", "a,b")]),
        ("/news/1?page=2", &[], &[]),
        (
            "/news/2",
            &[("accept-language", "de")],
            &[("vary", "accept-language")],
        ),
        ("/about", &[], &[]),
    ];
    for (target, asked, said) in pages {
        house
            .fill(&get(target, asked), &says(200, said, target))
            .unwrap();
    }
    house
}

fn left(house: &House) -> Vec<&'static str> {
    let targets = ["/", "/news/1", "/news/1?page=2", "/news/2", "/about"];
    let is_left = |target: &&str| {
        let client = get(target, &[("accept-language", "de")]);
        house.body(&client).is_some()
    };
    targets.into_iter().filter(is_left).collect()
}

#[test]
fn each_purge_forgets_what_it_names_and_nothing_else() {
    let check = |purge: Purge, expected: &[&str]| {
        let house = filled();
        house.cache.purge(site_id(), std::slice::from_ref(&purge));
        assert_eq!(left(&house), expected, "{purge:?}");
    };
    check(Purge::path("/news/1"), &["/", "/news/2", "/about"]);
    check(Purge::path("/news/1?page=2"), &["/", "/news/2", "/about"]);
    check(
        Purge::path("/news/2"),
        &["/", "/news/1", "/news/1?page=2", "/about"],
    );
    check(Purge::prefix("/news/"), &["/", "/about"]);
    check(Purge::prefix("/"), &[]);
    check(Purge::tag("news"), &["/news/1?page=2", "/news/2", "/about"]);
    check(
        Purge::tag("b"),
        &["/", "/news/1?page=2", "/news/2", "/about"],
    );
    check(
        Purge::tag("ews"),
        &["/", "/news/1", "/news/1?page=2", "/news/2", "/about"],
    );
    check(Purge::Site, &[]);
}

#[test]
fn a_purged_page_can_be_filled_again_at_once() {
    let house = filled();
    house.cache.purge(site_id(), &[Purge::Site]);
    house.fill(&get("/", &[]), &says(200, &[], "new")).unwrap();
    assert_eq!(house.body(&get("/", &[])).as_deref(), Some("new"));
    assert_eq!(left(&house), ["/"]);
}

#[test]
fn a_fill_that_began_before_a_purge_that_names_it_is_not_stored() {
    let check = |purge: Purge, is_stored: bool| {
        let house = House::new(Mode::UntilPurged);
        let client = get("/news/1?x=1", &[]);
        let permit = house.permit(&client);
        house.cache.purge(site_id(), std::slice::from_ref(&purge));
        let said = says(200, &[("surrogate-key", "t")], "old");
        let refused = house.finish(permit, &client, &said).err();
        let expected = (!is_stored).then_some(BypassReason::PurgedMeanwhile);
        assert_eq!(refused, expected, "{purge:?}");
        assert_eq!(house.body(&client).is_some(), is_stored);
    };
    check(Purge::path("/news/1"), false);
    check(Purge::prefix("/news"), false);
    check(Purge::tag("t"), false);
    check(Purge::Site, false);
    check(Purge::path("/news/2"), true);
    check(Purge::tag("u"), true);
}

#[test]
fn a_purge_between_head_and_end_of_an_answer_counts_too() {
    let house = House::new(Mode::UntilPurged);
    let client = get("/", &[]);
    let said = says(200, &[], "old");
    let Answered::Record(recorder) = house.answered(house.permit(&client), &client, &said) else {
        panic!("it can be kept");
    };
    let recorder = recorder.push(&house.cache, b"old", house.now).unwrap();
    house.cache.purge(site_id(), &[Purge::path("/")]);
    let refused = recorder.finish(&house.cache, house.now).err();
    assert_eq!(refused, Some(BypassReason::PurgedMeanwhile));
}

#[test]
fn nobody_waits_for_a_fill_that_a_purge_has_overtaken() {
    let house = House::new(Mode::UntilPurged);
    let client = get("/", &[]);
    let overtaken = house.permit(&client);
    house.cache.purge(site_id(), &[Purge::path("/")]);
    let newer = house.permit(&client);
    house
        .finish(newer, &client, &says(200, &[], "new"))
        .unwrap();
    house
        .finish(overtaken, &client, &says(200, &[], "old"))
        .unwrap_err();
    assert_eq!(house.body(&client).as_deref(), Some("new"));
}

#[test]
fn a_purged_page_is_neither_validated_nor_served_instead_of_an_error() {
    let mut house = House::new(Mode::Http);
    let client = get("/", &[]);
    let lines = [
        ("cache-control", "max-age=60, stale-if-error=900"),
        ("etag", "\"1\""),
    ];
    house.fill(&client, &says(200, &lines, "old")).unwrap();
    house.later(61);
    let (asks, fails) = (
        house.permit(&client),
        get("/", &[("cache-control", "no-cache")]),
    );
    let other = house.permit(&fails);
    house.cache.purge(site_id(), &[Purge::path("/")]);
    let request = house.request(&fails).unwrap();
    assert!(other.failed(&request, house.now).is_none());
    let answered = house.answered(asks, &client, &says(304, &[("etag", "\"1\"")], ""));
    assert!(matches!(answered, Answered::AskAgain(_)), "{answered:?}");
}

#[test]
fn sites_do_not_hear_each_others_purges() {
    let house = filled();
    let other = site_model::SiteId::new(8).unwrap();
    house.cache.site(other);
    house.cache.purge(other, &[Purge::Site]);
    assert_eq!(left(&house).len(), 5);
    house.cache.purge_all();
    assert_eq!(left(&house).len(), 0);
}

#[test]
fn a_site_that_comes_back_under_its_number_finds_nothing() {
    let house = filled();
    let before = house.permit(&get("/late", &[]));
    house.cache.remove_site(site_id());
    let said = says(200, &[], "old");
    house.finish(before, &get("/late", &[]), &said).unwrap_err();
    let house = House {
        site: house.cache.site(site_id()),
        ..house
    };
    assert_eq!(left(&house).len(), 0);
    assert_eq!(house.body(&get("/late", &[])), None);
}

#[test]
fn while_purges_cannot_be_heard_nothing_is_served_and_nothing_kept() {
    let house = filled();
    let permit = house.permit(&get("/new", &[]));
    house.cache.suspend();
    let lookup = house.look_up(&get("/", &[]));
    assert!(
        matches!(lookup, Lookup::Bypass(BypassReason::InvalidationAway)),
        "{lookup:?}"
    );
    let refused = house
        .finish(permit, &get("/new", &[]), &says(200, &[], "x"))
        .err();
    assert_eq!(refused, Some(BypassReason::InvalidationAway));
    house.cache.purge(site_id(), &[Purge::path("/")]);
    house.cache.resume();
    assert_eq!(
        left(&house),
        ["/news/1", "/news/1?page=2", "/news/2", "/about"]
    );
}

#[test]
fn rfc9111_4_4_an_unsafe_method_forgets_what_it_names() {
    let house = filled();
    let client = post("/about");
    let invalidate = |status: u16, lines: &[(&str, &str)]| {
        let status = http::StatusCode::from_u16(status).unwrap();
        house.cache.invalidate(
            &house.site,
            &house.policy,
            asked(&client),
            status,
            &headers(lines),
        );
    };
    invalidate(422, &[]);
    assert_eq!(left(&house).len(), 5);
    invalidate(303, &[("location", "/news/2")]);
    assert_eq!(left(&house), ["/", "/news/1", "/news/1?page=2"]);
}

#[test]
fn a_sweep_shortens_the_book_and_loses_no_page() {
    let house = filled();
    for number in 0..1500 {
        house.cache.purge(
            site_id(),
            &[Purge::path(&format!("/gone/{number}")), Purge::tag("front")],
        );
    }
    assert_eq!(house.site.open_purges(), 1501);
    let entries = house.cache.fullness().entries;
    let mut sweep = house.cache.sweep().expect("the book is long");
    while sweep.step(2) {}
    assert_eq!(house.site.open_purges(), 0);
    assert_eq!(
        house.cache.fullness().entries,
        entries - 1,
        "the purged page's memory is free"
    );
    assert_eq!(
        left(&house),
        ["/news/1", "/news/1?page=2", "/news/2", "/about"]
    );
    assert!(house.cache.sweep().is_none());
}

#[test]
fn what_a_sweep_did_not_see_counts_as_purged() {
    let house = filled();
    let client = get("/late", &[]);
    let permit = house.permit(&client);
    for number in 0..1500 {
        house
            .cache
            .purge(site_id(), &[Purge::path(&format!("/gone/{number}"))]);
    }
    let mut sweep = house.cache.sweep().expect("the book is long");
    while sweep.step(100) {}
    let refused = house
        .finish(permit, &client, &says(200, &[MAX_AGE], "x"))
        .err();
    assert_eq!(refused, Some(BypassReason::PurgedMeanwhile));
}
