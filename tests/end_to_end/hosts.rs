//! Which host leads to which site, and what the router answers by itself.

use hyper::StatusCode;
use nix::sys::signal::Signal;
use support::{House, Load, PATIENCE, eventually};

async fn house_with_two_sites() -> House {
    let house = House::open_with("default_site = \"two\"").await;
    let one = house.insert_tiny("one", "").await;
    house.insert_tiny("two", "").await;
    let statement = "INSERT INTO emperor.domains (host, site_id, kind) VALUES \
                     ('alias.example', $1, 'alias'), ('old.example', $1, 'redirect'), \
                     ('*.wild.example', $1, 'alias'), ('b\u{fc}cher.example', $1, 'alias')";
    let encoded = statement.replace("b\u{fc}cher", "xn--bcher-kva");
    house.sql(&encoded, &[&one]).await;
    house.page("one.example").await;
    house.page("two.example").await;
    eventually("the aliases", PATIENCE, async || {
        let site = house.emperor.site("one").await.unwrap();
        let all = site["hosts"].as_array().unwrap().len() == 5;
        all.then_some(()).ok_or_else(|| site.to_string())
    })
    .await;
    house
        .page_where("alias.example", |page| page["slug"] == "one")
        .await;
    house
}

#[tokio::test]
async fn every_spelling_of_a_host_leads_to_its_site_and_the_others_to_the_default() {
    let house = house_with_two_sites().await;
    for (host, slug) in [
        ("one.example", "one"),
        ("ONE.example", "one"),
        ("one.example.", "one"),
        ("one.example:8080", "one"),
        ("alias.example", "one"),
        ("a.wild.example", "one"),
        ("a.b.wild.example", "one"),
        ("xn--bcher-kva.example", "one"),
        ("two.example", "two"),
        ("wild.example", "two"),
        ("unknown.example", "two"),
    ] {
        let page = house.client.get(host, "/").await.json();
        assert_eq!(page["slug"], slug, "{host}");
    }
}

#[tokio::test]
async fn a_redirect_host_leads_to_the_canonical_one_with_path_and_query() {
    let house = house_with_two_sites().await;
    let answer = house.client.get("old.example", "/a/b?c=d%20e").await;
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(answer.header("location"), "http://one.example/a/b?c=d%20e");
}

/// Waits until a site is ready and has these hosts, in its status and in the database.
async fn until_reached_at(house: &House, slug: &str, first: &str) {
    eventually("the hosts", PATIENCE, async || {
        let site = house.emperor.in_state(slug, "ready").await;
        let statement = "SELECT FROM emperor.site_status WHERE site_id = $1 AND hosts[1] = $2";
        let row = house.sql(statement, &[&site["id"].as_i64(), &first]).await;
        let told = site["hosts"][0] == first && row == 1;
        told.then_some(()).ok_or_else(|| site.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_changed_domain_moves_the_site_at_commit_and_leaves_its_worker_alone() {
    let house = house_with_two_sites().await;
    let before = house.page("one.example").await;
    let load = Load::start(house.client, &["alias.example", "two.example"], "/");
    for (domain, former) in [
        ("new.example", "one.example"),
        ("newer.example", "new.example"),
    ] {
        let statement = "UPDATE emperor.sites SET domain = $1 WHERE slug = 'one'";
        house.sql(statement, &[&domain]).await;
        let page = house.page_where(domain, |page| page["slug"] == "one").await;
        assert_eq!(page["pid"], before["pid"]);
        assert_eq!(page["domain"], "one.example", "as it was at its start");
        let page = house.client.get(former, "/").await.json();
        assert_eq!(page["slug"], "two", "{former} is unknown now");
        until_reached_at(&house, "one", domain).await;
    }
    let answer = house.client.get("old.example", "/a").await;
    assert_eq!(answer.header("location"), "http://newer.example/a");
    house
        .sql(
            "DELETE FROM emperor.domains WHERE host = '*.wild.example'",
            &[],
        )
        .await;
    house
        .page_where("a.wild.example", |page| page["slug"] == "two")
        .await;
    load.stop().await;
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["restarts"], 0);
    assert_eq!(site["instances"][0]["pid"], before["pid"]);
}

#[tokio::test]
async fn a_worker_that_is_told_its_domain_is_replaced_when_that_changes() {
    let house = House::open().await;
    let one = house.insert_tiny("one", "{{ site.domain }}").await;
    let statement = "INSERT INTO emperor.domains (host, site_id) VALUES ('alias.example', $1)";
    house.sql(statement, &[&one]).await;
    let before = house.page("one.example").await;
    assert_eq!(before["marker"], "one.example");
    house.page("alias.example").await;
    let load = Load::start(house.client, &["alias.example"], "/");
    let statement = "UPDATE emperor.sites SET domain = 'new.example' WHERE slug = 'one'";
    house.sql(statement, &[]).await;
    let page = house.page("new.example").await;
    assert_eq!(page["marker"], "new.example");
    assert_ne!(page["pid"], before["pid"]);
    load.stop().await;
}

#[tokio::test]
async fn the_next_emperor_knows_a_renamed_site_by_its_new_domain() {
    let mut house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = house.page("one.example").await;
    let statement = "UPDATE emperor.sites SET domain = 'new.example' WHERE slug = 'one'";
    house.sql(statement, &[]).await;
    house.page("new.example").await;
    let load = Load::start(house.client, &["new.example"], "/");
    house.emperor.signal(Signal::SIGUSR2);
    house.emperor.ended(PATIENCE);
    house.emperor.start_again().await;
    until_reached_at(&house, "one", "new.example").await;
    load.stop().await;
    let page = house.page("new.example").await;
    assert_eq!(page["pid"], before["pid"]);
}

#[tokio::test]
async fn two_sites_exchange_their_domains_in_one_commit() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    house.insert_tiny("two", "").await;
    let pids = [
        house.page("one.example").await["pid"].clone(),
        house.page("two.example").await["pid"].clone(),
    ];
    let statements = "BEGIN; SET CONSTRAINTS ALL DEFERRED; \
                      UPDATE emperor.sites SET domain = 'two.example' WHERE slug = 'one'; \
                      UPDATE emperor.sites SET domain = 'one.example' WHERE slug = 'two'; \
                      COMMIT";
    let writer = house.postgres.client().await;
    writer.batch_execute(statements).await.unwrap();
    for (host, slug, pid) in [
        ("two.example", "one", &pids[0]),
        ("one.example", "two", &pids[1]),
    ] {
        let page = house.page_where(host, |page| page["slug"] == slug).await;
        assert_eq!(page["pid"], *pid);
    }
}

#[tokio::test]
async fn what_names_no_site_or_is_no_request_is_answered_by_the_router() {
    let house = House::open().await;
    house.insert_tiny("one", "").await;
    house.page("one.example").await;
    let answer = house.client.get("unknown.example", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_ne!(answer.header("x-request-id"), "");
    for (name, request) in [
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        (
            "two hosts",
            "GET / HTTP/1.1\r\nHost: one.example\r\nHost: one.example\r\n\r\n",
        ),
        (
            "a malformed host",
            "GET / HTTP/1.1\r\nHost: ../x.sock\r\n\r\n",
        ),
        (
            "two framings",
            "POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 3\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 3\r\n\
             Content-Length: 5\r\n\r\nabcde",
        ),
        (
            "a folded header",
            "GET / HTTP/1.1\r\nHost: one.example\r\nA: b\r\n c\r\n\r\n",
        ),
        ("a bare LF", "GET / HTTP/1.1\nHost: one.example\n\n"),
    ] {
        let answer = house.client.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{name}: {answer}");
    }
}

#[tokio::test]
async fn the_domains_of_a_copied_database_are_rewritten() {
    let house = House::open_with("[domains]\nrewrite = true").await;
    house.insert_tiny("one", "").await;
    let page = house.page("one.localhost").await;
    assert_eq!(page["domain"], "one.localhost");
    let answer = house.client.get("one.example", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}
