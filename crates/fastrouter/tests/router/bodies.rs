//! Bodies in both directions: streamed, side by side, and only as fast as the other side reads.

use tokio::time::timeout;

use crate::house::{House, exchange, ready, route};
use crate::worker::{Worker, next};

fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: site-1.example\r\n{lines}\r\n")
}

#[tokio::test]
async fn a_body_with_a_length_keeps_it() {
    let request = format!("{}hello", post("Content-Length: 11\r\n"));
    let (_house, _worker, mut client, mut worker) = exchange(&request).await;
    let head = worker.head().await.unwrap();
    assert!(head.contains("\r\nContent-Length: 11\r\n"), "{head}");
    assert_eq!(&worker.exactly(5).await[..], b"hello");
    client.say(" world").await;
    assert_eq!(&worker.exactly(6).await[..], b" world");
    worker.answer("got it").await;
    assert_eq!(client.reply().await.text(), "got it");
}

#[tokio::test]
async fn a_body_in_chunks_goes_on_in_chunks_as_it_comes() {
    let request = format!(
        "{}5;ext=1\r\nhello\r\n",
        post("Transfer-Encoding: chunked\r\n")
    );
    let (_house, _worker, mut client, mut worker) = exchange(&request).await;
    let head = worker.head().await.unwrap();
    assert!(
        head.contains("\r\nTransfer-Encoding: chunked\r\n"),
        "{head}"
    );
    assert_eq!(&worker.until(b"hello").await[..], b"5\r\nhello");
    client
        .say("6\r\n world\r\n0\r\nX-Trailer: dropped\r\n\r\n")
        .await;
    assert_eq!(
        &worker.until(b"0\r\n\r\n").await[..],
        b"\r\n6\r\n world\r\n0\r\n\r\n"
    );
    worker
        .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        .await;
    client.until(b"\r\n\r\n3\r\none\r\n").await;
    worker.say("3\r\ntwo\r\n0\r\n\r\n").await;
    assert_eq!(&client.exactly(13).await[..], b"3\r\ntwo\r\n0\r\n\r\n");
}

#[tokio::test]
async fn an_answer_until_the_end_of_the_connection_arrives_whole() {
    let (_house, _worker, mut client, mut worker) =
        exchange("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n").await;
    worker.head().await;
    worker.say("HTTP/1.0 200 OK\r\n\r\nto the ").await;
    worker.say("end").await;
    drop(worker);
    assert_eq!(client.reply().await.text(), "to the end");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (_house, _worker, mut client, mut worker) =
            exchange("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n").await;
        worker.head().await;
        worker
            .say(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello"))
            .await;
        drop(worker);
        let mut all = Vec::new();
        while !client.is_ended_with(&mut all).await {}
        assert!(!all.ends_with(b"0\r\n\r\n"), "{head}");
    }
}

#[tokio::test]
async fn a_large_body_passes_in_both_directions_at_once() {
    const SIZE: usize = 8 << 20;
    let mut house = House::new().await;
    // Gives back what it gets while it gets it.
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        connection.head().await;
        connection
            .say(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n"))
            .await;
        let mut left = SIZE;
        while left > 0 {
            let part = connection.exactly(left.min(64 << 10)).await;
            left -= part.len();
            connection.say(&part).await;
        }
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let stream = house.client().await.stream;
    let (mut read, mut write) = stream.into_split();
    let sent: Vec<u8> = (0..=250).cycle().take(SIZE).collect();
    let head = post(&format!("Content-Length: {SIZE}\r\nConnection: close\r\n"));
    let bytes = [head.as_bytes(), &sent].concat();
    let writing = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut write, &bytes)
            .await
            .unwrap();
        write
    });
    let mut received = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut received);
    timeout(crate::PATIENCE, reading).await.unwrap().unwrap();
    writing.await.unwrap();
    assert!(
        received.ends_with(&sent),
        "{} of {SIZE} bytes",
        received.len()
    );
}

#[tokio::test]
async fn a_client_that_doesn_t_read_stops_the_worker() {
    let (mut house, _worker, mut connections) = House::new().await.with_worker_by_hand().await;
    let mut client = house.client().await;
    client
        .say("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n")
        .await;
    let mut worker = next(&mut connections).await;
    worker.head().await;
    worker.say("HTTP/1.1 200 OK\r\n\r\n").await;
    fill(&mut house, |part| worker.stream.try_write(part)).await;
    let head = client.bytes().await;
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{head:?}");
}

#[tokio::test]
async fn a_worker_that_doesn_t_read_stops_the_client() {
    let (mut house, _worker, mut client, mut worker) =
        exchange(&post("Content-Length: 1000000000\r\nX: y\r\n")).await;
    // The head comes with the first part.
    client.say("x").await;
    worker.head().await;
    fill(&mut house, |part| client.stream.try_write(part)).await;
}

/// Writes until the other end takes no more, although the router has looked: buffers of the kernel
/// and of the router fill, and then nothing more may go.
async fn fill(house: &mut House, mut write: impl FnMut(&[u8]) -> std::io::Result<usize>) {
    let part = vec![b'x'; 1 << 20];
    let (mut said, mut before) = (0, None);
    while before != Some(said) {
        before = Some(said);
        while let Ok(count) = write(&part) {
            said += count;
            assert!(
                said < 64 << 20,
                "the router takes more than the other end reads"
            );
        }
        house.emperor.router_has_looked().await;
    }
    assert!(said > 0);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let request = format!("{}x", post("Content-Length: 1000\r\n"));
    let (_house, _worker, mut client, mut worker) = exchange(&request).await;
    worker.head().await;
    worker
        .say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
        .await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (401, "no"));
    assert!(
        client.is_ended().await,
        "the rest of the body can't be told from a request"
    );
}

#[tokio::test]
async fn a_client_that_expects_100_is_told_to_go_on_once_a_worker_listens() {
    let mut house = House::new().await;
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        let head = connection.head().await.unwrap();
        assert!(!head.to_lowercase().contains("expect"), "{head}");
        let body = connection.exactly(5).await;
        connection.answer(std::str::from_utf8(&body).unwrap()).await;
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    client
        .say(post("Content-Length: 5\r\nExpect: 100-continue\r\n"))
        .await;
    let interim = client.exactly(25).await;
    assert_eq!(&interim[..], b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(client.ask("hello").await.text(), "hello");
}

#[tokio::test]
async fn a_client_that_expects_100_and_has_no_site_is_told_at_once() {
    let house = House::new().await;
    let mut client = house.client().await;
    let reply = client
        .ask(post("Content-Length: 5\r\nExpect: 100-continue\r\n").replace("site-1", "x"))
        .await;
    assert_eq!(reply.status, 404);
}

#[tokio::test]
async fn interim_answers_of_a_worker_are_not_taken_for_its_answer() {
    let (_house, _worker, mut client, mut worker) =
        exchange("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n").await;
    worker.head().await;
    worker
        .say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        .await;
    worker.answer("the answer").await;
    assert_eq!(client.reply().await.text(), "the answer");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_exchange() {
    let (mut house, _worker, client, mut worker) =
        exchange("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n").await;
    worker.head().await;
    drop(client);
    assert!(worker.is_ended().await);
    let stats = house
        .emperor
        .stats_until(|stats| stats.in_flight == 0)
        .await;
    assert_eq!(stats.instances[0].in_flight, 0);
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_its_answer() {
    let (_house, _worker, mut client, mut worker) =
        exchange("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n").await;
    worker.head().await;
    client.finish().await;
    worker.answer("for the patient").await;
    assert_eq!(client.reply().await.text(), "for the patient");
    assert!(client.is_ended().await);
}
