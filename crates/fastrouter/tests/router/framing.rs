//! Forged and oversized requests: each gets an answer with its status and a request id, reaches no
//! worker, and ends the connection.

use crate::house::{House, ready, route};
use crate::worker::Worker;

struct Case {
    name: &'static str,
    request: String,
    status: u16,
}

fn case(name: &'static str, request: impl Into<String>, status: u16) -> Case {
    Case {
        name,
        request: request.into(),
        status,
    }
}

/// A request with these lines after its `Host`.
fn with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: site-1.example\r\n{lines}\r\n")
}

async fn check(cases: Vec<Case>) {
    let mut house = House::with(|settings| {
        settings.max_head_bytes = 2000;
        settings.max_target_bytes = 500;
        settings.max_body_bytes = 100;
    })
    .await;
    let worker = Worker::new(house.socket("w1"), |_| async {
        panic!("a forged request reached the worker");
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    for case in cases {
        for parts in [1, 2, 7] {
            let mut client = house.client().await;
            let bytes = case.request.as_bytes();
            for part in bytes.chunks(bytes.len().div_ceil(parts)) {
                client.say(part).await;
                // Gives the router a chance to read the parts apart.
                tokio::task::yield_now().await;
            }
            let reply = client.reply().await;
            assert_eq!(reply.status, case.status, "{} in {parts} parts", case.name);
            assert!(!reply.header("x-request-id").is_empty(), "{}", case.name);
            assert!(client.is_ended().await, "{} in {parts} parts", case.name);
        }
    }
    assert_eq!(house.emperor.stats().await.instances, []);
}

#[tokio::test]
async fn forged_framing_gets_400() {
    check(vec![
        case(
            "bare line feeds",
            "GET / HTTP/1.1\nHost: site-1.example\n\n",
            400,
        ),
        case(
            "one bare line feed",
            with("X: y\nContent-Length: 5\r\n"),
            400,
        ),
        case("a folded header", with("X: y\r\n z\r\n"), 400),
        case(
            "two lengths",
            with("Content-Length: 1\r\nContent-Length: 2\r\n"),
            400,
        ),
        case(
            "one length twice",
            with("Content-Length: 1\r\nContent-Length: 1\r\n"),
            400,
        ),
        case("a list of lengths", with("Content-Length: 1, 1\r\n"), 400),
        case("a signed length", with("Content-Length: +1\r\n"), 400),
        case(
            "length and chunks",
            with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
            400,
        ),
        case(
            "an unknown coding",
            with("Transfer-Encoding: xchunked\r\n"),
            400,
        ),
        case(
            "two codings",
            with("Transfer-Encoding: chunked, chunked\r\n"),
            400,
        ),
        case("identity", with("Transfer-Encoding: identity\r\n"), 400),
        case(
            "chunks in HTTP/1.0",
            with("Transfer-Encoding: chunked\r\n").replace("/1.1", "/1.0"),
            400,
        ),
        case(
            "a space before the colon",
            with("Content-Length : 1\r\n"),
            400,
        ),
        case("a NUL", with("X: a\0b\r\n"), 400),
        case("a bare carriage return", with("X: a\rb\r\n"), 400),
        case(
            "a strange method",
            "G@T / HTTP/1.1\r\nHost: site-1.example\r\n\r\n",
            400,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_host_that_isn_t_one_gets_400() {
    let host = |host: &str| format!("GET / HTTP/1.1\r\nConnection: close\r\nHost: {host}\r\n\r\n");
    check(vec![
        case("no host", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        case("no host in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", 400),
        case("two hosts", with("Host: site-1.example\r\n"), 400),
        case("an empty host", host(""), 400),
        case("a path", host("../x.sock"), 400),
        case("a user", host("a@site-1.example"), 400),
        case("a space", host("site-1.example b"), 400),
        case("a glob", host("*.example"), 400),
        case("a port that is none", host("site-1.example:x"), 400),
        case(
            "a target for another host",
            "GET http://site-2.example/ HTTP/1.1\r\nConnection: close\r\nHost: site-1.example\r\n\r\n",
            400,
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_large_gets_a_status_of_its_own() {
    check(vec![
        case(
            "a large head",
            with(&format!("X: {}\r\n", "x".repeat(3000))),
            431,
        ),
        case("many headers", with(&"a: b\r\n".repeat(101)), 431),
        case(
            "a long target",
            format!("GET /{} HTTP/1.1\r\n", "x".repeat(600)),
            414,
        ),
        case("a line without end", "x".repeat(2000), 414),
        case("a large body", with("Content-Length: 101\r\n"), 413),
    ])
    .await;
}

#[tokio::test]
async fn a_body_in_chunks_that_grows_too_large_gets_413_and_its_worker_half_a_request() {
    let (house, _worker, mut connections) = House::with(|settings| settings.max_body_bytes = 5)
        .await
        .with_worker_by_hand()
        .await;
    let mut client = house.client().await;
    client.say(with("Transfer-Encoding: chunked\r\n")).await;
    client.say("4\r\n1234\r\n").await;
    let mut worker = crate::worker::next(&mut connections).await;
    worker.head().await;
    assert_eq!(&worker.exactly(7).await[..], b"4\r\n1234");
    client.say("2\r\n56\r\n0\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 413);
    assert!(worker.is_ended().await);
}

#[tokio::test]
async fn what_isn_t_spoken_here_gets_a_status_of_its_own() {
    check(vec![
        case(
            "HTTP/2 by prior knowledge",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            505,
        ),
        case(
            "TRACE",
            "TRACE / HTTP/1.1\r\nHost: site-1.example\r\n\r\n",
            405,
        ),
        case(
            "CONNECT",
            "CONNECT a:443 HTTP/1.1\r\nHost: site-1.example\r\n\r\n",
            405,
        ),
        case(
            "a TLS hello",
            "\x16\x03\x01\x02\0\x01\0\x01\u{7f}\x03\x03\n",
            400,
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_head_that_is_cut_off_gets_400() {
    let house = House::new().await;
    let mut client = house.client().await;
    client.say("GET / HTTP/1.1\r\nHost: site-").await;
    client.finish().await;
    assert_eq!(client.reply().await.status, 400);
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn requests_before_a_forged_one_are_answered() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page");
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    let good = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";
    client
        .say(format!("{good}{good}GET / HTTP/1.1\nHost: x\n\n"))
        .await;
    for status in [200, 200, 400] {
        assert_eq!(client.reply().await.status, status);
    }
    assert!(client.is_ended().await);
}

#[tokio::test]
async fn a_forged_body_is_never_taken_for_a_request() {
    let (house, _worker, mut connections) = House::new().await.with_worker_by_hand().await;
    let mut client = house.client().await;
    let smuggled = "0\n\r\nGET /admin HTTP/1.1\r\nHost: site-1.example\r\n\r\n";
    let head = with("Transfer-Encoding: chunked\r\n");
    client.say(format!("{head}3\r\nabc\r\n{smuggled}")).await;
    let mut worker = crate::worker::next(&mut connections).await;
    let head = worker.head().await.unwrap();
    assert!(head.starts_with("POST / "), "{head}");
    assert_eq!(client.reply().await.status, 400);
    assert!(client.is_ended().await);
    assert_eq!(&worker.exactly(6).await[..], b"3\r\nabc");
    assert!(worker.is_ended().await, "the rest went on to the worker");
}
