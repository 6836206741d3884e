//! Sites that sleep: whom a request wakes, and what doesn't.

use wire::route::{FromRouter, ServiceFrame};

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
