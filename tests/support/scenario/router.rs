//! The router is killed, again and again, while visitors come at a fixed rate.

use std::time::{Duration, Instant};

use super::{all_ready, insert_many, steady_vars, traffic};
use crate::client::{Client, NoAnswer};
use crate::open_loop::Ledger;
use crate::processes::Process;
use crate::wait::{eventually, undisturbed};
use crate::{House, OpenLoop, PATIENCE, Traffic};

const SITES: usize = 5;
const PER_SECOND: u32 = 200;
/// How long each router is left alone: one that has served for a while is killed, not one that has
/// just begun.
const LIFE: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug)]
pub struct RouterKills {
    /// From each signal until a visitor who came after the router's end had the page.
    pub back: Vec<Duration>,
    /// Connections that nobody took.
    pub refused: usize,
    /// What the visitors met meanwhile.
    pub ledger: Ledger,
}

/// Kills the router so many times.
pub async fn kill_routers(house: &House, times: usize) -> RouterKills {
    insert_many(house, "row", SITES, "steady", &steady_vars(house, "")).await;
    all_ready(house, SITES).await;
    let load = OpenLoop::start(Traffic {
        patience: PATIENCE,
        ..traffic(house, "row", SITES, PER_SECOND)
    });
    let (mut back, mut refused) = (Vec::new(), 0);
    for _ in 0..times {
        undisturbed(LIFE).await;
        let (began, _) = router(house).await.killed().await;
        refused += visit(house).await;
        back.push(began.elapsed());
    }
    let ledger = load.stop().await;
    RouterKills {
        back,
        refused,
        ledger,
    }
}

/// The process that serves now.
async fn router(house: &House) -> Process {
    eventually("a router that serves", PATIENCE, async || {
        let router = house.emperor.status().await["router"].clone();
        let pid = router["pid"].as_i64().map(i32::try_from);
        let process = pid.and_then(Result::ok).map(Process::new);
        let process = process.filter(|process| process.is_alive());
        process.ok_or_else(|| router.to_string())
    })
    .await
}

/// Asks until there is a page, and says how often nobody took the connection.
async fn visit(house: &House) -> usize {
    let (client, due) = (Client::new(house.port), Instant::now());
    let mut refused = 0;
    loop {
        match client.try_get("row-1.example", "/").await {
            Ok(answer) if answer.status == 200 => return refused,
            Err(NoAnswer::Connect(_)) => refused += 1,
            Ok(_) | Err(NoAnswer::Http(_) | NoAnswer::Timeout) => {}
        }
        assert!(due.elapsed() < PATIENCE, "no router serves");
    }
}
