//! Sites that sleep: whom a request wakes, and what doesn't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wire::route::{FromRouter, ServiceFrame, SiteLoad, ToRouter};

use crate::client::Client;
use crate::house::{House, one_waits, ready, route};
use crate::worker::{Worker, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";
const CHECK: &str = "GET /health HTTP/1.1\r\nHost: site-1.example\r\n\r\n";
const WAKE: FromRouter = FromRouter::Wake { site_id: 1 };

#[tokio::test]
async fn the_first_request_wakes_the_site_and_all_wait_for_it() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Asleep)).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = house.client().await;
        client.say(GET).await;
        clients.push(client);
    }
    assert_eq!(house.emperor.hear().await, WAKE);
    // Another wish would be heard before the figures.
    house
        .emperor
        .stats_until(|stats| {
            stats
                .queues
                .first()
                .is_some_and(|queue| queue.waiting == 10)
        })
        .await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let worker = Worker::saying(house.socket("w1"), "awake");
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    for client in &mut clients {
        assert_eq!(client.reply().await.text(), "awake");
    }
    house.publish(route(1, ServiceFrame::Asleep)).await;
    clients[0].say(GET).await;
    assert_eq!(house.emperor.hear().await, WAKE, "it fell asleep once more");
}

#[tokio::test]
async fn a_wish_is_said_again_to_the_next_emperor_as_long_as_a_request_waits() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Asleep)).await;
    let mut client = house.client().await;
    client.say(GET).await;
    assert_eq!(house.emperor.hear().await, WAKE);
    house.next_emperor().await;
    house
        .emperor
        .whole_table(7, vec![route(1, ServiceFrame::Asleep)])
        .await;
    assert_eq!(house.emperor.hear().await, WAKE);
    drop(client);
    house
        .emperor
        .stats_until(|stats| stats.in_flight == 0)
        .await;
    house.next_emperor().await;
    house
        .emperor
        .whole_table(8, vec![route(1, ServiceFrame::Asleep)])
        .await;
    assert_eq!(house.emperor.stats().await.queues, [], "nobody waits");
}

#[tokio::test]
async fn the_paths_of_health_checkers_are_answered_and_wake_nobody() {
    let mut house = House::new().await;
    let mut full = route(1, ServiceFrame::Asleep);
    full.queue_depth = 0;
    house.publish(full).await;
    let mut client = house.client().await;
    for request in [
        "GET /health",
        "GET /health?deep=1",
        "GET http://site-1.example/health",
    ] {
        let reply = client
            .ask(format!(
                "{request} HTTP/1.1\r\nHost: site-1.example\r\n\r\n"
            ))
            .await;
        assert_eq!((reply.status, reply.text()), (204, ""), "{request}");
        assert!(!reply.header("x-request-id").is_empty());
    }
    client
        .say("HEAD /health HTTP/1.1\r\nHost: site-1.example\r\n\r\n")
        .await;
    assert_eq!(client.reply_to(&http::Method::HEAD).await.status, 204);
    house.emperor.stats().await;
    for request in [
        "GET /healthy HTTP/1.1",
        "GET /health/ HTTP/1.1",
        "POST /health HTTP/1.1",
        "GET /health HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket",
    ] {
        let request = format!("{request}\r\nHost: site-1.example\r\n\r\n");
        let reply = house.client().await.ask(&request).await;
        assert_eq!(reply.status, 503, "{request} finds the queue full");
    }
    assert_eq!(house.emperor.hear().await, WAKE);
}

#[tokio::test]
async fn a_check_keeps_no_site_awake_but_its_instance_until_it_is_answered() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
    house
        .publish(route(1, ready(&[(5, worker.socket.clone())])))
        .await;
    let (mut checker, mut visitor) = (house.client().await, house.client().await);
    checker.say(CHECK).await;
    let mut of_checker = next(&mut connections).await;
    of_checker.head().await;
    visitor.say(GET).await;
    let mut of_visitor = next(&mut connections).await;
    of_visitor.head().await;
    let loads = house.emperor.loads_until(|loads| last(loads) == (2, 1));
    assert_eq!(came(loads.await), 1, "the visitor alone");
    of_visitor.answer("page").await;
    visitor.reply().await;
    house
        .emperor
        .loads_until(|loads| last(loads) == (2, 0))
        .await;
    house.publish(route(1, ServiceFrame::Asleep)).await;
    let (site_id, incarnation) = (1, 5);
    let question = ToRouter::AwaitIdle {
        site_id,
        incarnation,
    };
    house.emperor.say(&question).await;
    // That the instance is idle would be heard instead.
    house.emperor.router_has_looked().await;
    let stats = house.emperor.stats().await;
    assert_eq!(stats.instances[0].in_flight, 1);
    of_checker.answer("well").await;
    assert_eq!(checker.reply().await.text(), "well");
    let idle = FromRouter::Idle {
        site_id,
        incarnation,
    };
    assert_eq!(house.emperor.hear().await, idle);
    assert_eq!(checker.ask(CHECK).await.status, 204);
}

#[tokio::test]
async fn a_check_that_waits_as_its_site_falls_asleep_does_not_wake_it() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut checker = house.client().await;
    checker.say(CHECK).await;
    house.emperor.stats_until(one_waits).await;
    house.publish(route(1, ServiceFrame::Asleep)).await;
    assert_eq!(checker.reply().await.status, 204);
    // A wish would be heard instead.
    house.emperor.router_has_looked().await;
    assert_eq!(house.emperor.stats().await.queues, []);
}

/// Requests that were told as a reason to keep the site awake.
fn came(loads: &[SiteLoad]) -> u64 {
    loads.iter().map(|load| load.requests).sum()
}

/// What was told last: how many requests the one instance was given, and how many it has.
fn last(loads: &[SiteLoad]) -> (u64, u64) {
    let instances = loads.iter().flat_map(|load| &load.instances);
    instances
        .last()
        .map_or((0, 0), |told| (told.requests, told.in_flight))
}

/// How often a site sleeps and wakes while it is asked.
const CYCLES: u64 = 10_000;
const CLIENTS: usize = 4;

/// Asks without a pause until told that it is enough, and says how many answers it got.
async fn ask_on(mut client: Client, enough: Arc<AtomicBool>, asked: Arc<AtomicU64>) -> u64 {
    let mut answered = 0;
    while !enough.load(Ordering::Relaxed) {
        asked.fetch_add(1, Ordering::Relaxed);
        let reply = client.ask(GET).await;
        assert_eq!((reply.status, reply.text()), (200, "awake"));
        answered += 1;
    }
    answered
}

#[tokio::test]
async fn no_request_is_lost_over_ten_thousand_sleeps() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Asleep)).await;
    let (enough, asked) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let client = house.client().await;
        clients.spawn(ask_on(client, Arc::clone(&enough), Arc::clone(&asked)));
    }
    assert_eq!(house.emperor.hear().await, WAKE);
    for incarnation in 1..=CYCLES {
        let worker = Worker::saying(house.socket("worker"), "awake");
        let instances = [(incarnation, worker.socket.clone())];
        house.publish(route(1, ready(&instances))).await;
        // One wish per route that says so: another one would be heard in place of what is awaited.
        house.publish(route(1, ServiceFrame::Asleep)).await;
        let site_id = 1;
        house
            .emperor
            .say(&ToRouter::AwaitIdle {
                site_id,
                incarnation,
            })
            .await;
        let idle = FromRouter::Idle {
            site_id,
            incarnation,
        };
        let heard = [house.emperor.hear().await, house.emperor.hear().await];
        assert!(heard.contains(&idle) && heard.contains(&WAKE), "{heard:?}");
        // Whoever is sent there from here on is refused.
        std::fs::remove_file(&worker.socket).unwrap();
    }
    let worker = Worker::saying(house.socket("worker"), "awake");
    enough.store(true, Ordering::Relaxed);
    house
        .publish(route(1, ready(&[(CYCLES + 1, worker.socket.clone())])))
        .await;
    let mut answered = 0;
    while let Some(client) = clients.join_next().await {
        answered += client.unwrap();
    }
    assert_eq!(answered, asked.load(Ordering::Relaxed));
    assert!(answered >= CYCLES, "each wish is that of a request");
}
