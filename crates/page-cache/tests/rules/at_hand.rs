//! A page that is at hand is the one that a look finds, and its head in bytes is the one that is answered.

use http::HeaderMap;
use page_cache::{Lookup, Mode, Plain, Purge, Scheme, Settings};
use proptest::prelude::*;

use crate::house::{Client, House, get, says, site_id};

/// What is at hand for a client: the lines of its head, and its body.
fn at_hand(house: &House, client: &Client) -> Option<(String, Vec<u8>)> {
    let asked = crate::house::asked(client);
    let plain = Plain {
        scheme: Scheme::Https,
        host: asked.host,
        path: asked.path,
        query: asked.query,
        has_cookies: client.headers.contains_key("cookie"),
    };
    let lines = || {
        let lines = client.headers.iter();
        lines.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
    };
    let mut key = b"what was here before".to_vec();
    let found = house.cache.at_hand(
        &house.site,
        &house.policy,
        plain,
        lines,
        &mut key,
        house.now,
    )?;
    let mut head = Vec::new();
    found.write_headers(&mut head);
    let head = String::from_utf8(head).unwrap();
    Some((head, found.page().body_bytes().to_vec()))
}

fn written(headers: &HeaderMap) -> String {
    let lines = headers.iter();
    let lines = lines.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    lines
        .chain([String::new()])
        .collect::<Vec<_>>()
        .join("\r\n")
}

/// One line of an answer.
fn said() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![
        Just(("cache-control", "max-age=60")),
        Just(("cache-control", "no-cache")),
        Just(("cache-control", "max-age=5, stale-while-revalidate=5")),
        Just(("vary", "Accept-Encoding")),
        Just(("vary", "Accept-Language, Cookie")),
        Just(("vary", "*")),
        Just(("etag", "\"1\"")),
        Just(("date", "Sun, 09 Sep 2001 01:46:40 GMT")),
        Just(("age", "3")),
        Just(("x-request-id", "the worker's")),
        Just(("link", "</a>")),
        Just(("link", "</b>")),
        Just(("x-empty", "")),
        Just(("surrogate-key", "one two")),
        Just(("set-cookie", "a=b")),
    ]
}

/// One line of a request that asks for a page and for nothing else.
fn asked() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![
        Just(("accept-encoding", "gzip, BR")),
        Just(("accept-encoding", "br,gzip")),
        Just(("accept-language", "de")),
        Just(("accept-language", "en;q=0.5")),
        Just(("x-other", "1")),
        Just(("cookie", "lang=de; _ga=1")),
        Just(("cookie", "lang=en")),
        Just(("cookie", "_ga=2")),
        Just(("cookie", "session=1")),
    ]
}

fn target() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "/a",
        "/%61",
        "/a?b=1",
        "/a?utm_x=1",
        "/a?c&b=1",
        "/a?",
        "/admin/",
    ])
}

proptest! {
    #[test]
    fn what_is_at_hand_is_what_a_look_finds(
        mode in prop::sample::select(vec![Mode::Http, Mode::UntilPurged]),
        sort_query in any::<bool>(),
        pages in prop::collection::vec(
            (target(), prop::collection::vec(asked(), 0..3), prop::collection::vec(said(), 0..6), 0u64..8),
            1..6,
        ),
        status in prop::sample::select(vec![200u16, 203, 301, 404, 500]),
        body in prop::sample::select(vec!["", "body"]),
        purge in prop::option::of(target()),
        requests in prop::collection::vec((target(), prop::collection::vec(asked(), 0..3)), 1..6),
        later in 0u64..70,
    ) {
        let mut house = House::with(Settings {
            mode,
            sort_query,
            ignore_query: vec!["utm_*".into()],
            cookies: vec!["lang".into()],
            ignore_cookies: vec!["_ga".into()],
            ..Settings::default()
        });
        for (target, lines, said, after) in &pages {
            let client = get(target, lines);
            house.later(*after);
            if matches!(house.look_up(&client), Lookup::Miss(_) | Lookup::Revalidate(_)) {
                // Whatever can't be kept is not.
                house.answer_with(&client, &says(status, said, body));
            }
        }
        if let Some(path) = purge {
            house.cache.purge(site_id(), &[Purge::path(path)]);
        }
        house.later(later);
        for (target, lines) in &requests {
            let client = get(target, lines);
            let hits = || house.site.counters().read().hits;
            let before = hits();
            let glance = at_hand(&house, &client);
            prop_assert_eq!(hits() - before, u64::from(glance.is_some()));
            let looked = match house.look_up(&client) {
                Lookup::Fresh(_) => {
                    let answer = house.answer(&client);
                    Some((written(&answer.headers), answer.body.to_vec()))
                }
                _ => None,
            };
            prop_assert_eq!(glance, looked.filter(|(_, body)| !body.is_empty()));
        }
        house.cache.suspend();
        for (target, lines) in &requests {
            prop_assert_eq!(at_hand(&house, &get(target, lines)), None);
        }
    }
}
