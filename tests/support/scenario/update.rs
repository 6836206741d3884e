//! One UPDATE over many rows that serve.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::asleep::{Costs, processes};
use super::storm::starting;
use super::{BETWEEN_LOOKS, MANY, all_ready, insert_many, steady_vars, traffic};
use crate::open_loop::Ledger;
use crate::processes::{Memory, Process};
use crate::wait::undisturbed;
use crate::{House, OpenLoop};

const PER_SECOND: u32 = 100;

/// What came of it.
#[derive(Debug)]
pub struct Update {
    /// What the sites' visitors met before.
    pub calm: Ledger,
    /// What they met meanwhile.
    pub meanwhile: Ledger,
    /// From the commit until every site had its new worker and no other.
    pub over: Duration,
    /// The most instances that were seen on their way at one moment.
    pub most_at_once: usize,
    /// The most processes that were seen at one moment, over the number of sites.
    pub most_surplus: usize,
    /// The most instances that were said to be there beside those they replace.
    pub most_replacing: u64,
    /// The most that were said to wait for their turn.
    pub most_waiting: u64,
    /// What emperor and router held before.
    pub memory_before: Costs<Memory>,
    /// What they held afterwards.
    pub memory: Costs<Memory>,
}

/// Changes so many rows by one statement, after a calm of that long, and looks that often at most.
pub async fn update_all(house: &House, rows: usize, calm: Duration, look: Duration) -> Update {
    insert_many(house, "row", rows, "steady", &steady_vars(house, "before")).await;
    let before = all_ready(house, rows).await;
    let load = visit(house, rows);
    undisturbed(calm).await;
    let calm = load.stop().await;
    let programs = processes(house);
    let memory_before = programs.each(Process::memory);
    let load = visit(house, rows);
    let began = Instant::now();
    let statement = "UPDATE emperor.sites SET extra_config = $1";
    house.sql(statement, &[&steady_vars(house, "after")]).await;
    let (mut most_at_once, mut most_surplus) = (0, 0);
    let (mut most_replacing, mut most_waiting) = (0, 0);
    loop {
        let looked = Instant::now();
        let status = house.emperor.status().await;
        most_at_once = most_at_once.max(starting(&status));
        most_surplus = most_surplus.max(running(&status).saturating_sub(rows));
        let rollout = &status["emperor"]["rollout"];
        let told = |name: &str| rollout[name].as_u64().unwrap_or(0);
        most_replacing = most_replacing.max(told("replacing"));
        most_waiting = most_waiting.max(told("waiting"));
        let left = unchanged(&before, &status);
        if left == 0 {
            break;
        }
        assert!(
            began.elapsed() < MANY,
            "{left} are not there yet: {rollout}"
        );
        undisturbed(look.max(looked.elapsed() * BETWEEN_LOOKS)).await;
    }
    Update {
        over: began.elapsed(),
        meanwhile: load.stop().await,
        calm,
        most_at_once,
        most_surplus,
        most_replacing,
        most_waiting,
        memory_before,
        memory: programs.each(Process::memory),
    }
}

fn visit(house: &House, rows: usize) -> OpenLoop {
    OpenLoop::start(traffic(house, "row", rows, PER_SECOND))
}

fn running(status: &Value) -> usize {
    let sites = status["sites"].as_array().unwrap().iter();
    let instances = sites.flat_map(|site| site["instances"].as_array().unwrap());
    let running = instances.filter(|instance| !instance["pid"].is_null());
    running.count()
}

fn unchanged(before: &Value, now: &Value) -> usize {
    let sites = before["sites"].as_array().unwrap().iter();
    let pairs = sites.zip(now["sites"].as_array().unwrap());
    let left = pairs
        .filter(|(before, now)| now["revision"] == before["revision"] || !super::is_at_rest(now));
    left.count()
}
