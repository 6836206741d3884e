//! The end of a router: with another on the same listening socket, and without.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::sys::signal::Signal;
use tokio::process::Child;
use tokio::time::timeout;
use wire::route::{RouteFrame, ServiceFrame};

use crate::PATIENCE;
use crate::client::Client;
use crate::house::{House, one_waits, open_tunnel, ready, route, signal_to};
use crate::worker::{Worker, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";

fn site(worker: &Worker) -> RouteFrame {
    route(1, ready(&[(1, worker.socket.clone())]))
}

async fn ended_well(router: &mut Child) {
    let ended = timeout(PATIENCE, router.wait()).await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn a_drained_router_ends_what_it_has_begun_and_exits_well() {
    for signal in [Signal::SIGTERM, Signal::SIGQUIT] {
        let mut house = House::new().await;
        let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
        house.publish(site(&worker)).await;
        let mut busy = house.client().await;
        busy.say(GET).await;
        let mut connection = next(&mut connections).await;
        connection.head().await;
        let mut idle = house.idle_client(1).await;
        house.signal(signal);
        assert!(idle.is_ended().await, "an idle connection is closed");
        connection.answer("to the end").await;
        let reply = busy.reply().await;
        assert_eq!(reply.text(), "to the end");
        assert!(reply.is_last);
        assert!(busy.is_ended().await);
        ended_well(&mut house.router).await;
    }
}

#[tokio::test]
async fn who_stands_at_the_door_of_a_router_that_ends_is_answered() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "the last page");
    house.publish(site(&worker)).await;
    // Stopped, it can accept nobody before it learns that it is to end.
    house.signal(Signal::SIGSTOP);
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = house.client().await;
        client.say(GET).await;
        clients.push(client);
    }
    house.signal(Signal::SIGTERM);
    house.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.reply().await.text(), "the last page");
    }
    ended_well(&mut house.router).await;
}

#[tokio::test]
async fn who_comes_to_a_drained_router_is_left_to_the_next_one() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page");
    house.signal(Signal::SIGQUIT);
    ended_well(&mut house.router).await;
    let mut client = house.client().await;
    client.say(GET).await;
    house.next_router(vec![site(&worker)]).await;
    assert_eq!(client.reply().await.text(), "page");
}

#[tokio::test]
async fn who_waits_at_a_router_that_drains_is_answered_once_its_site_is_up() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "up");
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut client = house.client().await;
    client.say(GET).await;
    house.emperor.stats_until(one_waits).await;
    let mut idle = house.idle_client(1).await;
    house.signal(Signal::SIGQUIT);
    assert!(idle.is_ended().await, "it drains");
    let emperor = &mut house.emperor;
    emperor.tell_change(vec![site(&worker)], vec![]).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "up"));
    assert!(reply.is_last);
    ended_well(&mut house.router).await;
}

#[tokio::test]
async fn what_does_not_end_is_broken_off_after_the_time_that_was_set() {
    let mut house = House::with(|settings| settings.drain_timeout_ms = 1).await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut client = house.client().await;
    client.say(GET).await;
    house.emperor.stats_until(one_waits).await;
    house.signal(Signal::SIGTERM);
    ended_well(&mut house.router).await;
    assert!(client.is_ended().await);
}

/// Clients that ask without a pause, and what became of their requests.
#[derive(Default)]
struct Crowd {
    answered: AtomicU64,
    enough: AtomicBool,
}

impl Crowd {
    /// Asks over one connection until it ends with an answer that says so, and then over another.
    async fn ask(self: Arc<Self>, address: SocketAddr, kept_alive: bool) {
        while !self.enough.load(Ordering::Relaxed) {
            let mut client = Client::connect(address).await;
            loop {
                let reply = client.ask(GET).await;
                assert_eq!((reply.status, reply.text()), (200, "page"));
                self.answered.fetch_add(1, Ordering::Relaxed);
                if reply.is_last || !kept_alive || self.enough.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    }

    async fn has_answered(&self, more: u64) {
        let wanted = self.answered.load(Ordering::Relaxed) + more;
        let answered = async {
            while self.answered.load(Ordering::Relaxed) < wanted {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, answered).await.expect("too few answers");
    }
}

#[tokio::test]
async fn nothing_is_lost_as_one_router_takes_over_from_another() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page");
    house.publish(site(&worker)).await;
    let crowd = Arc::new(Crowd::default());
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..8 {
        let crowd = Arc::clone(&crowd);
        asking.spawn(crowd.ask(house.address, number % 2 == 0));
    }
    for signal in [Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGQUIT] {
        crowd.has_answered(50).await;
        let (mut before, _link) = house.next_router(vec![site(&worker)]).await;
        crowd.has_answered(50).await;
        signal_to(&before, signal);
        ended_well(&mut before).await;
    }
    crowd.has_answered(50).await;
    crowd.enough.store(true, Ordering::Relaxed);
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    assert_eq!(house.emperor.stats().await.in_flight, 0);
}

#[tokio::test]
async fn a_websocket_goes_on_while_its_router_drains() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
    house.publish(site(&worker)).await;
    let mut client = house.client().await;
    let mut tunnel = open_tunnel(&mut client, &mut connections).await;
    let mut idle = house.idle_client(1).await;
    house.signal(Signal::SIGQUIT);
    assert!(idle.is_ended().await, "it drains");
    client.say("ping").await;
    assert_eq!(&tunnel.exactly(4).await[..], b"ping");
    tunnel.say("pong").await;
    assert_eq!(&client.exactly(4).await[..], b"pong");
    drop((client, tunnel));
    ended_well(&mut house.router).await;
}
