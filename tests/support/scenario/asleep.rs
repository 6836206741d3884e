//! Very many rows, nearly all asleep: how soon an emperor that starts has them routed, what they cost
//! in memory, and what one edit among them costs.

use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::processes::{Memory, Process};
use crate::wait::{eventually, undisturbed};
use crate::{House, PATIENCE};

/// How long many rows may take: on two cores, unoptimised, beside other tests.
const MANY: Duration = Duration::from_mins(10);
/// Between two edits: each is one by itself, as people make them.
const BETWEEN_EDITS: Duration = Duration::from_millis(50);
/// What is written down a little after a change is part of what it costs.
const SETTLE: Duration = Duration::from_secs(3);

/// What came of it.
#[derive(Debug)]
pub struct Asleep {
    /// From the start of the emperor's process until a request for the last row got to it.
    pub routed: Duration,
    /// Processor time of emperor and router until then.
    pub routed_cpu: Costs<Duration>,
    /// From a request for a sleeping site to its page.
    pub woken: Duration,
    /// What both hold when everything is written down.
    pub memory: Costs<Memory>,
    /// Processor time of one edit, the writing of it included.
    pub edit_cpu: Costs<Duration>,
    /// From an UPDATE until its host is routed.
    pub edits: Vec<Duration>,
    /// Processor time of one second without requests and edits.
    pub idle_cpu: Costs<Duration>,
}

/// Of the emperor, and of the router.
#[derive(Debug, Clone, Copy)]
pub struct Costs<T> {
    /// Of the emperor.
    pub emperor: T,
    /// Of the router.
    pub router: T,
}

/// Sites that sleep, and answer health checkers as they do: so a request shows that it gets to its
/// site, and wakes nobody.
pub const CONFIG: &str =
    "[vassal.idle]\nstop_after = \"1h\"\nanswer_without_waking = [\"/healthz\"]";

/// Starts the emperor with so many rows, and edits so many of them. The house must have been opened
/// with [`CONFIG`].
pub async fn let_sleep(house: &mut House, rows: usize, edits: u32) -> Asleep {
    assert_eq!(house.emperor.stop(), 0);
    insert(house, rows).await;
    let began = Instant::now();
    house.emperor.launch();
    routed(house, &format!("asleep-{rows}.example")).await;
    let routed = began.elapsed();
    let processes = processes(house);
    let routed_cpu = processes.each(Process::cpu_time);
    all_told(house, rows).await;
    undisturbed(SETTLE).await;
    let memory = processes.each(Process::memory);
    let idle_cpu = idle(&processes).await;
    let edit_cpu = edit_cpu(house, &processes, rows, edits).await;
    let times = edit_times(house, rows).await;
    let began = Instant::now();
    house.page("asleep-1.example").await;
    Asleep {
        routed,
        routed_cpu,
        woken: began.elapsed(),
        memory,
        edit_cpu,
        edits: times,
        idle_cpu,
    }
}

/// No two rows are alike in what they set, as no two sites are.
async fn insert(house: &House, rows: usize) {
    let worker = house.place.tiny_worker();
    let statement = format!(
        "INSERT INTO emperor.sites (slug, domain, template, extra_config) \
         SELECT 'asleep-' || n, 'asleep-' || n || '.example', 'tiny', \
         E'[vars]\\nprogram = \"' || $1 || E'\"\\nmarker = \"' || n || E'\"\\n' \
         FROM generate_series(1, {rows}) n"
    );
    house.sql(&statement, &[&worker.to_str().unwrap()]).await;
}

async fn routed(house: &House, host: &str) {
    eventually(&format!("a route to {host}"), MANY, async || {
        let answer = house.client.try_get(host, "/healthz").await;
        let status = answer.map_err(|failure| format!("{failure:?}"))?.status;
        (status == StatusCode::NO_CONTENT)
            .then_some(())
            .ok_or_else(|| status.to_string())
    })
    .await;
}

/// Waits until the database was told of every site.
async fn all_told(house: &House, rows: usize) {
    let client = house.postgres.client().await;
    let statement = "SELECT count(*) FROM emperor.site_status WHERE state = 'sleeping'";
    eventually("all statuses", MANY, async || {
        let told: i64 = client.query_one(statement, &[]).await.unwrap().get(0);
        (usize::try_from(told).unwrap() == rows)
            .then_some(())
            .ok_or_else(|| format!("{told} are told"))
    })
    .await;
}

async fn idle(processes: &Costs<Process>) -> Costs<Duration> {
    const SECONDS: u32 = 5;
    let before = processes.each(Process::cpu_time);
    undisturbed(Duration::from_secs(SECONDS.into())).await;
    let after = processes.each(Process::cpu_time);
    before.until(after).each(|time| time / SECONDS)
}

async fn edit_cpu(
    house: &House,
    processes: &Costs<Process>,
    rows: usize,
    edits: u32,
) -> Costs<Duration> {
    let client = house.postgres.client().await;
    let before = processes.each(Process::cpu_time);
    for edit in 1..=edits {
        let (slug, host) = edited(rows, edit, "edited");
        client.execute(MOVE, &[&slug, &host]).await.unwrap();
        undisturbed(BETWEEN_EDITS).await;
    }
    undisturbed(SETTLE).await;
    let spent = before.until(processes.each(Process::cpu_time));
    let (_, last) = edited(rows, edits, "edited");
    routed(house, &last).await;
    spent.each(|time| time / edits)
}

/// From the commit on, as a visitor sees it.
async fn edit_times(house: &House, rows: usize) -> Vec<Duration> {
    let client = house.postgres.client().await;
    let mut times = Vec::new();
    for edit in 1..=20 {
        let (slug, host) = edited(rows, edit, "again");
        let began = Instant::now();
        client.execute(MOVE, &[&slug, &host]).await.unwrap();
        while house.client.get(&host, "/healthz").await.status != StatusCode::NO_CONTENT {
            assert!(began.elapsed() < PATIENCE, "{host} is not routed");
        }
        times.push(began.elapsed());
    }
    times
}

/// A site gets another host: an edit that goes all the way.
const MOVE: &str = "UPDATE emperor.sites SET domain = $2 WHERE slug = $1";

/// Slug and new host of one edit, all over the rows; never the first one.
fn edited(rows: usize, edit: u32, word: &str) -> (String, String) {
    let edit = usize::try_from(edit).unwrap();
    let row = 2 + edit * 7919 % (rows - 1);
    (format!("asleep-{row}"), format!("{word}-{edit}.example"))
}

/// The emperor and its router.
pub(super) fn processes(house: &House) -> Costs<Process> {
    let emperor = house.emperor.process();
    let mut children = emperor.children().into_iter();
    let router = children.find(|child| child.name() == "fastrouter");
    Costs {
        emperor,
        router: router.unwrap(),
    }
}

impl<T: Copy> Costs<T> {
    pub(super) fn each<U>(&self, cost: impl Fn(T) -> U) -> Costs<U> {
        Costs {
            emperor: cost(self.emperor),
            router: cost(self.router),
        }
    }
}

impl Costs<Duration> {
    fn until(self, after: Self) -> Self {
        Self {
            emperor: after.emperor.checked_sub(self.emperor).unwrap(),
            router: after.router.checked_sub(self.router).unwrap(),
        }
    }
}
