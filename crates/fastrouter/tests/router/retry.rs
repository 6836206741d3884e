//! Workers that fail: what is tried once more elsewhere, and what gets 502.

use tokio::sync::mpsc;
use wire::route::ServiceFrame;

use crate::client::Client;
use crate::house::{House, ready, route};
use crate::worker::{Connection, Worker, dead_socket, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: site-1.example\r\nContent-Length: 2\r\n\r\nhi";

#[tokio::test]
async fn a_dead_instance_is_passed_over_for_a_live_one() {
    let mut house = House::new().await;
    let dead = house.socket("dead");
    dead_socket(&dead);
    let worker = Worker::new(house.socket("live"), |mut connection| async move {
        while let Some(head) = connection.head().await {
            if head.starts_with("POST") {
                assert_eq!(&connection.exactly(2).await[..], b"hi");
            }
            connection.answer("alive").await;
        }
    });
    house
        .publish(route(1, ready(&[(1, dead), (2, worker.socket.clone())])))
        .await;
    for request in [GET, POST, GET, POST] {
        let mut client = house.client().await;
        assert_eq!(client.ask(request).await.text(), "alive");
    }
}

#[tokio::test]
async fn a_request_that_meets_a_dead_instance_alone_waits_for_its_successor() {
    let mut house = House::new().await;
    let dead = house.socket("dead");
    dead_socket(&dead);
    house.publish(route(1, ready(&[(1, dead)]))).await;
    let mut client = house.client().await;
    client.say(POST).await;
    house
        .emperor
        .stats_until(|stats| stats.queues.len() == 1)
        .await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let worker = Worker::saying(house.socket("live"), "the successor");
    house
        .publish(route(1, ready(&[(2, worker.socket.clone())])))
        .await;
    assert_eq!(client.reply().await.text(), "the successor");
}

#[tokio::test]
async fn a_dead_instance_without_a_successor_gets_502() {
    let mut house = House::new().await;
    let dead = house.socket("dead");
    dead_socket(&dead);
    house.publish(route(1, ready(&[(1, dead)]))).await;
    let mut client = house.client().await;
    assert_eq!(client.ask(GET).await.status, 502);
}

#[tokio::test]
async fn a_worker_that_dies_before_a_byte_is_tried_again_where_that_does_no_harm() {
    let mut house = House::new().await;
    let dying = Worker::new(house.socket("dying"), |mut connection| async move {
        connection.head().await;
    });
    let worker = Worker::saying(house.socket("live"), "alive");
    let instances = [(1, dying.socket.clone()), (2, worker.socket.clone())];
    house.publish(route(1, ready(&instances))).await;
    // Instances that are equally busy take turns.
    for (request, expected) in [(GET, vec![200]), (POST, vec![200, 502])] {
        let mut statuses = Vec::new();
        for _ in 0..20 {
            let mut client = house.client().await;
            statuses.push(client.ask(request).await.status);
        }
        statuses.sort_unstable();
        statuses.dedup();
        assert_eq!(statuses, expected, "{request}");
    }
}

/// A client whose second request the worker has read, on the connection that it was kept.
async fn asked_again(
    house: &mut House,
    worker: &Worker,
    connections: &mut mpsc::Receiver<Connection>,
) -> (Client, Connection) {
    let socket = worker.socket.clone();
    house.publish(route(1, ready(&[(1, socket)]))).await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(connections).await;
    connection.head().await;
    connection.answer("before").await;
    assert_eq!(client.reply().await.text(), "before");
    client.say(GET).await;
    connection.head().await;
    (client, connection)
}

/// The request waits, and then is done by the next instance.
async fn a_successor_answers(house: &mut House, client: &mut Client) {
    house
        .emperor
        .stats_until(|stats| stats.queues.len() == 1)
        .await;
    let successor = Worker::saying(house.socket("successor"), "after");
    let socket = successor.socket.clone();
    house.publish(route(1, ready(&[(2, socket)]))).await;
    assert_eq!(client.reply().await.text(), "after");
}

#[tokio::test]
async fn what_a_dying_worker_had_on_a_kept_connection_is_done_by_its_successor() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("dying"));
    let (mut client, connection) = asked_again(&mut house, &worker, &mut connections).await;
    // First nobody listens any more, then the connection breaks.
    drop(worker);
    assert!(connections.recv().await.is_none());
    drop(connection);
    a_successor_answers(&mut house, &mut client).await;
}

#[tokio::test]
async fn a_dying_worker_that_is_met_twice_is_followed_by_its_successor() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("dying"));
    let (mut client, connection) = asked_again(&mut house, &worker, &mut connections).await;
    // The connection breaks while its socket takes others still, and those break too.
    drop(connection);
    let mut met_again = next(&mut connections).await;
    met_again.head().await;
    drop(met_again);
    a_successor_answers(&mut house, &mut client).await;
}

#[tokio::test]
async fn a_worker_that_dies_within_its_answer_is_not_asked_twice() {
    let (house, _worker, mut connections) = House::new().await.with_worker_by_hand().await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(&mut connections).await;
    connection.head().await;
    connection.say("HTTP/1.1 200").await;
    drop(connection);
    assert_eq!(client.reply().await.status, 502);
    assert!(connections.try_recv().is_err(), "asked twice");
}

#[tokio::test]
async fn what_came_before_a_worker_broke_off_reaches_the_client() {
    let mut house = House::new().await;
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        connection.head().await;
        connection
            .say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    for _ in 0..20 {
        let mut client = house.client().await;
        client.say(GET).await;
        let mut all = Vec::new();
        while !client.is_ended_with(&mut all).await {}
        let all = String::from_utf8(all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n"), "{all:?}");
        assert!(all.ends_with("half"), "{all:?}");
    }
}

#[tokio::test]
async fn a_connection_that_the_worker_has_closed_is_not_reused() {
    let mut house = House::new().await;
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        // Closes after each answer without saying so.
        let head = connection.head().await.unwrap();
        if head.starts_with("POST") {
            connection.exactly(2).await;
        }
        connection.answer("once").await;
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    for request in [GET, POST, POST, GET, POST] {
        assert_eq!(client.ask(request).await.text(), "once", "{request}");
    }
}

#[tokio::test]
async fn connections_to_a_worker_are_reused() {
    let (house, _worker, mut connections) = House::new().await.with_worker_by_hand().await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(&mut connections).await;
    for _ in 0..5 {
        connection.head().await.unwrap();
        connection.answer("again").await;
        assert_eq!(client.reply().await.text(), "again");
        client.say(GET).await;
    }
    assert!(connections.try_recv().is_err(), "a second connection");
}

#[tokio::test]
async fn nonsense_from_a_worker_gets_502_and_its_connection_is_closed() {
    for nonsense in [
        "SSH-2.0-x\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(70_000)),
    ] {
        let mut house = House::new().await;
        let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
        house
            .publish(route(1, ready(&[(1, worker.socket.clone())])))
            .await;
        let mut client = house.client().await;
        client.say(GET).await;
        let mut connection = next(&mut connections).await;
        connection.head().await;
        connection.say(&nonsense).await;
        let reply = client.reply().await;
        assert_eq!(reply.status, 502);
        assert!(
            !reply.text().contains("chunk"),
            "the cause is for the log: {}",
            reply.text()
        );
        assert!(connection.is_ended().await);
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_never_reach_another_request() {
    let mut house = House::new().await;
    let worker = Worker::new(house.socket("w1"), |mut connection| async move {
        connection.head().await;
        connection.say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmineHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged").await;
        connection.head().await;
    });
    house
        .publish(route(1, ready(&[(1, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    for _ in 0..3 {
        assert_eq!(client.ask(GET).await.text(), "mine");
    }
}
