//! Things that happen in great numbers, with what they came to. The end-to-end tests look at the
//! counts of few; `cargo xtask bench supervision` prints the times of many.
//!
//! | module | what happens |
//! |---|---|
//! | [`kills`] | workers are killed, again and again |
//! | [`asleep`] | very many rows, nearly all asleep |
//! | [`cold`] | an emperor starts with many rows, and visitors of all of them are there |
//! | [`router`] | the router is killed, again and again |
//! | [`sleep`] | sites stop for want of requests, and visitors come around that moment |
//! | [`storm`] | many rows whose workers end at once, beside some that serve |
//! | [`update`] | one UPDATE over many rows that serve |

pub mod asleep;
pub mod cold;
pub mod kills;
pub mod pulse;
pub mod router;
pub mod sleep;
pub mod storm;
pub mod update;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::house::vars;
use crate::wait::{eventually, undisturbed};
use crate::{House, Traffic};

/// How long many rows may take: on two cores, unoptimised, beside other tests.
const MANY: Duration = Duration::from_mins(10);

/// So many times as long as a look took, there is no other: to tell of thousands of sites is work that
/// would be measured along with what is looked at.
const BETWEEN_LOOKS: u32 = 9;

/// Visitors of the rows `PREFIX-1` to `PREFIX-COUNT`, in turn.
fn traffic(house: &House, prefix: &str, count: usize, per_second: u32) -> Traffic {
    Traffic {
        port: house.port,
        slugs: (1..=count)
            .map(|number| format!("{prefix}-{number}"))
            .collect(),
        per_second,
        patience: Duration::from_secs(15),
    }
}

/// Inserts rows `PREFIX-1` to `PREFIX-COUNT` with a domain each, in one statement.
pub async fn insert_many(house: &House, prefix: &str, count: usize, template: &str, config: &str) {
    let statement = format!(
        "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
         SELECT '{prefix}-' || n, '{prefix}-' || n || '.example', '{template}', $1 \
         FROM generate_series(1, {count}) n"
    );
    house.sql(&statement, &[&config]).await;
}

/// The `extra_config` of a steady worker.
pub fn steady_vars(house: &House, marker: &str) -> String {
    let worker = house.place.steady_worker();
    vars(&[("program", worker.to_str().unwrap()), ("marker", marker)])
}

/// Waits until so many sites are ready with one instance each and nothing to complain of, and
/// returns what is told then.
pub async fn all_ready(house: &House, count: usize) -> Value {
    let mut took = Duration::ZERO;
    eventually(&format!("{count} ready sites"), MANY, async || {
        undisturbed(took * BETWEEN_LOOKS).await;
        let began = Instant::now();
        let status = house.emperor.status().await;
        let sites = status["sites"].as_array().unwrap().iter();
        let ready = sites.filter(|site| is_at_rest(site)).count();
        took = began.elapsed();
        (ready == count)
            .then_some(status)
            .ok_or_else(|| format!("{ready} are"))
    })
    .await
}

/// Waits until that many sites are in a state.
pub async fn all_in(house: &House, state: &str, count: usize) {
    eventually(&format!("{count} sites {state}"), MANY, async || {
        let status = house.emperor.status().await;
        let sites = status["sites"].as_array().unwrap().iter();
        let there = sites.filter(|site| site["state"] == state).count();
        (there == count)
            .then_some(())
            .ok_or_else(|| format!("{there} are"))
    })
    .await;
}

fn is_at_rest(site: &Value) -> bool {
    let instances = site["instances"].as_array().unwrap();
    site["state"] == "ready"
        && site["detail"] == ""
        && instances.len() == 1
        && instances[0]["state"] == "ready"
}

/// The time that so many of a thousand stay below.
pub fn at(permille: usize, times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let index = (times.len() * permille / 1000).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}
