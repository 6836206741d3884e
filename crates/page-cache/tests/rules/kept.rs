//! What is kept, under which key, and what clients get of it.

use page_cache::{Answered, Begin, BypassReason, Lookup, Mode, Settings};

use crate::house::{House, MAX_AGE, get, head, headers, says};

#[test]
fn a_page_is_asked_for_once_and_served_until_it_expires() {
    let mut house = House::new(Mode::Http);
    house
        .fill(&get("/", &[]), &says(200, &[MAX_AGE], "one"))
        .unwrap();
    house.later(59);
    let answer = house.answer(&get("/", &[]));
    assert_eq!(answer.body, "one");
    assert_eq!(answer.headers["age"], "59");
    assert_eq!(answer.headers["content-length"], "3");
    assert_eq!(
        house.hit(&get("/", &[])).status().to_header("emperor"),
        "emperor; hit; ttl=1"
    );
    house.later(1);
    assert_eq!(house.body(&get("/", &[])), None);
}

#[test]
fn until_purged_keeps_for_ever_what_says_nothing_of_its_age() {
    let mut house = House::new(Mode::UntilPurged);
    house.fill(&get("/", &[]), &says(200, &[], "one")).unwrap();
    house.later(10 * 365 * 24 * 3600);
    assert_eq!(house.body(&get("/", &[])).as_deref(), Some("one"));
    let reload = get("/", &[("cache-control", "no-cache")]);
    assert_eq!(
        house.body(&reload).as_deref(),
        Some("one"),
        "a reload changes nothing"
    );
}

#[test]
fn queries_hosts_and_selecting_headers_tell_pages_apart() {
    let house = House::new(Mode::Http);
    let vary = [MAX_AGE, ("vary", "Accept-Language, Cookie")];
    let ask = |target: &str, language: &str| get(target, &[("accept-language", language)]);
    for (target, language) in [("/", "de"), ("/", "en"), ("/?page=2", "de")] {
        let body = format!("{target} {language}");
        house
            .fill(&ask(target, language), &says(200, &vary, &body))
            .unwrap();
    }
    for (target, language) in [("/", "de"), ("/", "en"), ("/?page=2", "de")] {
        let body = format!("{target} {language}");
        assert_eq!(house.body(&ask(target, language)), Some(body));
    }
    assert_eq!(house.body(&ask("/", "fr")), None);
    assert_eq!(house.body(&get("/", &[])), None);
    assert_eq!(house.body(&ask("/?page=3", "de")), None);
}

#[test]
fn rfc9111_4_1_an_answer_that_no_longer_varies_is_for_everybody() {
    let house = House::new(Mode::Http);
    let de = get("/", &[("accept-language", "de")]);
    house
        .fill(
            &de,
            &says(200, &[MAX_AGE, ("vary", "accept-language")], "de"),
        )
        .unwrap();
    let en = get("/", &[("accept-language", "en")]);
    house
        .fill(
            &en,
            &says(200, &[MAX_AGE, ("vary", "accept-language, accept")], "en"),
        )
        .unwrap();
    assert_eq!(house.body(&de), None, "it may vary by more now");
    assert_eq!(house.body(&en).as_deref(), Some("en"));
}

#[test]
fn a_page_without_a_tag_gets_a_strong_one_and_a_repeat_visit_costs_a_304() {
    let house = House::new(Mode::UntilPurged);
    house
        .fill(
            &get("/", &[]),
            &says(200, &[("content-type", "text/html")], "one"),
        )
        .unwrap();
    let first = house.answer(&get("/", &[]));
    let tag = first.headers["etag"].to_str().unwrap();
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    let again = house.answer(&get("/", &[("if-none-match", tag)]));
    assert_eq!(again.status, 304);
    assert!(again.body.is_empty() && !again.headers.contains_key("content-type"));
    assert!(again.headers.contains_key("date") && again.headers.contains_key("age"));
    let part = get("/", &[("range", "bytes=1-"), ("if-range", tag)]);
    assert_eq!(house.answer(&part).body, "ne");
}

#[test]
fn rfc9110_14_parts_are_given_from_the_stored_whole() {
    let house = House::new(Mode::Http);
    let part = |range: &str| get("/", &[("range", range)]);
    let first = house.look_up(&part("bytes=0-1"));
    assert!(
        matches!(first, Lookup::Bypass(BypassReason::Range)),
        "{first:?}"
    );
    house
        .fill(&get("/", &[]), &says(200, &[MAX_AGE], "0123456789"))
        .unwrap();
    let answer = house.answer(&part("bytes=2-4"));
    assert_eq!(
        (answer.status.as_u16(), &answer.body[..]),
        (206, &b"234"[..])
    );
    assert_eq!(answer.headers["content-range"], "bytes 2-4/10");
    assert_eq!(answer.headers["content-length"], "3");
    let beyond = house.answer(&part("bytes=10-"));
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.headers["content-range"], "bytes */10");
    assert_eq!(house.answer(&part("bytes=0-1, 8-9")).status, 200);
}

#[test]
fn head_is_answered_from_the_page_of_get_and_stores_none() {
    let house = House::new(Mode::Http);
    let refused = house.fill(&head("/"), &says(200, &[MAX_AGE], "")).err();
    assert_eq!(refused, Some(BypassReason::Method));
    house
        .fill(&get("/", &[]), &says(200, &[MAX_AGE], "four"))
        .unwrap();
    let answer = house.answer(&head("/"));
    assert!(answer.body.is_empty());
    assert_eq!(answer.headers["content-length"], "4");
}

#[test]
fn headers_that_no_cache_names_are_not_kept() {
    let house = House::new(Mode::Http);
    let lines = [
        ("cache-control", "max-age=60, no-cache=\"x-user\""),
        ("x-user", "eve"),
        ("x-page", "1"),
    ];
    house
        .fill(&get("/", &[]), &says(200, &lines, "one"))
        .unwrap();
    let answer = house.answer(&get("/", &[]));
    assert!(!answer.headers.contains_key("x-user"));
    assert_eq!(answer.headers["x-page"], "1");
}

#[test]
fn pages_that_are_too_large_or_end_too_early_are_not_kept() {
    let house = House::with(Settings {
        max_page: 4,
        ..Settings::default()
    });
    let fill = |lines: &[(&str, &str)], body: &str| {
        let lines = [&[MAX_AGE], lines].concat();
        house.fill(&get("/", &[]), &says(200, &lines, body)).err()
    };
    assert_eq!(
        fill(&[("content-length", "4")], "thr"),
        Some(BypassReason::Incomplete)
    );
    assert_eq!(fill(&[], "fives"), Some(BypassReason::TooLarge));
    assert_eq!(
        fill(&[("content-length", "5")], "fives"),
        Some(BypassReason::TooLarge)
    );
    assert_eq!(fill(&[("content-length", "4")], "four"), None);
}

#[test]
fn a_filler_that_breaks_off_leaves_nothing_behind() {
    let house = House::new(Mode::Http);
    let client = get("/", &[]);
    let said = says(200, &[MAX_AGE], "one");
    let Answered::Record(recorder) = house.answered(house.permit(&client), &client, &said) else {
        panic!("it can be kept");
    };
    let recorder = recorder.push(&house.cache, b"on", house.now).unwrap();
    drop(recorder);
    assert_eq!(house.body(&client), None);
    assert_eq!(house.cache.fullness().fills, 0);
}

#[test]
fn rfc9111_5_2_1_clients_ask_for_newer_pages_or_none_but_stored_ones() {
    let mut house = House::new(Mode::Http);
    let with = |line: &'static str| get("/", &[("cache-control", line)]);
    let only = house.look_up(&with("only-if-cached"));
    assert!(matches!(only, Lookup::OnlyIfCached), "{only:?}");
    house
        .fill(&get("/", &[]), &says(200, &[MAX_AGE], "one"))
        .unwrap();
    house.later(30);
    assert_eq!(house.body(&with("only-if-cached")).as_deref(), Some("one"));
    assert_eq!(house.body(&with("max-age=30")).as_deref(), Some("one"));
    assert_eq!(house.body(&with("max-age=29")), None);
    assert_eq!(house.body(&with("min-fresh=30")).as_deref(), Some("one"));
    assert_eq!(house.body(&with("min-fresh=31")), None);
    assert_eq!(house.body(&with("no-cache")), None);
    house.later(40);
    let accepted = house.look_up(&with("max-stale=20"));
    assert!(
        matches!(accepted, Lookup::StaleServable { refresh: None, .. }),
        "{accepted:?}"
    );
    assert_eq!(house.body(&with("max-stale=5")), None);
}

#[test]
fn rfc9111_3_5_who_says_who_they_are_gets_what_is_for_everybody_alone() {
    let house = House::new(Mode::Http);
    let known = get("/", &[("authorization", "Basic eA==")]);
    house
        .fill(&get("/", &[]), &says(200, &[MAX_AGE], "one"))
        .unwrap();
    let lookup = house.look_up(&known);
    assert!(
        matches!(lookup, Lookup::Bypass(BypassReason::Authorization)),
        "{lookup:?}"
    );
    let public = get("/public", &[("authorization", "Basic eA==")]);
    house
        .fill(
            &public,
            &says(200, &[("cache-control", "s-maxage=9")], "two"),
        )
        .unwrap();
    assert_eq!(house.body(&public).as_deref(), Some("two"));
    assert_eq!(house.body(&get("/public", &[])).as_deref(), Some("two"));
}

#[test]
fn a_fill_asks_for_the_whole_whatever_part_or_condition_the_client_had() {
    let house = House::new(Mode::Http);
    let client = get(
        "/",
        &[("if-none-match", "\"old\""), ("if-modified-since", "x")],
    );
    let mut sent = client.headers.clone();
    house.permit(&client).prepare(&house.policy, &mut sent);
    assert_eq!(sent, headers(&[]));
}

#[test]
fn counters_and_the_list_of_places_tell_what_happened() {
    let house = House::new(Mode::Http);
    house
        .fill(
            &get("/a", &[]),
            &says(200, &[MAX_AGE, ("surrogate-key", "t1 t2")], "one"),
        )
        .unwrap();
    let refused = house
        .fill(&get("/b", &[]), &says(200, &[("set-cookie", "a=b")], ""))
        .err();
    assert_eq!(refused, Some(BypassReason::SetCookie));
    house.hit(&get("/a", &[]));
    let counted = house.site.counters().read();
    assert_eq!(
        (counted.hits, counted.misses, counted.fills, counted.pages),
        (1, 2, 1, 1)
    );
    assert_eq!(counted.refusals, [(BypassReason::SetCookie, 1)]);
    assert_eq!(counted.bytes, house.cache.fullness().bytes);
    let shown = house.cache.show(house.site.id(), Some("/a"), 10, house.now);
    assert_eq!(
        (shown.len(), &shown[0].tags[..]),
        (1, &["t1".to_owned(), "t2".to_owned()][..])
    );
    assert_eq!(
        (shown[0].host.as_str(), shown[0].ttl),
        ("a.example", Some(60))
    );
    let shown = house.cache.show(house.site.id(), Some("/b"), 10, house.now);
    assert_eq!(shown[0].refused, Some(BypassReason::SetCookie));
}

#[test]
fn nobody_waits_for_what_could_not_be_kept_and_it_is_kept_once_it_can_be() {
    let house = House::new(Mode::Http);
    let client = get("/", &[]);
    house
        .fill(&client, &says(200, &[("set-cookie", "a=b")], ""))
        .unwrap_err();
    let (one, other) = (house.permit(&client), house.permit(&client));
    assert!(!one.is_shared() && !other.is_shared());
    house
        .finish(one, &client, &says(200, &[MAX_AGE], "one"))
        .unwrap();
    assert_eq!(house.body(&client).as_deref(), Some("one"));
}

#[test]
fn a_scan_does_not_drive_out_what_is_asked_for_again() {
    let house = House {
        cache: page_cache::PageCache::new(1 << 20),
        ..House::new(Mode::UntilPurged)
    };
    let house = House {
        site: house.cache.site(house.site.id()),
        ..house
    };
    let body = "x".repeat(8 << 10);
    let popular = || (0..20).map(|number| get(&format!("/popular/{number}"), &[]));
    for client in popular() {
        house.fill(&client, &says(200, &[], &body)).unwrap();
        house.hit(&client);
        house.hit(&client);
    }
    for number in 0..1000 {
        let client = get(&format!("/scan/{number}"), &[]);
        house.fill(&client, &says(200, &[], &body)).unwrap();
    }
    let left = popular()
        .filter(|client| house.body(client).is_some())
        .count();
    assert!(left >= 18, "{left} of 20 popular pages are left");
    assert!(house.cache.fullness().bytes <= 1 << 20);
    let counted = house.site.counters().read();
    assert!(counted.evictions > 800, "{counted:?}");
    assert_eq!(
        counted.bytes,
        house.cache.fullness().bytes,
        "what left gave its memory back"
    );
}

#[test]
fn only_one_asks_for_a_page() {
    let house = House::new(Mode::Http);
    let client = get("/", &[]);
    let permit = house.permit(&client);
    let Lookup::Miss(ask) = house.look_up(&client) else {
        panic!("nothing is stored yet");
    };
    assert!(matches!(house.begin(ask), Begin::Wait(_)));
    drop(permit);
    assert!(house.permit(&client).is_shared());
}
