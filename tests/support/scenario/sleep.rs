//! Sites that stop for want of requests, and visitors who come around the moment of the stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use serde_json::Value;
use tokio::task::JoinSet;

use super::insert_many;
use crate::wait::undisturbed;
use crate::{Client, House};

/// After so long without a request each of them stops.
const STOP_AFTER: &str = "300ms";
/// The router tells of requests every half second: visitors come from before the stop to after it.
const SHORTEST: u64 = 250;
const STEP: u64 = 35;
const STEPS: usize = 25;

/// What came of it.
#[derive(Debug, Default)]
pub struct Races {
    /// How many requests were answered by their site.
    pub answered: usize,
    /// How many of these another worker answered than the one before.
    pub woken: usize,
    /// What came instead of a page.
    pub failures: Vec<String>,
}

/// Lets so many sites sleep and wake until they have done so that often together.
pub async fn race_the_stop(house: &House, sites: usize, cycles: usize) -> Races {
    let woken = Arc::new(AtomicUsize::new(0));
    let mut visitors = JoinSet::new();
    let idle = format!("\n[idle]\nstop_after = \"{STOP_AFTER}\"\n");
    let config = house.tiny_vars("") + &idle;
    insert_many(house, "racer", sites, "tiny", &config).await;
    for number in 1..=sites {
        let host = format!("racer-{number}.example");
        house.page(&host).await;
        visitors.spawn(visit(house.client, host, Arc::clone(&woken), cycles));
    }
    let mut all = Races::default();
    for races in visitors.join_all().await {
        all.answered += races.answered;
        all.woken += races.woken;
        all.failures.extend(races.failures);
    }
    all
}

/// Asks again and again, each time after a longer pause, and then after the shortest again.
async fn visit(client: Client, host: String, woken: Arc<AtomicUsize>, cycles: usize) -> Races {
    let mut races = Races::default();
    let mut before = None;
    for pause in (0..STEPS as u64).cycle() {
        let answer = client.try_get(&host, "/").await;
        match answer {
            Ok(answer) if answer.status == StatusCode::OK => {
                races.answered += 1;
                let pid = answer.json()["pid"].clone();
                if before.is_some_and(|before: Value| before != pid) {
                    races.woken += 1;
                    woken.fetch_add(1, Ordering::Relaxed);
                }
                before = Some(pid);
            }
            Ok(answer) => races.failures.push(format!("{host}: {}", answer.status)),
            Err(failure) => races.failures.push(format!("{host}: {failure:?}")),
        }
        if woken.load(Ordering::Relaxed) >= cycles {
            break;
        }
        undisturbed(Duration::from_millis(SHORTEST + pause * STEP)).await;
    }
    races
}
