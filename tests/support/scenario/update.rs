//! One UPDATE over many rows that serve.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::storm::starting;
use super::{all_ready, insert_many, steady_vars};
use crate::open_loop::Ledger;
use crate::wait::eventually;
use crate::{House, OpenLoop, Traffic};

const PER_SECOND: u32 = 100;

/// What came of it.
#[derive(Debug)]
pub struct Update {
    /// From the commit until every site had its new worker and no other.
    pub over: Duration,
    /// The most instances that were seen on their way at one moment.
    pub most_at_once: usize,
    /// The most instances that were seen at one moment, over the number of sites.
    pub most_surplus: usize,
    /// What the sites' visitors met meanwhile.
    pub ledger: Ledger,
}

/// Changes so many rows by one statement.
pub async fn update_all(house: &House, rows: usize) -> Update {
    insert_many(house, "row", rows, "steady", &steady_vars(house, "before")).await;
    let before = all_ready(house, rows).await;
    let load = OpenLoop::start(Traffic {
        port: house.port,
        slugs: (1..=rows).map(|number| format!("row-{number}")).collect(),
        per_second: PER_SECOND,
        patience: Duration::from_secs(15),
    });
    let began = Instant::now();
    let statement = "UPDATE emperor.sites SET extra_config = $1";
    house.sql(statement, &[&steady_vars(house, "after")]).await;
    let (mut most_at_once, mut most_surplus) = (0, 0);
    eventually("the new revision everywhere", super::MANY, async || {
        let status = house.emperor.status().await;
        most_at_once = most_at_once.max(starting(&status));
        most_surplus = most_surplus.max(instances(&status).saturating_sub(rows));
        let left = unchanged(&before, &status);
        (left == 0)
            .then_some(())
            .ok_or_else(|| format!("{left} are not there yet"))
    })
    .await;
    Update {
        over: began.elapsed(),
        most_at_once,
        most_surplus,
        ledger: load.stop().await,
    }
}

fn instances(status: &Value) -> usize {
    let sites = status["sites"].as_array().unwrap().iter();
    sites
        .map(|site| site["instances"].as_array().unwrap().len())
        .sum()
}

fn unchanged(before: &Value, now: &Value) -> usize {
    let sites = before["sites"].as_array().unwrap().iter();
    let pairs = sites.zip(now["sites"].as_array().unwrap());
    let left = pairs
        .filter(|(before, now)| now["revision"] == before["revision"] || !super::is_at_rest(now));
    left.count()
}
