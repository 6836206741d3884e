//! Requests that wait while a site starts, wakes or is replaced.

use wire::route::ServiceFrame;

use crate::house::{House, ready, route};
use crate::worker::Worker;

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";

#[tokio::test]
async fn requests_wait_until_the_site_is_ready() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = house.client().await;
        client.say(GET).await;
        clients.push(client);
    }
    let waiting = |count| {
        move |stats: &wire::route::RouterStats| {
            stats.queues.iter().map(|queue| queue.waiting).sum::<u64>() == count
        }
    };
    let stats = house.emperor.stats_until(waiting(20)).await;
    assert_eq!((stats.in_flight, stats.queues[0].site_id), (20, 1));
    // News of another site wakes nobody here.
    house.publish(route(2, ServiceFrame::Waiting)).await;
    let worker = Worker::saying(house.socket("w1"), "ready now");
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    for client in &mut clients {
        assert_eq!(client.reply().await.text(), "ready now");
    }
    assert_eq!(house.emperor.stats().await.queues, []);
}

#[tokio::test]
async fn a_full_queue_turns_away_and_a_left_place_is_free_again() {
    let mut house = House::new().await;
    let mut narrow = route(1, ServiceFrame::Waiting);
    narrow.queue_depth = 2;
    house.publish(narrow).await;
    let mut waiting = Vec::new();
    for count in 1..=2 {
        let mut client = house.client().await;
        client.say(GET).await;
        house
            .emperor
            .stats_until(|stats| stats.in_flight == count)
            .await;
        waiting.push(client);
    }
    let reply = house.client().await.ask(GET).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), "5");
    drop(waiting.pop());
    house
        .emperor
        .stats_until(|stats| stats.in_flight == 1)
        .await;
    let mut next = house.client().await;
    next.say(GET).await;
    house
        .emperor
        .stats_until(|stats| stats.in_flight == 2)
        .await;
}

#[tokio::test]
async fn who_has_waited_long_enough_is_told_so() {
    let mut house = House::new().await;
    let mut hasty = route(1, ServiceFrame::Waiting);
    hasty.queue_timeout_ms = 50;
    house.publish(hasty).await;
    let reply = house.client().await.ask(GET).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after"), "5");
}

#[tokio::test]
async fn who_waits_for_a_site_that_fails_or_goes_learns_of_it_at_once() {
    let mut house = House::new().await;
    for (id, status) in [(1, 503), (2, 404)] {
        house.publish(route(id, ServiceFrame::Waiting)).await;
        let mut client = house.client().await;
        client
            .say(GET.replace("site-1", &format!("site-{id}")))
            .await;
        house
            .emperor
            .stats_until(|stats| stats.in_flight == 1)
            .await;
        match status {
            503 => house.publish(route(id, ServiceFrame::Failed)).await,
            _ => house.emperor.change(vec![], vec![id]).await,
        }
        assert_eq!(client.reply().await.status, status);
    }
}

#[tokio::test]
async fn a_body_waits_with_its_request() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut client = house.client().await;
    client
        .say("POST / HTTP/1.1\r\nHost: site-1.example\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    house
        .emperor
        .stats_until(|stats| stats.in_flight == 1)
        .await;
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        connection.head().await;
        assert_eq!(&connection.exactly(5).await[..], b"hello");
        connection.answer("whole").await;
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    assert_eq!(client.reply().await.text(), "whole");
}
