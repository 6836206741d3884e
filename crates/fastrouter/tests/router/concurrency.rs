//! Instances that take so many requests at a time.

use std::num::NonZeroU32;
use std::path::PathBuf;

use tokio::sync::{mpsc, oneshot};
use wire::route::{RouteFrame, RouterStats, ServiceFrame};

use crate::client::Client;
use crate::house::{House, open_tunnel, ready, route};
use crate::worker::{Worker, next};

fn bounded(instances: &[(u64, PathBuf)], most: u32) -> RouteFrame {
    let ServiceFrame::Ready(mut backends) = ready(instances) else {
        unreachable!("instances are ready")
    };
    for backend in &mut backends {
        backend.concurrency = NonZeroU32::new(most);
    }
    route(1, ServiceFrame::Ready(backends))
}

/// A client whose request is under way. Its path is the number of clients before it.
async fn asking(house: &mut House, before: &[Client]) -> Client {
    let mut client = house.client().await;
    let number = before.len() as u64;
    client
        .say(format!(
            "GET /{number} HTTP/1.1\r\nHost: site-1.example\r\n\r\n"
        ))
        .await;
    house
        .emperor
        .stats_until(|stats| stats.in_flight == number + 1)
        .await;
    client
}

fn in_flight_and_waiting(stats: &RouterStats) -> (u64, u64) {
    let in_flight = stats.instances.iter().map(|instance| instance.in_flight);
    let waiting = stats.queues.iter().map(|queue| queue.waiting);
    (in_flight.sum(), waiting.sum())
}

/// A request that has reached a worker, and waits for the test's word.
struct Arrival {
    target: String,
    answer: oneshot::Sender<()>,
}

/// A worker that answers when the test says so.
fn gated(socket: PathBuf) -> (Worker, mpsc::Receiver<Arrival>) {
    let (sender, arrivals) = mpsc::channel(64);
    let worker = Worker::new(socket, move |mut connection| {
        let sender = sender.clone();
        async move {
            while let Some(head) = connection.head().await {
                let target = head.split(' ').nth(1).unwrap().to_owned();
                let (answer, answered) = oneshot::channel();
                let arrival = Arrival {
                    target: target.clone(),
                    answer,
                };
                sender.send(arrival).await.unwrap();
                answered.await.unwrap();
                connection.answer(&target).await;
            }
        }
    });
    (worker, arrivals)
}

#[tokio::test]
async fn requests_beyond_the_bound_get_their_turn_in_the_order_of_arrival() {
    const REQUESTS: usize = 12;
    let mut house = House::new().await;
    let (worker, mut arrivals) = gated(house.socket("w1"));
    house
        .publish(bounded(&[(1, worker.socket.clone())], 1))
        .await;
    // Connections fall to either thread: the order is one for both.
    let mut clients = Vec::new();
    for _ in 0..REQUESTS {
        let client = asking(&mut house, &clients).await;
        clients.push(client);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        let arrival = arrivals.recv().await.unwrap();
        let target = format!("/{number}");
        assert_eq!(arrival.target, target);
        let waiting = (REQUESTS - number - 1) as u64;
        let stats = house.emperor.stats().await;
        assert_eq!(in_flight_and_waiting(&stats), (1, waiting));
        assert!(arrivals.try_recv().is_err());
        arrival.answer.send(()).unwrap();
        assert_eq!(client.reply().await.text(), target);
    }
}

#[tokio::test]
async fn the_instance_with_room_gets_the_next_request() {
    let mut house = House::new().await;
    let (one, mut of_one) = gated(house.socket("w1"));
    let (other, mut of_other) = gated(house.socket("w2"));
    let instances = [(1, one.socket.clone()), (2, other.socket.clone())];
    house.publish(bounded(&instances, 1)).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let client = asking(&mut house, &clients).await;
        clients.push(client);
    }
    let busy = of_one.recv().await.unwrap();
    let mut next = of_other.recv().await.unwrap();
    for _ in 2..4 {
        next.answer.send(()).unwrap();
        next = of_other.recv().await.unwrap();
    }
    assert_eq!(next.target, "/3");
    assert!(of_one.try_recv().is_err(), "it has one already");
    busy.answer.send(()).unwrap();
}

#[tokio::test]
async fn a_place_that_nobody_waits_for_any_more_goes_to_the_next_in_line() {
    let mut house = House::new().await;
    let (worker, mut arrivals) = gated(house.socket("w1"));
    house
        .publish(bounded(&[(1, worker.socket.clone())], 1))
        .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let client = asking(&mut house, &clients).await;
        clients.push(client);
    }
    let first = arrivals.recv().await.unwrap();
    let mut last = clients.pop().unwrap();
    // First the one in the queue goes, then the one at the worker.
    for left in [2, 1] {
        drop(clients.pop());
        house
            .emperor
            .stats_until(|stats| stats.in_flight == left)
            .await;
    }
    // The worker's connection is closed with the client's: the answer has nobody to go to.
    let after = arrivals.recv().await.unwrap();
    assert_eq!(after.target, "/2");
    after.answer.send(()).unwrap();
    assert_eq!(last.reply().await.text(), "/2");
    drop(first);
}

#[tokio::test]
async fn the_bounds_of_the_queue_hold_for_busy_instances_too() {
    let mut house = House::new().await;
    let (worker, mut arrivals) = gated(house.socket("w1"));
    let mut narrow = bounded(&[(1, worker.socket.clone())], 1);
    narrow.queue_depth = 1;
    narrow.queue_timeout_ms = 50;
    house.publish(narrow).await;
    let mut served = asking(&mut house, &[]).await;
    let arrival = arrivals.recv().await.unwrap();
    let (mut one, mut other) = (house.client().await, house.client().await);
    for client in [&mut one, &mut other] {
        client
            .say("GET /late HTTP/1.1\r\nHost: site-1.example\r\n\r\n")
            .await;
    }
    // One finds the queue full, the other waits in vain.
    assert_eq!(one.reply().await.status, 503);
    assert_eq!(other.reply().await.status, 503);
    arrival.answer.send(()).unwrap();
    assert_eq!(served.reply().await.text(), "/0");
    assert!(arrivals.try_recv().is_err());
}

#[tokio::test]
async fn a_tunnel_keeps_its_place_until_it_ends() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
    house
        .publish(bounded(&[(1, worker.socket.clone())], 1))
        .await;
    let mut websocket = house.client().await;
    let mut tunnel = open_tunnel(&mut websocket, &mut connections).await;
    let mut waiting = asking(&mut house, std::slice::from_ref(&websocket)).await;
    let stats = house.emperor.stats().await;
    assert_eq!(in_flight_and_waiting(&stats), (1, 1));
    drop(websocket);
    assert!(tunnel.is_ended().await);
    drop(tunnel);
    let mut connection = next(&mut connections).await;
    connection.head().await;
    connection.answer("after the tunnel").await;
    assert_eq!(waiting.reply().await.text(), "after the tunnel");
}
