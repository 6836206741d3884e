//! How long the router waits for whom.

use crate::house::{House, ready, route};
use crate::worker::{Worker, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";

#[tokio::test]
async fn a_head_that_takes_too_long_gets_408() {
    let house = House::with(|settings| settings.head_timeout_ms = 50).await;
    let mut client = house.client().await;
    client.say("GET / HTTP/1.1\r\nHost: si").await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 408);
    assert!(!reply.header("x-request-id").is_empty());
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn a_body_that_stops_coming_gets_408() {
    let (house, _worker, mut connections) =
        House::with(|settings| settings.keep_alive_timeout_ms = 50)
            .await
            .with_worker_by_hand()
            .await;
    let mut client = house
        .client_saying("POST / HTTP/1.1\r\nHost: site-1.example\r\nContent-Length: 5\r\n\r\nhe")
        .await;
    let mut connection = next(&mut connections).await;
    connection.head().await;
    assert_eq!(client.reply().await.status, 408);
    assert_eq!(&connection.exactly(2).await[..], b"he");
    assert!(connection.is_ended().await, "half a request is no request");
}

#[tokio::test]
async fn a_connection_without_requests_is_closed_in_time() {
    let mut house = House::with(|settings| settings.keep_alive_timeout_ms = 50).await;
    let mut silent = house.client().await;
    assert!(silent.is_ended().await);
    let worker = Worker::saying(house.socket("w1"), "page");
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client_saying(GET).await;
    assert_eq!(client.reply().await.status, 200);
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn a_worker_that_is_too_slow_gets_the_client_504() {
    let (house, _worker, mut connections) =
        House::with(|settings| settings.response_timeout_ms = 50)
            .await
            .with_worker_by_hand()
            .await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(&mut connections).await;
    connection.head().await;
    assert_eq!(client.reply().await.status, 504);
    assert!(connection.is_ended().await);
}

#[tokio::test]
async fn a_worker_that_stops_within_its_answer_ends_the_connection() {
    let mut all = b"HTTP/1.1 504 ".to_vec();
    // On a busy machine this worker may not even begin in time; then it has more of it.
    for patience_ms in [50, 500, 5_000] {
        if all.starts_with(b"HTTP/1.1 504 ") {
            all = what_came_of_half_an_answer(patience_ms).await;
        }
    }
    assert!(all.ends_with(b"hello"), "{}", String::from_utf8_lossy(&all));
}

async fn what_came_of_half_an_answer(patience_ms: u64) -> Vec<u8> {
    let (house, _worker, mut connections) =
        House::with(|settings| settings.response_timeout_ms = patience_ms)
            .await
            .with_worker_by_hand()
            .await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(&mut connections).await;
    connection.head().await;
    connection
        .say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    let mut all = Vec::new();
    while !client.is_ended_with(&mut all).await {}
    all
}
