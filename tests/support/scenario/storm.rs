//! Many rows whose workers end at once, inserted by one statement, beside some that serve.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::pulse::Pulse;
use super::{all_ready, insert_many, steady_vars, traffic};
use crate::open_loop::Ledger;
use crate::wait::undisturbed;
use crate::{House, OpenLoop, PATIENCE, eventually};

/// How many serve meanwhile.
const NEIGHBOURS: usize = 5;
const PER_SECOND: u32 = 100;
/// All sites are looked at at most once in this time.
const LOOK: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug)]
pub struct Storm {
    /// Before.
    pub calm: Felt,
    /// While the rows come in and the first of them start, for as long again as all of them are looked at.
    pub arrival: Felt,
    /// Afterwards.
    pub storm: Felt,
    /// Starts that ended.
    pub ended: u64,
    /// Those among them that ended in the time of `storm`, which was so long.
    pub ended_meanwhile: (u64, Duration),
    /// The most instances that were seen on their way at one moment.
    pub most_at_once: usize,
    /// Restarts of those that serve.
    pub restarts_of_neighbours: u64,
}

/// What others felt for some time.
#[derive(Debug)]
pub struct Felt {
    /// What the neighbours' visitors met.
    pub visitors: Ledger,
    /// How long the emperor took to answer on its control socket.
    pub pulse: Vec<Duration>,
}

/// Lets it rage for a while. To be told of very many rows takes a core for a while, which disturbs by itself:
/// they are looked at so often.
pub async fn rage(house: &House, rows: usize, span: Duration, looks: u32) -> Storm {
    insert_many(house, "good", NEIGHBOURS, "steady", &steady_vars(house, "")).await;
    all_ready(house, NEIGHBOURS).await;
    let calm = Watch::begin(house);
    undisturbed(span).await;
    let calm = calm.end().await;
    let arrival = Watch::begin(house);
    insert_many(house, "bad", rows, "grumbler", "").await;
    let most_at_once = most_on_their_way(house, rows, looks).await;
    let arrival = arrival.end().await;
    let ended_before = ended(&house.emperor.status().await);
    let (storm, began) = (Watch::begin(house), Instant::now());
    undisturbed(span).await;
    let (storm, over) = (storm.end().await, began.elapsed());
    let status = house.emperor.status().await;
    Storm {
        calm,
        arrival,
        storm,
        ended: ended(&status),
        ended_meanwhile: (ended(&status) - ended_before, over),
        most_at_once,
        restarts_of_neighbours: of(&status, "good-").map(restarts).sum(),
    }
}

/// Over so many looks, from when all rows are known.
async fn most_on_their_way(house: &House, rows: usize, looks: u32) -> usize {
    known(house, &format!("bad-{rows}")).await;
    let mut most = 0;
    for _ in 0..looks {
        let looked = Instant::now();
        let status = house.emperor.status().await;
        most = most.max(starting(&status));
        undisturbed(LOOK.max(looked.elapsed())).await;
    }
    most
}

async fn known(house: &House, slug: &str) {
    eventually(&format!("{slug} to be known"), PATIENCE, async || {
        let outcome = house.emperor.run(&["status", slug]).await;
        let is_known = outcome.code == 0;
        is_known.then_some(()).ok_or_else(|| format!("{outcome:?}"))
    })
    .await;
}

/// Somebody watches what others feel.
struct Watch {
    pulse: Pulse,
    load: OpenLoop,
}

impl Watch {
    fn begin(house: &House) -> Self {
        let pulse = Pulse::feel(&house.emperor);
        let load = OpenLoop::start(traffic(house, "good", NEIGHBOURS, PER_SECOND));
        Self { pulse, load }
    }

    async fn end(self) -> Felt {
        Felt {
            pulse: self.pulse.stop(),
            visitors: self.load.stop().await,
        }
    }
}

fn ended(status: &Value) -> u64 {
    of(status, "bad-").map(restarts).sum()
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
