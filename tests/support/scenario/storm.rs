//! Many rows whose workers end at once, inserted by one statement, beside some that serve.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::pulse::Pulse;
use super::{BETWEEN_LOOKS, all_ready, insert_many, steady_vars};
use crate::open_loop::Ledger;
use crate::wait::undisturbed;
use crate::{House, OpenLoop, Traffic};

/// How many serve meanwhile.
const NEIGHBOURS: usize = 5;
const PER_SECOND: u32 = 100;
/// How often it is looked at, at most.
const LOOK: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug)]
pub struct Storm {
    /// What the neighbours' visitors met before.
    pub calm: Ledger,
    /// What they met meanwhile.
    pub storm: Ledger,
    /// How long the emperor took to answer on its control socket before.
    pub calm_pulse: Vec<Duration>,
    /// How long it took meanwhile.
    pub storm_pulse: Vec<Duration>,
    /// Starts that ended.
    pub ended: u64,
    /// Over which time.
    pub over: Duration,
    /// The most instances that were seen on their way at one moment.
    pub most_at_once: usize,
    /// Restarts of those that serve.
    pub restarts_of_neighbours: u64,
}

/// Lets it rage for a while.
pub async fn rage(house: &House, rows: usize, span: Duration) -> Storm {
    insert_many(house, "good", NEIGHBOURS, "steady", &steady_vars(house, "")).await;
    all_ready(house, NEIGHBOURS).await;
    let (pulse, load) = watch(house);
    undisturbed(span).await;
    let (calm_pulse, calm) = (pulse.stop(), load.stop().await);
    let (pulse, load) = watch(house);
    let began = Instant::now();
    insert_many(house, "bad", rows, "grumbler", "").await;
    let (mut most_at_once, mut status) = (0, Value::Null);
    let mut took = Duration::ZERO;
    while began.elapsed() < span {
        undisturbed(LOOK.max(took * BETWEEN_LOOKS)).await;
        let looked = Instant::now();
        status = house.emperor.status().await;
        most_at_once = most_at_once.max(starting(&status));
        took = looked.elapsed();
    }
    let over = began.elapsed();
    let (storm_pulse, storm) = (pulse.stop(), load.stop().await);
    Storm {
        calm,
        storm,
        calm_pulse,
        storm_pulse,
        ended: of(&status, "bad-").map(restarts).sum(),
        over,
        most_at_once,
        restarts_of_neighbours: of(&status, "good-").map(restarts).sum(),
    }
}

fn watch(house: &House) -> (Pulse, OpenLoop) {
    let pulse = Pulse::feel(&house.emperor);
    let load = OpenLoop::start(Traffic {
        port: house.port,
        slugs: (1..=NEIGHBOURS)
            .map(|number| format!("good-{number}"))
            .collect(),
        per_second: PER_SECOND,
        patience: Duration::from_secs(15),
    });
    (pulse, load)
}

/// Instances that are being spawned or probed, or that the router doesn't know yet.
pub(super) fn starting(status: &Value) -> usize {
    let sites = status["sites"].as_array().unwrap().iter();
    let instances = sites.flat_map(|site| site["instances"].as_array().unwrap());
    let starting = instances.filter(|instance| instance["state"] == "starting");
    starting.count()
}

fn of<'a>(status: &'a Value, prefix: &str) -> impl Iterator<Item = &'a Value> {
    let sites = status["sites"].as_array().unwrap().iter();
    sites.filter(move |site| site["slug"].as_str().unwrap().starts_with(prefix))
}

fn restarts(site: &Value) -> u64 {
    site["restarts"].as_u64().unwrap()
}
