//! What a client gets, case by case: the table of the contract.

use http::Method;
use wire::route::{ServiceFrame, ToRouter};

use crate::client::Reply;
use crate::house::{House, ready, route, settings};
use crate::worker::Worker;

/// A house with a ready site 1 that says its name.
async fn with_a_site() -> (House, Worker) {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page of site 1");
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    (house, worker)
}

fn assert_page(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("x-request-id").len(), 32, "{reply:?}");
    let id = reply.header("x-request-id");
    assert!(
        reply.text().contains(id),
        "a page that doesn't name the request: {}",
        reply.text()
    );
}

#[tokio::test]
async fn a_site_answers_for_its_hosts_in_any_spelling() {
    let (house, _worker) = with_a_site().await;
    let mut client = house.client().await;
    for host in ["site-1.example", "SITE-1.example.", "site-1.example:8080"] {
        let reply = client.get(host, "/").await;
        assert_eq!(
            (reply.status, reply.text()),
            (200, "page of site 1"),
            "{host}"
        );
        assert_eq!(reply.header("x-request-id").len(), 32);
        assert!(!reply.header("date").is_empty());
    }
}

#[tokio::test]
async fn the_exact_host_wins_over_the_longest_wildcard_over_the_default_site() {
    let mut house = House::with(|settings| settings.default_site = "site-3".into()).await;
    let workers: Vec<_> = ["exact", "wildcard", "default"]
        .into_iter()
        .map(|name| Worker::saying(house.socket(name), name))
        .collect();
    for (id, worker) in (1..).zip(&workers) {
        let mut route = route(id, ready(&[(id.unsigned_abs(), worker.socket.clone())]));
        if id == 2 {
            route.serve = vec!["*.example".into()];
        }
        house.publish(route).await;
    }
    let mut client = house.client().await;
    for (host, expected) in [
        ("site-1.example", "exact"),
        ("a.b.example", "wildcard"),
        ("elsewhere.test", "default"),
    ] {
        assert_eq!(client.get(host, "/").await.text(), expected, "{host}");
    }
}

#[tokio::test]
async fn an_unknown_host_gets_404_and_the_connection_goes_on() {
    let (house, _worker) = with_a_site().await;
    let mut client = house.client().await;
    assert_page(&client.get("unknown.example", "/").await, 404);
    assert_eq!(client.get("site-1.example", "/").await.status, 200);
}

#[tokio::test]
async fn a_redirecting_alias_leads_to_the_canonical_host_in_one_hop() {
    let (house, _worker) = with_a_site().await;
    let mut client = house.client().await;
    for (host, location) in [
        ("old-1.example", "http://site-1.example/a%20b?c=d&e"),
        (
            "OLD-1.example.:8080",
            "http://site-1.example:8080/a%20b?c=d&e",
        ),
    ] {
        let reply = client.get(host, "/a%20b?c=d&e").await;
        assert_page(&reply, 301);
        assert_eq!(reply.header("location"), location);
    }
}

#[tokio::test]
async fn the_scheme_of_a_redirect_is_the_one_a_trusted_proxy_names() {
    let mut house =
        House::with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".into()]).await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut client = house.client().await;
    let request = "GET / HTTP/1.1\r\nHost: old-1.example\r\nX-Forwarded-Proto: https\r\n\r\n";
    let reply = client.ask(request).await;
    assert_eq!(reply.header("location"), "https://site-1.example/");
}

#[tokio::test]
async fn a_site_that_can_t_answer_gets_503_with_retry_after() {
    let mut house = House::new().await;
    for (id, service) in [
        (1, ServiceFrame::Failed),
        (2, ServiceFrame::Rejected),
        (3, ServiceFrame::Disabled),
    ] {
        house.publish(route(id, service)).await;
        let mut client = house.client().await;
        let reply = client.get(&format!("site-{id}.example"), "/").await;
        assert_page(&reply, 503);
        assert_eq!(reply.header("retry-after"), "60");
    }
}

#[tokio::test]
async fn pages_of_the_router_are_json_for_those_who_want_it() {
    let house = House::new().await;
    let mut client = house.client().await;
    let request = "GET / HTTP/1.1\r\nHost: x.example\r\nAccept: application/json\r\n\r\n";
    let reply = client.ask(request).await;
    assert_page(&reply, 404);
    assert_eq!(reply.header("content-type"), "application/json");
    let page: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(page["status"], 404);
    assert_eq!(page["request_id"], reply.header("x-request-id"));
}

#[tokio::test]
async fn a_head_request_gets_the_head_alone() {
    let (house, _worker) = with_a_site().await;
    let mut client = house.client().await;
    for (host, status, length) in [("site-1.example", 200, "14"), ("x.example", 404, "")] {
        client
            .say(format!("HEAD / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        let reply = client.reply_to(&Method::HEAD).await;
        assert_eq!(reply.status, status);
        if !length.is_empty() {
            assert_eq!(reply.header("content-length"), length);
        }
    }
    assert_eq!(
        client.get("site-1.example", "/").await.status,
        200,
        "the framing held"
    );
}

#[tokio::test]
async fn http_1_0_is_answered_and_closed() {
    let (house, _worker) = with_a_site().await;
    let mut client = house.client().await;
    let reply = client
        .ask("GET / HTTP/1.0\r\nHost: site-1.example\r\n\r\n")
        .await;
    assert_eq!((reply.status, reply.text()), (200, "page of site 1"));
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn a_router_that_was_told_nothing_yet_keeps_its_clients_until_the_table_comes() {
    let mut house = House::silent().await;
    let worker = Worker::saying(house.socket("w1"), "page of site 1");
    let mut client = house.client().await;
    client
        .say("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n")
        .await;
    house.emperor.say(&ToRouter::Settings(settings())).await;
    let routes = vec![route(1, ready(&[(1, worker.socket.clone())]))];
    house.emperor.whole_table(4, routes).await;
    assert_eq!(client.reply().await.text(), "page of site 1");
}
