//! An emperor starts with many rows, and a visitor of each is there at once.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::insert_many;
use crate::client::NoAnswer;
use crate::place::there;
use crate::wait::eventually;
use crate::{House, PATIENCE};

/// What came of it. Times count from the start of the emperor's process.
#[derive(Debug)]
pub struct Cold {
    /// Until connections were accepted.
    pub listening: Duration,
    /// Until every visitor's request was in the router, with its page or waiting for it.
    pub all_in: Duration,
    /// Until the last of them had the page of its site.
    pub all_answered: Duration,
    /// Visitors who got something else, and what.
    pub failures: Vec<String>,
}

/// Visitors wait for as long as all of them take.
pub const CONFIG: &str = "[vassal.queue]\ntimeout = \"10m\"";

/// Starts the emperor with so many rows. The house must have been opened with [`CONFIG`].
pub async fn start_cold(house: &mut House, sites: usize) -> Cold {
    // Nothing runs yet: rows that the daemon has never seen. Its last reading has none of them; where the
    // database takes a second to answer, it would begin with that and deny their hosts.
    assert_eq!(house.emperor.stop(), 0);
    for name in ["snapshot.json", "snapshot.changes.json"] {
        let reading = house.emperor.state_dir().join(name);
        there(&reading, std::fs::remove_file(&reading));
    }
    insert_many(house, "cold", sites, "tiny", &house.tiny_vars("")).await;
    let began = Instant::now();
    house.emperor.launch();
    let port = house.port;
    eventually("somebody who listens", PATIENCE, async || {
        let connected = TcpStream::connect(("127.0.0.1", port)).await;
        connected.map(drop).map_err(|error| error.to_string())
    })
    .await;
    let listening = began.elapsed();
    let mut visitors = JoinSet::new();
    for number in 1..=sites {
        let client = house.client;
        visitors.spawn(async move {
            let host = format!("cold-{number}.example");
            visit(client, &host).await.err()
        });
    }
    house.emperor.answers().await;
    let all_in = all_in(house, sites, began).await;
    let failures = visitors.join_all().await.into_iter().flatten().collect();
    Cold {
        listening,
        all_in,
        all_answered: began.elapsed(),
        failures,
    }
}

async fn visit(client: crate::Client, host: &str) -> Result<(), String> {
    let answer = client.try_get(host, "/").await;
    let answer = answer.map_err(|failure: NoAnswer| format!("{host}: {failure:?}"))?;
    if answer.status == StatusCode::OK && answer.json()["domain"] == host {
        return Ok(());
    }
    Err(format!("{host}: {} {}", answer.status, answer.text()))
}

async fn all_in(house: &House, sites: usize, began: Instant) -> Duration {
    eventually("all visitors in", PATIENCE, async || {
        let router = &house.emperor.status().await["router"];
        let count = |name: &str| router[name].as_u64().unwrap_or(0);
        let here = count("in_flight") + count("requests");
        (usize::try_from(here).unwrap() >= sites)
            .then(|| began.elapsed())
            .ok_or_else(|| router.to_string())
    })
    .await
}
