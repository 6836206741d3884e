//! Leaving HTTP for a WebSocket, and what must not become one.

use crate::house::exchange;

const WISH: &str = "GET /chat HTTP/1.1\r\nHost: site-1.example\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";

#[tokio::test]
async fn a_websocket_passes_bytes_both_ways_until_one_side_closes() {
    // Early frames are not HTTP, and a guard that took them for it would refuse them.
    let (mut house, _worker, mut client, mut worker) = exchange(&format!("{WISH}\n\0early")).await;
    let head = worker.head().await.unwrap().to_lowercase();
    assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert!(head.contains("\r\nsec-websocket-key: k\r\n"), "{head}");
    worker.say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: a\r\n\r\nhello").await;
    let answer = client.until(b"\r\n\r\nhello").await;
    let answer = String::from_utf8(answer.to_vec()).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(
        answer.contains("\r\nsec-websocket-accept: a\r\n"),
        "{answer}"
    );
    assert!(answer.contains("\r\nx-request-id: "), "{answer}");
    assert_eq!(&worker.exactly(7).await[..], b"\n\0early");
    client.say("ping\n\n").await;
    assert_eq!(&worker.exactly(6).await[..], b"ping\n\n");
    worker.say("pong").await;
    assert_eq!(&client.exactly(4).await[..], b"pong");
    assert_eq!(house.emperor.stats().await.instances[0].in_flight, 1);
    drop(client);
    assert!(worker.is_ended().await);
    drop(worker);
    house
        .emperor
        .stats_until(|stats| stats.in_flight == 0)
        .await;
}

#[tokio::test]
async fn a_worker_that_declines_answers_in_http_and_the_connection_goes_on() {
    let (_house, _worker, mut client, mut worker) = exchange(WISH).await;
    worker.head().await;
    worker.answer("not here").await;
    assert_eq!(client.reply().await.text(), "not here");
    client
        .say("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n")
        .await;
    worker.head().await;
    worker.answer("but here").await;
    assert_eq!(client.reply().await.text(), "but here");
}

#[tokio::test]
async fn no_other_protocol_is_offered_to_a_worker() {
    let wish = WISH.replace(
        "websocket\r\nSec",
        "h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nSec",
    );
    let (_house, _worker, mut client, mut worker) = exchange(&wish).await;
    let head = worker.head().await.unwrap().to_lowercase();
    assert!(!head.contains("upgrade"), "{head}");
    assert!(!head.contains("http2-settings"), "{head}");
    worker.answer("in HTTP/1.1").await;
    assert_eq!(client.reply().await.text(), "in HTTP/1.1");
}

#[tokio::test]
async fn a_worker_that_switches_unasked_gets_the_client_502() {
    let (_house, _worker, mut client, mut worker) =
        exchange("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n").await;
    worker.head().await;
    worker
        .say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.reply().await.status, 502);
}
