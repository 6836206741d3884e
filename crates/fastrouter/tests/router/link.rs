//! What the router owes the emperor: acknowledgements, idleness and figures.

use std::path::Path;

use nix::sys::signal::Signal;
use wire::route::{FromRouter, RouteFrame, ServiceFrame, ToRouter};

use crate::house::{House, ready, route, settings};
use crate::worker::{Worker, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";

fn site(incarnation: u64, socket: &Path) -> RouteFrame {
    route(1, ready(&[(incarnation, socket.to_owned())]))
}

#[tokio::test]
async fn an_acknowledged_table_is_what_every_new_request_meets() {
    let mut house = House::new().await;
    let workers = ["one", "two"].map(|name| Worker::saying(house.socket(name), name));
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(house.client().await);
    }
    for round in 0..20 {
        let worker = &workers[round % 2];
        house.publish(site(round as u64 + 1, &worker.socket)).await;
        for client in &mut clients {
            assert_eq!(client.ask(GET).await.text(), ["one", "two"][round % 2]);
        }
    }
}

#[tokio::test]
async fn an_instance_is_idle_once_its_last_request_has_ended() {
    let mut house = House::new().await;
    let (old, mut connections) = Worker::by_hand(house.socket("old"));
    house.publish(site(1, &old.socket)).await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(&mut connections).await;
    connection.head().await;
    let new = Worker::saying(house.socket("new"), "new");
    house.publish(site(2, &new.socket)).await;
    house
        .emperor
        .say(&ToRouter::AwaitIdle {
            site_id: 1,
            incarnation: 1,
        })
        .await;
    // Its answer would come first, if the router gave it too soon.
    assert_eq!(house.emperor.stats().await.in_flight, 1);
    connection.answer("old to the end").await;
    assert_eq!(client.reply().await.text(), "old to the end");
    let idle = FromRouter::Idle {
        site_id: 1,
        incarnation: 1,
    };
    assert_eq!(house.emperor.hear().await, idle);
    assert!(connection.is_ended().await, "no connection to it is kept");
}

#[tokio::test]
async fn an_unknown_instance_is_idle() {
    let mut house = House::new().await;
    house
        .emperor
        .say(&ToRouter::AwaitIdle {
            site_id: 9,
            incarnation: 9,
        })
        .await;
    let idle = FromRouter::Idle {
        site_id: 9,
        incarnation: 9,
    };
    assert_eq!(house.emperor.hear().await, idle);
}

#[tokio::test]
async fn figures_are_counted_per_instance() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page");
    house.publish(site(5, &worker.socket)).await;
    for _ in 0..6 {
        let mut client = house.client().await;
        client.ask(GET).await;
        client.ask(GET).await;
    }
    let stats = house
        .emperor
        .stats_until(|stats| stats.in_flight == 0 && stats.connections == 0)
        .await;
    assert_eq!((stats.requests, stats.generation), (12, 2));
    let instance = &stats.instances[0];
    assert_eq!(
        (instance.incarnation, instance.requests, instance.in_flight),
        (5, 12, 0)
    );
}

#[tokio::test]
async fn the_last_table_serves_on_while_the_emperor_is_away() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "still here");
    house.publish(site(1, &worker.socket)).await;
    house.next_emperor().await;
    assert_eq!(house.client().await.ask(GET).await.text(), "still here");
    // The next emperor may count from the beginning.
    house.emperor.say(&ToRouter::Settings(settings())).await;
    house
        .emperor
        .whole_table(1, vec![route(1, ServiceFrame::Disabled)])
        .await;
    assert_eq!(house.client().await.ask(GET).await.status, 503);
}

#[tokio::test]
async fn an_interrupt_is_for_the_emperor() {
    let mut house = House::new().await;
    house.signal(Signal::SIGINT);
    let status = format!("/proc/{}/status", house.router.id().unwrap());
    while is_pending(&std::fs::read_to_string(&status).unwrap(), Signal::SIGINT) {
        tokio::task::yield_now().await;
    }
    // Had it any effect, the link would end, or at least the connection after the answer.
    house.emperor.router_has_looked().await;
    let reply = house.client().await.ask(GET).await;
    assert_eq!((reply.status, reply.is_last), (404, false));
}

/// Whether a signal to a process has not been taken yet.
fn is_pending(status: &str, signal: Signal) -> bool {
    let mut lines = status.lines();
    let pending = lines.find_map(|line| line.strip_prefix("ShdPnd:")).unwrap();
    let pending = u64::from_str_radix(pending.trim(), 16).unwrap();
    pending & (1 << (signal as u32 - 1)) != 0
}
