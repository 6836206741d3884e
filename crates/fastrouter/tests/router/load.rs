//! What the router tells of load by itself.

use wire::route::{InstanceLoad, ServiceFrame, Settings, SiteLoad, ToRouter};

use crate::house::{House, ready, route, settings};
use crate::worker::{Worker, dead_socket, next};

const GET: &str = "GET / HTTP/1.1\r\nHost: site-1.example\r\n\r\n";

fn sum(loads: &[SiteLoad], figure: impl Fn(&SiteLoad) -> u64) -> u64 {
    loads.iter().map(figure).sum()
}

fn sum_of(loads: &[SiteLoad], incarnation: u64, figure: impl Fn(&InstanceLoad) -> u64) -> u64 {
    let instances = loads.iter().flat_map(|load| &load.instances);
    let instances = instances.filter(|instance| instance.incarnation == incarnation);
    instances.map(figure).sum()
}

/// What was said of an instance last.
fn last(loads: &[SiteLoad], incarnation: u64) -> Option<&InstanceLoad> {
    let mut instances = loads.iter().flat_map(|load| &load.instances);
    instances.rfind(|instance| instance.incarnation == incarnation)
}

#[tokio::test]
async fn every_request_is_told_once_and_the_last_word_is_that_none_is_left() {
    let mut house = House::new().await;
    let worker = Worker::saying(house.socket("w1"), "page");
    house
        .publish(route(1, ready(&[(5, worker.socket.clone())])))
        .await;
    for _ in 0..6 {
        let mut client = house.client().await;
        client.ask(GET).await;
        client.ask(GET).await;
    }
    let loads = house
        .emperor
        .loads_until(|loads| {
            let is_idle = last(loads, 5).is_some_and(|last| last.in_flight == 0);
            is_idle && sum_of(loads, 5, |instance| instance.answered) == 12
        })
        .await;
    assert_eq!(sum(loads, |load| load.requests), 12);
    assert_eq!(last(loads, 5).unwrap().requests, 12);
    assert!(loads.iter().all(|load| load.site_id == 1));
}

#[tokio::test]
async fn a_waiting_request_is_told_with_its_age_and_its_end() {
    let mut house = House::new().await;
    house.publish(route(1, ServiceFrame::Waiting)).await;
    let mut client = house.client().await;
    client.say(GET).await;
    let is_told = |loads: &[SiteLoad]| {
        let last = loads.last();
        last.is_some_and(|last| last.waiting == 1 && last.oldest_ms > 0)
    };
    let loads = house.emperor.loads_until(is_told).await;
    assert_eq!(sum(loads, |load| load.requests), 1);
    drop(client);
    house
        .emperor
        .loads_until(|loads| loads.last().is_some_and(|last| last.waiting == 0))
        .await;
}

#[tokio::test]
async fn failures_are_told_of_the_instance_that_failed() {
    let mut house = House::new().await;
    let dead = house.socket("dead");
    dead_socket(&dead);
    let dying = Worker::new(house.socket("dying"), |mut connection| async move {
        connection.head().await;
    });
    let cutting = Worker::new(house.socket("cutting"), |mut connection| async move {
        connection.head().await;
        connection
            .say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
            .await;
    });
    let (late, mut connections) = Worker::by_hand(house.socket("late"));
    let instances = [
        dead,
        dying.socket.clone(),
        cutting.socket.clone(),
        late.socket.clone(),
    ];
    for (incarnation, socket) in (1..).zip(instances) {
        if incarnation == 4 {
            let hasty = Settings {
                response_timeout_ms: 50,
                ..settings()
            };
            house.emperor.say(&ToRouter::Settings(hasty)).await;
        }
        let service = ready(&[(incarnation, socket)]);
        house.publish(route(1, service)).await;
        let mut client = house.client().await;
        // A request that may not be sent twice, so that each failure is one.
        client
            .say("POST / HTTP/1.0\r\nHost: site-1.example\r\nContent-Length: 0\r\n\r\n")
            .await;
        while !client.is_ended_with(&mut Vec::new()).await {}
    }
    drop(next(&mut connections).await);
    let told = |loads: &[SiteLoad]| {
        [
            sum_of(loads, 1, |instance| instance.refused),
            sum_of(loads, 2, |instance| instance.broken),
            sum_of(loads, 3, |instance| instance.broken),
            sum_of(loads, 4, |instance| instance.late),
        ]
    };
    // What was never sent is tried once more.
    let loads = house
        .emperor
        .loads_until(|loads| told(loads) == [2, 1, 1, 1])
        .await;
    let answered = |incarnation| sum_of(loads, incarnation, |instance| instance.answered);
    assert_eq!([1, 2, 3, 4].map(answered), [0, 0, 1, 0]);
}

#[tokio::test]
async fn a_new_emperor_is_told_who_is_busy() {
    let mut house = House::new().await;
    let (worker, mut connections) = Worker::by_hand(house.socket("w1"));
    house
        .publish(route(1, ready(&[(5, worker.socket.clone())])))
        .await;
    let mut client = house.client().await;
    client.say(GET).await;
    let mut connection = next(&mut connections).await;
    connection.head().await;
    let is_busy =
        |loads: &[SiteLoad]| last(loads, 5).is_some_and(|instance| instance.in_flight == 1);
    house.emperor.loads_until(is_busy).await;
    house.next_emperor().await;
    house.emperor.loads_until(is_busy).await;
    connection.answer("page").await;
    client.reply().await;
    house
        .emperor
        .loads_until(|loads| last(loads, 5).is_some_and(|instance| instance.in_flight == 0))
        .await;
}
