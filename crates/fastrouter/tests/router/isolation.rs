//! No request ever sees another site's bytes.

use tokio::task::JoinSet;

use crate::house::{House, ready, route};
use crate::worker::Worker;

const SITES: i64 = 8;
const CLIENTS: i64 = 16;
const REQUESTS: i64 = 60;

/// A worker that names its site, the request's path and its body in every answer, and now and then
/// closes, dawdles or answers in chunks.
fn naming(house: &House, site: i64) -> Worker {
    Worker::new(
        house.socket(&format!("w{site}")),
        move |mut connection| async move {
            let mut count = 0;
            while let Some(head) = connection.head().await {
                count += 1;
                let path = head.split(' ').nth(1).unwrap().to_owned();
                let length = head
                    .split("Content-Length: ")
                    .nth(1)
                    .and_then(|rest| rest.split('\r').next());
                let body = connection
                    .exactly(length.map_or(0, |length| length.parse().unwrap()))
                    .await;
                let text = format!("site {site} {path} {}", String::from_utf8_lossy(&body));
                match count % 4 {
                    0 => {
                        let length = text.len();
                        let chunked = format!(
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{text}\r\n0\r\n\r\n"
                        );
                        connection.say(chunked).await;
                    }
                    1 => {
                        for part in format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                            text.len()
                        )
                        .as_bytes()
                        .chunks(9)
                        {
                            connection.say(part).await;
                            tokio::task::yield_now().await;
                        }
                    }
                    2 => connection.answer(&text).await,
                    _ => {
                        connection
                            .say(format!("HTTP/1.1 200 OK\r\n\r\n{text}"))
                            .await;
                        return;
                    }
                }
            }
        },
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_many_sites_each_get_their_own_pages() {
    let mut house = House::new().await;
    let mut workers = Vec::new();
    for site in 1..=SITES {
        let worker = naming(&house, site);
        let incarnation = site.unsigned_abs();
        house
            .publish(route(site, ready(&[(incarnation, worker.socket.clone())])))
            .await;
        workers.push(worker);
    }
    let mut clients = JoinSet::new();
    for number in 1..=CLIENTS {
        let mut client = house.client().await;
        clients.spawn(async move {
            for request in 0..REQUESTS {
                let site = (number * 31 + request * 7) % SITES + 1;
                let body = format!("body-{number}-{request}");
                let length = body.len();
                let reply = client
                    .ask(format!(
                        "PUT /{number}/{request} HTTP/1.1\r\nHost: site-{site}.example\r\nContent-Length: {length}\r\n\r\n{body}"
                    ))
                    .await;
                assert_eq!(reply.text(), format!("site {site} /{number}/{request} {body}"));
            }
        });
    }
    // Meanwhile every site is replaced again and again by itself under another incarnation.
    for round in 1..=10 {
        for (site, worker) in (1..=SITES).zip(&workers) {
            let incarnation = (round * SITES + site).unsigned_abs();
            house
                .publish(route(site, ready(&[(incarnation, worker.socket.clone())])))
                .await;
        }
    }
    clients.join_all().await;
}
