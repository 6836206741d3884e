//! Sites that sleep: whom a request wakes, and what doesn't.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use wire::route::{FromRouter, ServiceFrame, ToRouter};

use crate::client::Client;
use crate::house::{House, ready, route};
use crate::worker::Worker;

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";
const WAKE: FromRouter = FromRouter::Wake { site_id: 1 };

fn asleep() -> ServiceFrame {
    ServiceFrame::Asleep {
        answered: vec!["/health".into()],
    }
}

#[tokio::test]
async fn the_first_request_wakes_the_site_and_all_wait_for_it() {
    let mut house = House::new().await;
    house.publish(route(1, asleep())).await;
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
    house.publish(route(1, asleep())).await;
    clients[0].say(GET).await;
    assert_eq!(house.emperor.hear().await, WAKE, "it fell asleep once more");
}

#[tokio::test]
async fn a_wish_is_said_again_to_the_next_emperor_as_long_as_a_request_waits() {
    let mut house = House::new().await;
    house.publish(route(1, asleep())).await;
    let mut client = house.client().await;
    client.say(GET).await;
    assert_eq!(house.emperor.hear().await, WAKE);
    house.next_emperor().await;
    house.emperor.whole_table(7, vec![route(1, asleep())]).await;
    assert_eq!(house.emperor.hear().await, WAKE);
    drop(client);
    house
        .emperor
        .stats_until(|stats| stats.in_flight == 0)
        .await;
    house.next_emperor().await;
    house.emperor.whole_table(8, vec![route(1, asleep())]).await;
    assert_eq!(house.emperor.stats().await.queues, [], "nobody waits");
}

#[tokio::test]
async fn the_paths_of_health_checkers_are_answered_and_wake_nobody() {
    let mut house = House::new().await;
    let mut full = route(1, asleep());
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
    for request in ["GET /healthy", "GET /health/", "POST /health"] {
        let reply = house
            .client()
            .await
            .ask(format!(
                "{request} HTTP/1.1\r\nHost: site-1.example\r\n\r\n"
            ))
            .await;
        assert_eq!(reply.status, 503, "{request} finds the queue full");
    }
    assert_eq!(house.emperor.hear().await, WAKE);
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
    house.publish(route(1, asleep())).await;
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
        house.publish(route(1, asleep())).await;
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
