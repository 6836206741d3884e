//! What people see, as snapshots.

use anstream::adapter::strip_str;
use insta::assert_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};
use wire::control::StatusDocument;

use super::picture::Picture;
use super::{detail, overview};

fn instance(number: u32, pid: Option<u32>) -> Value {
    json!({
        "number": number, "pid": pid, "incarnation": 40 + number,
        "revision": "00112233445566778899aabbccddeeff",
        "state": if pid.is_some() { "ready" } else { "queued" },
        "socket": format!("/run/emperor/i/1.{}/s", 40 + number),
        "started_at": pid.map(|_| "2026-01-01T11:58:30Z"),
        "rss_bytes": 22_000_000, "requests": 1200, "in_flight": 2,
    })
}

fn site(id: i64, slug: &str, state: &str, detail: &str) -> Value {
    json!({
        "id": id, "slug": slug, "state": state, "detail": detail,
        "hosts": [format!("{slug}.example.com"), format!("www.{slug}.example.com")],
        "revision": null, "restarts": 0, "instances": [],
    })
}

fn house(sites: &Value) -> StatusDocument {
    let document = json!({
        "emperor": {
            "version": "0.1.0", "pid": 4711, "node": "web1",
            "started_at": "2026-01-01T08:00:00Z",
            "database": {
                "state": "connected", "target": "db:5432/sites", "detail": "",
                "notification_queue_usage": 0.0, "rows": "database",
                "last_read_at": "2026-01-01T11:59:48Z",
            },
            "removals_held": [],
        },
        "router": {
            "state": "running", "detail": "", "pid": 4720, "listen": ["127.0.0.1:8080"],
            "generation": 12, "connections": 1, "requests": 123_456, "in_flight": 3,
        },
        "sites": sites,
    });
    serde_json::from_value(document).unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn plain(status: &StatusDocument) -> String {
    strip_str(&overview::render(status, now())).to_string()
}

#[test]
fn problems_come_first_with_their_cause_beneath() {
    let mut ready = site(1, "portal", "ready", "");
    ready["instances"] = json!([instance(1, Some(5001)), instance(2, Some(5002))]);
    let mut reloading = site(
        4,
        "shop",
        "ready",
        "revision 0123 did not get ready: HTTP 500\nthe old one serves",
    );
    reloading["instances"] = json!([instance(1, Some(5003))]);
    reloading["restarts"] = json!(2);
    let status = house(&json!([
        ready,
        site(2, "blog", "disabled", ""),
        site(
            3,
            "wiki",
            "failed",
            "could not execute the program gunicron: No such file or directory"
        ),
        reloading,
    ]));
    assert_snapshot!(plain(&status), @"
    emperor   0.1.0 on web1, pid 4711, up 4h
    database  connected db:5432/sites, read 12s ago
    router    running, pid 4720, on 127.0.0.1:8080; 1 connection, 3 in flight, 123456 answered

    4 sites: 1 failed, 1 ready with a problem, 1 ready, 1 disabled

       ID  SITE    STATE     HOSTS                  PID      UP      MEMORY  REQUESTS  RESTARTS
    ✗   3  wiki    failed    wiki.example.com +1
         could not execute the program gunicron: No such file or directory
    …   4  shop    ready     shop.example.com +1    5003     1m 30s  20 MiB      1200         2
         revision 0123 did not get ready: HTTP 500
         the old one serves
    ●   1  portal  ready     portal.example.com +1  5001 +1  1m 30s  41 MiB      2400
    ○   2  blog    disabled  blog.example.com +1
    ");
}

#[test]
fn a_house_without_sites_says_how_to_add_one() {
    assert_snapshot!(plain(&house(&json!([]))), @"
    emperor   0.1.0 on web1, pid 4711, up 4h
    database  connected db:5432/sites, read 12s ago
    router    running, pid 4720, on 127.0.0.1:8080; 1 connection, 3 in flight, 123456 answered

    No sites yet. Add one: emperor site add NAME --template TEMPLATE
    ");
}

#[test]
fn what_is_wrong_with_the_house_stands_in_its_header() {
    let mut status = house(&json!([site(1, "portal", "ready", "")]));
    status.emperor.database.state = "lost".into();
    status.emperor.database.detail =
        "could not connect: Connection refused; retried forever".into();
    status.emperor.removals_held = (1..=12).collect();
    status.router.state = "failed".into();
    status.router.detail = "the fastrouter ended with status 1".into();
    assert_snapshot!(plain(&status), @"
    emperor   0.1.0 on web1, pid 4711, up 4h
    database  lost db:5432/sites, read 12s ago
              could not connect: Connection refused; retried forever
    router    failed, pid 4720, on 127.0.0.1:8080
              the fastrouter ended with status 1
    removals  12 sites gone from the database and kept: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more
              `emperor confirm-removals` stops them

    1 site: 1 ready

       ID  SITE    STATE  HOSTS
    ●   1  portal  ready  portal.example.com +1
    ");
}

#[test]
fn a_terminal_gets_colours() {
    let status = house(&json!([site(3, "wiki", "failed", "why")]));
    let text = overview::render(&status, now());
    assert!(
        text.contains("\u{1b}[1m\u{1b}[31mfailed\u{1b}[0m"),
        "{text:?}"
    );
    assert!(!plain(&status).contains('\u{1b}'));
}

#[test]
fn one_site_is_shown_with_instances_and_last_lines() {
    let mut portal = site(
        1,
        "portal",
        "backing-off",
        "the worker ended with status 3; tried again in 4s",
    );
    portal["instances"] = json!([instance(1, Some(5001)), instance(2, None)]);
    portal["revision"] = json!("00112233445566778899aabbccddeeff");
    portal["restarts"] = json!(5);
    let status = house(&json!([portal]));
    let lines = "2026-01-01T11:59:00.000Z 1.41 err ModuleNotFoundError: portal\n2026-01-01T11:59:00.001Z 1.41 err \u{1b}[31mred\n";
    let text = detail::render(&status.sites[0], lines, now());
    assert_snapshot!(strip_str(&text).to_string(), @r#"
    portal (id 1)  backing-off
      the worker ended with status 3; tried again in 4s
      hosts      portal.example.com
                 www.portal.example.com
      revision   00112233445566778899aabbccddeeff
      restarts   5

      Instances
        NUMBER  STATE    PID  INCARNATION  REVISION      UP      MEMORY  REQUESTS  IN FLIGHT  SOCKET
             1  ready   5001           41  001122334455  1m 30s  20 MiB      1200          2  /run/emperor/i/1.41/s
             2  queued                 42  001122334455          20 MiB      1200          2  /run/emperor/i/1.42/s

      Last lines (emperor logs portal shows more)
        2026-01-01T11:59:00.000Z 1.41 err ModuleNotFoundError: portal
        2026-01-01T11:59:00.001Z 1.41 err \u{1b}[31mred
    "#);
}

#[test]
fn a_start_that_failed_is_shown_step_by_step() {
    let mut portal = site(
        1,
        "portal",
        "backing-off",
        "its process exited with status 3",
    );
    portal["next_try_at"] = json!("2026-01-01T12:00:12.500Z");
    portal["exit"] = json!({
        "at": "2026-01-01T11:59:58.000Z", "incarnation": 41, "code": 3, "signal": null,
        "reason": "exited with status 3", "asked": false, "stderr": ["no such table"],
    });
    portal["last_start"] = json!({
        "incarnation": 41, "began_at": "2026-01-01T11:59:56Z", "outcome": "failed", "ms": 1261,
        "steps": [
            {"step": "turn", "ms": 0, "outcome": "done"},
            {"step": "exec", "ms": 11, "outcome": "done"},
            {"step": "answer", "ms": 1250, "outcome": "failed"},
        ],
        "failed": {"step": "answer", "reason": "its process exited with status 3"},
    });
    portal["events"] = json!([
        {"at": "2026-01-01T11:59:56Z", "from": null, "to": "starting", "reason": "wanted",
         "incarnation": null, "detail": "waits for its turn to start"},
        {"at": "2026-01-01T11:59:58Z", "from": "starting", "to": "backing-off", "reason": "exited",
         "incarnation": 41, "detail": "its process exited with status 3"},
    ]);
    let status = house(&json!([portal]));
    let text = detail::render(&status.sites[0], "", now());
    assert_snapshot!(strip_str(&text).to_string(), @"
    portal (id 1)  backing-off
      its process exited with status 3
      hosts      portal.example.com
                 www.portal.example.com
      restarts   0
      next try   in 12s (12:00:12Z)
      last exit  incarnation 41 exited with status 3, 2s ago

      Last start: incarnation 41, began 4s ago, failed after 1.2s
        STEP    TOOK  OUTCOME  WHY
        turn      0s  done
        exec    11ms  done
        answer  1.2s  failed   its process exited with status 3

      What happened
        AGO  STATE        REASON  INCARNATION  WHY
        4s   starting     wanted               waits for its turn to start
        2s   backing-off  exited           41  its process exited with status 3
    ");
}

#[test]
fn the_cache_and_the_targets_in_front_are_told() {
    let mut portal = site(1, "portal", "ready", "");
    portal["cache"] = json!({
        "hit_ratio": 0.875, "hits": 7, "stale": 0, "misses": 1, "fills": 1, "revalidations": 0,
        "waits": 0, "evictions": 0, "purges": 2, "pages": 1, "bytes": 4096, "bypasses": [],
        "refusals": [],
    });
    let mut status = house(&json!([portal]));
    let target = |name: &str, queued: usize, failing: Option<&str>, dead: u64| {
        json!({
            "name": name, "kind": "varnish", "queued": queued, "failing": failing,
            "next_try_in_ms": failing.map(|_| 12_000), "dead": dead,
        })
    };
    status.router.cache = serde_json::from_value(json!({
        "suspended": true, "pages": 2, "entries": 3, "bytes": 8192, "fills": 1,
    }))
    .unwrap();
    status.emperor.purges = serde_json::from_value(json!({
        "following": false, "detail": "no route to db",
        "targets": [target("a", 0, None, 0), target("b", 2, Some("no connection"), 1)],
    }))
    .unwrap();
    assert_snapshot!(plain(&status), @"
    emperor   0.1.0 on web1, pid 4711, up 4h
    database  connected db:5432/sites, read 12s ago
    router    running, pid 4720, on 127.0.0.1:8080; 1 connection, 3 in flight, 123456 answered
    cache     2 pages, 1 marker in 8.0 KiB, 1 being filled; out of use while purges can't be heard
    purges    not followed: no route to db
    purges    a (varnish): nothing waits
    purges    b (varnish): 2 wait, tried again in 12s: no connection; 1 purge given up, see emperor.purge_dead_letters

    1 site: 1 ready

       ID  SITE    STATE  HOSTS                  CACHED
    ●   1  portal  ready  portal.example.com +1     87%
    ");
    let shown = detail::render(&status.sites[0], "", now());
    let line = strip_str(&shown).to_string();
    assert!(
        line.contains("87% of 8 requests answered from the cache; pages stored: 1 in 4.0 KiB"),
        "{line}"
    );
}

fn pool() -> Value {
    let sites = [
        (1, "portal", "inside"),
        (2, "shop", "inside"),
        (3, "wiki", "leaving"),
    ];
    let sites = sites.map(
        |(id, slug, place)| json!({ "id": id, "slug": slug, "state": "ready", "place": place }),
    );
    json!({
        "name": "small", "state": "ready", "detail": "", "revision": "00ff", "restarts": 1,
        "instances": [instance(1, Some(5001))], "site_count": 3, "sites": sites,
    })
}

#[test]
fn a_pool_is_shown_with_its_worker_and_its_sites() {
    let mut status = house(&json!([]));
    status.pools = vec![serde_json::from_value(pool()).unwrap()];
    let picture = Picture::of(status, true);
    let text = picture.render("2026-01-01T11:59:00.000Z 1.41 err ready\n", now());
    assert_snapshot!(strip_str(&text).to_string(), @"
    pool.small  ready
      sites      2 inside, 1 leaving
      revision   00ff
      restarts   1

      Sites
        ID  SITE    STATE  PLACE
         1  portal  ready  inside
         2  shop    ready  inside
         3  wiki    ready  leaving

      Instances
        NUMBER  STATE   PID  INCARNATION  REVISION      UP      MEMORY  REQUESTS  IN FLIGHT  SOCKET
             1  ready  5001           41  001122334455  1m 30s  20 MiB      1200          2  /run/emperor/i/1.41/s

      Last lines (emperor logs pool.small shows more)
        2026-01-01T11:59:00.000Z 1.41 err ready
    ");
}

#[test]
fn pools_stand_below_the_sites_and_a_site_leads_to_its_own() {
    let mut portal = site(1, "portal", "ready", "in pool small");
    portal["pool"] = json!("small");
    let mut status = house(&json!([portal]));
    status.pools = vec![serde_json::from_value(pool()).unwrap()];
    let text = detail::render(&status.sites[0], "", now());
    assert_snapshot!(strip_str(&text).to_string(), @"
    portal (id 1)  ready
      in pool small
      pool       small: emperor status pool.small shows its worker, and who shares it
      hosts      portal.example.com
                 www.portal.example.com
      restarts   0
    ");
    let text = Picture::of(status, false).render("", now());
    assert_snapshot!(strip_str(&text).to_string(), @"
    emperor   0.1.0 on web1, pid 4711, up 4h
    database  connected db:5432/sites, read 12s ago
    router    running, pid 4720, on 127.0.0.1:8080; 1 connection, 3 in flight, 123456 answered

    1 site: 1 ready

       ID  SITE    STATE  HOSTS
    ●   1  portal  ready  portal.example.com +1

       POOL        STATE  SITES  PID   UP      MEMORY  REQUESTS  RESTARTS
    ●  pool.small  ready      3  5001  1m 30s  20 MiB      1200         1
    ");
}
