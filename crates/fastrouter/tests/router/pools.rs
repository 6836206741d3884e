//! Sites that share one vassal: who is asked, and what it is told.

use std::num::NonZeroU32;

use wire::route::{FromRouter, ProtocolFrame, RouteFrame, RouterStats, ServiceFrame, SiteLoad};

use crate::client::Client;
use crate::house::{House, backends, ready, route};
use crate::worker::{Worker, next};

const POOL: i64 = -3;

/// The pool's own route, which has no host.
fn pool(service: ServiceFrame) -> RouteFrame {
    RouteFrame {
        slug: "pool.small".into(),
        canonical: "site-1.example".into(),
        serve: vec![],
        redirect: vec![],
        ..route(POOL, service)
    }
}

fn member(id: i64) -> RouteFrame {
    route(id, ServiceFrame::Pooled(POOL))
}

async fn house(service: ServiceFrame) -> House {
    let mut house = House::new().await;
    let routes = vec![pool(service), member(1), member(2)];
    house.emperor.change(routes, vec![]).await;
    house
}

fn asking(id: i64, lines: &str) -> String {
    format!("GET /{id} HTTP/1.1\r\nHost: site-{id}.example\r\n{lines}\r\n")
}

async fn told(client: &mut Client, id: i64, lines: &str) -> String {
    client.ask(asking(id, lines)).await.text().to_lowercase()
}

#[tokio::test]
async fn one_worker_is_told_for_which_site_it_is_asked() {
    let mut house = house(ServiceFrame::Waiting).await;
    let worker = Worker::echo(house.socket("w"));
    house
        .publish(pool(ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    for id in [1, 2, 1] {
        let head = told(&mut client, id, "").await;
        assert!(head.contains(&format!("\r\nx-site-id: {id}\r\n")), "{head}");
    }
    let stats = house.emperor.stats().await;
    assert_eq!(stats.instances.len(), 1);
    assert_eq!(stats.instances[0].requests, 3, "one instance for both");
}

#[tokio::test]
async fn no_client_says_for_which_site_it_asks() {
    let mut house = house(ServiceFrame::Waiting).await;
    let worker = Worker::echo(house.socket("w"));
    let instances = ready(&[(1, worker.socket.clone())]);
    house.publish(pool(instances.clone())).await;
    let mut client = house.client().await;
    let lines = "X-Site-Id: 66\r\nX_Site_Id: 67\r\nConnection: keep-alive, x-site-id\r\n";
    let head = told(&mut client, 2, lines).await;
    assert_eq!(head.matches("site-id: ").count(), 1, "{head}");
    assert!(head.contains("\r\nx-site-id: 2\r\n"), "{head}");

    house
        .emperor
        .change(vec![route(2, ServiceFrame::Waiting)], vec![])
        .await;
    house
        .publish(route(2, ready(&[(2, worker.socket.clone())])))
        .await;
    let head = told(&mut client, 2, lines).await;
    assert!(
        !head.contains("site-id") && !head.contains("site_id"),
        "{head}"
    );
}

#[tokio::test]
async fn a_uwsgi_worker_finds_the_site_in_a_variable() {
    let mut house = house(ServiceFrame::Waiting).await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w"));
    let instances = [(1, worker.socket.clone())];
    house
        .publish(pool(backends(ProtocolFrame::Uwsgi, &instances)))
        .await;
    let mut client = house.client().await;
    client.say(asking(2, "Site-Id: 66\r\n")).await;
    let mut connection = next(&mut connections).await;
    let header = connection.exactly(4).await;
    let length = usize::from(u16::from_le_bytes([header[1], header[2]]));
    let packet = connection.exactly(length).await;
    let variables = String::from_utf8_lossy(&packet).into_owned();
    for wanted in [
        "\u{7}\0SITE_ID\u{1}\u{0}2",
        "\u{e}\0HTTP_X_SITE_ID\u{1}\u{0}2",
    ] {
        assert!(variables.contains(wanted), "no {wanted:?} in {variables:?}");
    }
}

#[tokio::test]
async fn what_a_worker_takes_at_a_time_is_counted_over_all_its_sites() {
    let mut house = house(ServiceFrame::Waiting).await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w"));
    let ServiceFrame::Ready(mut instances) = ready(&[(1, worker.socket.clone())]) else {
        unreachable!("instances are ready")
    };
    instances[0].concurrency = NonZeroU32::new(1);
    house.publish(pool(ServiceFrame::Ready(instances))).await;
    let (mut first, mut second) = (house.client().await, house.client().await);
    first.say(asking(1, "")).await;
    let mut at_work = next(&mut connections).await;
    assert!(at_work.head().await.unwrap().starts_with("GET /1 "));
    second.say(asking(2, "")).await;
    let waiting = |waiting| {
        move |stats: &RouterStats| {
            stats
                .queues
                .iter()
                .map(|queue| (queue.site_id, queue.waiting))
                .eq([(POOL, waiting)])
        }
    };
    house.emperor.stats_until(waiting(1)).await;
    at_work
        .say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\none")
        .await;
    assert_eq!(first.reply().await.text(), "one");
    let mut at_work = next(&mut connections).await;
    assert!(at_work.head().await.unwrap().starts_with("GET /2 "));
    at_work.answer("two").await;
    assert_eq!(second.reply().await.text(), "two");
}

#[tokio::test]
async fn a_request_of_any_site_wakes_the_pool_and_keeps_it_awake() {
    let mut house = house(ServiceFrame::Asleep).await;
    let mut client = house.client().await;
    client.say(asking(2, "")).await;
    assert_eq!(
        house.emperor.hear().await,
        FromRouter::Wake { site_id: POOL }
    );
    let worker = Worker::saying(house.socket("w"), "awake");
    house
        .publish(pool(ready(&[(1, worker.socket.clone())])))
        .await;
    assert_eq!(client.reply().await.text(), "awake");
    let came = |loads: &[SiteLoad]| {
        let of_pool = loads.iter().filter(|load| load.site_id == POOL);
        of_pool.map(|load| load.requests).sum::<u64>() == 1
    };
    let loads = house.emperor.loads_until(came).await;
    assert!(loads.iter().all(|load| load.site_id == POOL), "{loads:?}");
}

#[tokio::test]
async fn a_site_that_moves_takes_those_who_wait_along() {
    let mut house = house(ServiceFrame::Waiting).await;
    let (mut leaves, mut stays) = (house.client().await, house.client().await);
    leaves.say(asking(1, "")).await;
    stays.say(asking(2, "")).await;
    let both =
        |stats: &RouterStats| stats.queues.iter().map(|queue| queue.waiting).sum::<u64>() == 2;
    house.emperor.stats_until(both).await;
    let worker = Worker::saying(house.socket("own"), "its own");
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    assert_eq!(leaves.reply().await.text(), "its own");

    // And back, as the pool is found ready.
    house.publish(route(1, ServiceFrame::Waiting)).await;
    leaves.say(asking(1, "")).await;
    house.emperor.stats_until(both).await;
    house.publish(member(1)).await;
    let pooled = Worker::saying(house.socket("pool"), "the pool's");
    house
        .publish(pool(ready(&[(2, pooled.socket.clone())])))
        .await;
    assert_eq!(leaves.reply().await.text(), "the pool's");
    assert_eq!(stays.reply().await.text(), "the pool's");
}

#[tokio::test]
async fn a_site_that_is_disabled_leaves_the_others_as_they_are() {
    let mut house = house(ServiceFrame::Waiting).await;
    let worker = Worker::echo(house.socket("w"));
    house
        .publish(pool(ready(&[(1, worker.socket.clone())])))
        .await;
    house.publish(route(1, ServiceFrame::Disabled)).await;
    let mut client = house.client().await;
    assert_eq!(client.ask(asking(1, "")).await.status, 503);
    assert_eq!(client.ask(asking(2, "")).await.status, 200);
}
