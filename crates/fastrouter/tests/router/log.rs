//! The access log: one line per request, with what an operator asks first.

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::house::{House, ready, route};
use crate::worker::Worker;

/// The lines of a router that has ended.
pub(crate) async fn lines_at_the_end(mut house: House) -> Vec<Value> {
    house.signal(Signal::SIGQUIT);
    timeout(PATIENCE, house.router.wait())
        .await
        .unwrap()
        .unwrap();
    let text = std::fs::read_to_string(house.access_log()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn every_request_leaves_a_line() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page");
    house
        .publish(route(1, ready(&[(3, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    let reply = client
        .ask("GET /a?b=%22c%22 HTTP/1.1\r\nHost: site-1.example\r\nUser-Agent: x\r\n\r\n")
        .await;
    let id = reply.header("x-request-id").to_owned();
    client.get("unknown.example", "/").await;
    client.ask("GET / HTTP/1.1\nHost: x\n\n").await;
    drop(client);
    let lines = lines_at_the_end(house).await;
    assert_eq!(lines.len(), 3, "{lines:?}");
    let good = &lines[0];
    for (field, expected) in [
        ("request_id", Value::from(id)),
        ("client", "127.0.0.1".into()),
        ("method", "GET".into()),
        ("host", "site-1.example".into()),
        ("target", "/a?b=%22c%22".into()),
        ("status", 200.into()),
        ("bytes", 4.into()),
        ("site", 1.into()),
        ("incarnation", 3.into()),
        ("user_agent", "x".into()),
    ] {
        assert_eq!(good[field], expected, "{field} of {good}");
    }
    assert!(
        good["duration_us"].as_u64() >= good["worker_us"].as_u64(),
        "{good}"
    );
    assert_eq!(lines[1]["status"], 404);
    assert_eq!(lines[1]["cause"], "a host that no site has");
    assert_eq!(lines[2]["status"], 400);
    assert_eq!(lines[2]["cause"], "a line that doesn't end in CR LF");
}

#[tokio::test]
async fn a_client_that_went_away_is_told_from_one_that_was_answered() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
    house
        .publish(route(1, ready(&[(3, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    client
        .say("GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n")
        .await;
    let mut connection = crate::worker::next(&mut connections).await;
    connection.head().await;
    drop(client);
    assert!(connection.is_ended().await);
    let lines = lines_at_the_end(house).await;
    assert_eq!(
        (&lines[0]["status"], &lines[0]["cause"]),
        (&499.into(), &"the client went away".into())
    );
}
