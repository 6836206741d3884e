//! Pages that have expired: asked again, served meanwhile, served instead of a failure.

use page_cache::{Answered, Begin, BypassReason, Lookup, Mode, Settings};
use std::time::Duration;

use crate::house::{House, MAX_AGE, get, head, headers, says};

const TAG: (&str, &str) = ("etag", "\"v1\"");

fn expired(lines: &[(&str, &str)]) -> House {
    let mut house = House::new(Mode::Http);
    house
        .fill(&get("/", &[]), &says(200, lines, "one"))
        .unwrap();
    house.later(61);
    house
}

#[test]
fn rfc9111_4_3_1_an_expired_page_is_validated_by_what_the_worker_gave() {
    let house = expired(&[
        MAX_AGE,
        TAG,
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ]);
    let mut sent = headers(&[("if-none-match", "\"client\""), ("accept", "*/*")]);
    house
        .permit(&get("/", &[]))
        .prepare(&house.policy, &mut sent);
    let expected = [
        ("if-none-match", "\"v1\""),
        ("accept", "*/*"),
        ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ];
    assert_eq!(sent, headers(&expected));
}

#[test]
fn a_tag_of_our_own_is_none_of_the_workers_business() {
    let house = expired(&[MAX_AGE]);
    let mut sent = headers(&[]);
    house
        .permit(&get("/", &[]))
        .prepare(&house.policy, &mut sent);
    assert_eq!(sent, headers(&[]));
}

#[test]
fn rfc9111_4_3_4_a_304_makes_the_page_fresh_and_its_headers_new() {
    let house = expired(&[MAX_AGE, TAG, ("x", "1"), ("content-type", "text/html")]);
    let client = get("/", &[]);
    let said = says(304, &[TAG, ("cache-control", "max-age=30"), ("x", "2")], "");
    let answered = house.answered(house.permit(&client), &client, &said);
    assert!(matches!(answered, Answered::Validated(_)), "{answered:?}");
    let answer = house.answer(&client);
    assert_eq!(answer.body, "one");
    assert_eq!(answer.headers["x"], "2");
    assert_eq!(answer.headers["content-type"], "text/html");
    assert_eq!(
        (house.hit(&client).age(), house.hit(&client).ttl()),
        (0, 30)
    );
    assert_eq!(house.site.counters().read().revalidations, 1);
}

#[test]
fn rfc9111_4_3_4_a_304_of_another_page_is_not_believed() {
    let house = expired(&[MAX_AGE, TAG]);
    let client = get("/", &[]);
    for lines in [&[("etag", "\"v2\"")][..], &[TAG, ("set-cookie", "a=b")]] {
        let answered = house.answered(house.permit(&client), &client, &says(304, lines, ""));
        let Answered::AskAgain(permit) = answered else {
            panic!("{lines:?}: {answered:?}");
        };
        let mut sent = headers(&[]);
        permit.prepare(&house.policy, &mut sent);
        assert_eq!(sent, headers(&[]), "it asks for the whole now");
        house
            .finish(
                permit,
                &client,
                &says(200, &[("cache-control", "max-age=0"), TAG], "new"),
            )
            .unwrap();
    }
}

#[test]
fn an_answer_with_200_takes_the_page_s_place() {
    let house = expired(&[MAX_AGE, TAG]);
    house
        .fill(&get("/", &[]), &says(200, &[MAX_AGE], "two"))
        .unwrap();
    assert_eq!(house.body(&get("/", &[])).as_deref(), Some("two"));
}

#[test]
fn rfc5861_3_one_refreshes_and_all_others_are_served_meanwhile() {
    let lines = [
        ("cache-control", "max-age=60, stale-while-revalidate=10"),
        TAG,
    ];
    let mut house = expired(&lines);
    let client = get("/", &[]);
    let permit = house.permit(&client);
    let Lookup::StaleServable {
        hit,
        refresh: Some(ask),
    } = house.look_up(&client)
    else {
        panic!("it may be served expired");
    };
    assert_eq!(hit.ttl(), -1);
    assert!(matches!(house.begin(ask), Begin::ServeStale(_)));
    drop(permit);
    house.later(10);
    let lookup = house.look_up(&client);
    assert!(matches!(lookup, Lookup::Revalidate(_)), "{lookup:?}");
}

#[test]
fn rfc5861_4_a_failing_worker_is_hidden_for_as_long_as_the_page_permits() {
    let mut house = expired(&[("cache-control", "max-age=60, stale-if-error=10")]);
    let client = get("/", &[]);
    let failing = says(503, &[], "");
    let answered = house.answered(house.permit(&client), &client, &failing);
    assert!(matches!(answered, Answered::Rescued(_)), "{answered:?}");
    let request = house.request(&client).unwrap();
    assert!(house.permit(&client).failed(&request, house.now).is_some());
    house.later(10);
    let answered = house.answered(house.permit(&client), &client, &failing);
    assert!(
        matches!(answered, Answered::Refused(BypassReason::WorkerError)),
        "{answered:?}"
    );
    let request = house.request(&client).unwrap();
    assert!(house.permit(&client).failed(&request, house.now).is_none());
}

#[test]
fn what_must_be_validated_is_not_served_instead_of_an_error() {
    let mut house = House::with(Settings {
        stale_if_error: Duration::from_hours(1),
        ..Settings::default()
    });
    let lines = [("cache-control", "max-age=60, must-revalidate")];
    let client = get("/", &[("cache-control", "stale-if-error=3600")]);
    house.fill(&client, &says(200, &lines, "one")).unwrap();
    house.later(61);
    let request = house.request(&client).unwrap();
    assert!(house.permit(&client).failed(&request, house.now).is_none());
}

#[test]
fn a_failure_is_neither_kept_nor_does_it_take_a_page_s_place() {
    let house = expired(&[MAX_AGE, TAG]);
    let client = get("/", &[]);
    house.fill(&client, &says(500, &[], "broken")).unwrap_err();
    let said = says(304, &[TAG], "");
    let answered = house.answered(house.permit(&client), &client, &said);
    assert!(matches!(answered, Answered::Validated(_)), "{answered:?}");
    assert_eq!(house.body(&client).as_deref(), Some("one"));
}

#[test]
fn what_is_good_for_no_time_is_validated_by_each_without_waiting() {
    let mut house = House::new(Mode::Http);
    let client = get("/", &[]);
    house
        .fill(
            &client,
            &says(200, &[("cache-control", "no-cache"), TAG], "one"),
        )
        .unwrap();
    let permits = [house.permit(&client), house.permit(&client)];
    for permit in permits {
        assert!(!permit.is_shared());
        let answered = house.answered(permit, &client, &says(304, &[TAG], ""));
        assert!(matches!(answered, Answered::Validated(_)), "{answered:?}");
        house.later(1);
    }
}

#[test]
fn rfc9111_4_3_5_head_makes_a_page_fresh_or_drops_it() {
    let mut house = expired(&[MAX_AGE, TAG]);
    let ask = |house: &House, lines: &[(&str, &str)]| {
        let refused = house.fill(&head("/"), &says(200, lines, "")).err();
        assert_eq!(refused, Some(BypassReason::Method));
    };
    ask(&house, &[MAX_AGE, TAG, ("content-length", "3")]);
    assert_eq!(house.body(&get("/", &[])).as_deref(), Some("one"));
    house.later(61);
    ask(&house, &[MAX_AGE, TAG, ("content-length", "4")]);
    let lookup = house.look_up(&get("/", &[]));
    assert!(matches!(lookup, Lookup::Miss(_)), "{lookup:?}");
}

#[test]
fn until_purged_has_a_ceiling_where_one_is_set() {
    let mut house = House::with(Settings {
        mode: Mode::UntilPurged,
        max_age: Some(Duration::from_mins(1)),
        stale_while_revalidate: Duration::from_secs(5),
        ..Settings::default()
    });
    house.fill(&get("/", &[]), &says(200, &[], "one")).unwrap();
    house.later(60);
    let lookup = house.look_up(&get("/", &[]));
    assert!(
        matches!(
            lookup,
            Lookup::StaleServable {
                refresh: Some(_),
                ..
            }
        ),
        "{lookup:?}"
    );
    house.later(5);
    let lookup = house.look_up(&get("/", &[]));
    assert!(matches!(lookup, Lookup::Revalidate(_)), "{lookup:?}");
}
