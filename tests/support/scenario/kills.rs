//! Workers are killed, again and again: when that is noticed, when there is another one, and what is
//! left over.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use nix::sys::signal::Signal;

use super::{all_ready, insert_many};
use crate::processes::Process;
use crate::wait::eventually;
use crate::{House, PATIENCE};

/// What came of it.
#[derive(Debug)]
pub struct Kills {
    /// From the signal until the emperor said that the worker is gone.
    pub noticed: Vec<Duration>,
    /// From the signal until another worker ran.
    pub back: Vec<Duration>,
    /// How many restarts the emperor counted.
    pub restarts: u64,
    /// Processes of the house beyond the emperor, the router and one worker for each site.
    pub orphans: usize,
    /// Ended children of the emperor that nobody has waited for.
    pub zombies: usize,
}

/// One kill, by the clock that processes share.
struct Kill {
    site: String,
    at: SystemTime,
    back: Duration,
}

/// What the sites need beyond the plain configuration: a pause that is soon over.
pub const CONFIG: &str = "[vassal.restart]\nbackoff_initial = \"20ms\"\nbackoff_max = \"50ms\"";

/// Kills the worker of each of `sites` new rows so many times.
pub async fn kill_workers(house: &House, sites: usize, times: usize) -> Kills {
    insert_many(house, "killed", sites, "tiny", &house.tiny_vars("")).await;
    all_ready(house, sites).await;
    let mut kills = Vec::new();
    for _ in 0..times {
        kills.extend(kill_all(house, sites).await);
    }
    let status = all_ready(house, sites).await;
    let restarts = status["sites"].as_array().unwrap().iter();
    let restarts = restarts.map(|site| site["restarts"].as_u64().unwrap());
    Kills {
        noticed: noticed(&house.emperor.log_text(), &kills),
        back: kills.iter().map(|kill| kill.back).collect(),
        restarts: restarts.sum(),
        orphans: orphans(house, sites).await,
        zombies: zombies(house).await,
    }
}

/// All of them at once, so that they are also noticed and started again at once.
async fn kill_all(house: &House, sites: usize) -> Vec<Kill> {
    let hosts: Vec<_> = (1..=sites)
        .map(|number| format!("killed-{number}.example"))
        .collect();
    let mut killed = Vec::new();
    for host in &hosts {
        killed.push(house.page(host).await["pid"].clone());
    }
    let mut times = Vec::new();
    for pid in &killed {
        let pid = i32::try_from(pid.as_i64().unwrap()).unwrap();
        times.push(SystemTime::now());
        Process::new(pid).signal(Signal::SIGKILL);
    }
    let mut kills = Vec::new();
    for ((host, pid), at) in hosts.iter().zip(killed).zip(times) {
        let page = house.page_where(host, |page| page["pid"] != pid).await;
        let began = Duration::from_nanos(page["began_ns"].as_u64().unwrap());
        kills.push(Kill {
            site: page["site_id"].as_str().unwrap().to_owned(),
            at,
            back: (SystemTime::UNIX_EPOCH + began).duration_since(at).unwrap(),
        });
    }
    kills
}

/// The emperor logs each end with its time.
fn noticed(log: &str, kills: &[Kill]) -> Vec<Duration> {
    let mut ends: BTreeMap<String, Vec<SystemTime>> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains("to=backing-off")) {
        let time: Timestamp = line.split(' ').next().unwrap().parse().unwrap();
        let site = line.split_once(" site=").unwrap().1.split(' ').next();
        let ends = ends.entry(site.unwrap().to_owned()).or_default();
        ends.push(time.into());
    }
    let first_after = |kill: &Kill| {
        let mut ends = ends.get(&kill.site)?.iter();
        let end = ends.find(|end| **end >= kill.at)?;
        end.duration_since(kill.at).ok()
    };
    kills.iter().filter_map(first_after).collect()
}

async fn orphans(house: &House, sites: usize) -> usize {
    // The emperor and the router.
    let wanted = sites + 2;
    eventually("no orphan", PATIENCE, async || {
        let count = house.emperor.processes().len();
        (count <= wanted)
            .then_some(count.saturating_sub(wanted))
            .ok_or_else(|| format!("{count} processes for {sites} sites"))
    })
    .await
}

async fn zombies(house: &House) -> usize {
    eventually("no zombie", PATIENCE, async || {
        let children = house.emperor.process().children().into_iter();
        let count = children.filter(|child| !child.is_alive()).count();
        (count == 0)
            .then_some(count)
            .ok_or_else(|| format!("{count} children have ended"))
    })
    .await
}
