//! What supervision costs and how soon it acts, when things happen by the thousands.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that fails has nothing better to do than to panic, and it prints"
)]

use std::time::Duration;

use clap::{Parser, Subcommand};
use rustix::process::{Resource, getrlimit};
use support::open_loop::{Ledger, Verdict};
use support::processes::Memory;
use support::scenario::asleep::Costs;
use support::scenario::{asleep, at, cold, kills, router, sleep, storm, update};
use support::{House, Place};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Workers are killed, 20 sites beside each other
    Kills {
        #[arg(long, default_value_t = 1000)]
        kills: usize,
    },
    /// The router is killed while visitors come
    Router {
        #[arg(long, default_value_t = 20)]
        kills: usize,
    },
    /// The emperor starts with many rows, a visitor of each at the door
    Cold {
        #[arg(long, default_value_t = 500)]
        rows: usize,
    },
    /// Sites sleep and wake, with visitors around the moment of the stop
    Sleep {
        #[arg(long, default_value_t = 10_000)]
        cycles: usize,
    },
    /// Many rows whose workers end at once
    Storm {
        #[arg(long, default_value_t = 10_000)]
        rows: usize,
        /// Lines at the end of the configuration
        #[arg(long, default_value = "")]
        config: String,
    },
    /// Very many rows, nearly all asleep
    Asleep {
        #[arg(long, default_value_t = 100_000)]
        rows: usize,
        /// How many of them are edited, one after the other
        #[arg(long, default_value_t = 200)]
        edits: u32,
    },
    /// One UPDATE of many rows that serve
    Update {
        #[arg(long, default_value_t = 5000)]
        rows: usize,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    match Arguments::parse().what {
        What::Kills { kills } => measure_kills(kills).await,
        What::Router { kills } => measure_router(kills).await,
        What::Cold { rows } => measure_cold(rows).await,
        What::Sleep { cycles } => measure_sleep(cycles).await,
        What::Storm { rows, config } => measure_storm(rows, &config).await,
        What::Asleep { rows, edits } => measure_asleep(rows, edits).await,
        What::Update { rows } => measure_update(rows).await,
    }
}

async fn measure_kills(count: usize) {
    const SITES: usize = 20;
    let house = House::open_with(kills::CONFIG).await;
    let kills = kills::kill_workers(&house, SITES, count / SITES).await;
    println!(
        "{} workers killed; milliseconds from the signal",
        kills.back.len()
    );
    println!("{:<36}{:>9}{:>9}{:>9}", "until", "p50", "p99", "max");
    times("the emperor has noticed", &kills.noticed);
    times("another worker runs", &kills.back);
    figure("restarts counted", kills.restarts);
    figure("orphans", kills.orphans);
    figure("zombies", kills.zombies);
}

async fn measure_router(kills: usize) {
    let house = House::open_with("").await;
    let router = router::kill_routers(&house, kills).await;
    println!("the router killed {kills} times; milliseconds from the signal");
    println!("{:<36}{:>9}{:>9}{:>9}", "until", "p50", "p99", "max");
    times("a visitor who comes then is answered", &router.back);
    figure("connections refused", router.refused);
    println!("{:<36}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p99", "max");
    ledger("all visitors", &router.ledger);
}

async fn measure_cold(rows: usize) {
    let mut house = House::open_with(cold::CONFIG).await;
    let cold = cold::start_cold(&mut house, rows).await;
    println!("{rows} rows, nothing running; milliseconds from the emperor's start");
    figure("connections are accepted", milliseconds(cold.listening));
    figure("every visitor's request is in", milliseconds(cold.all_in));
    figure(
        "every visitor has its page",
        milliseconds(cold.all_answered),
    );
    figure("visitors who got something else", cold.failures.len());
}

async fn measure_sleep(cycles: usize) {
    const SITES: usize = 100;
    let house = House::open_with("").await;
    let races = sleep::race_the_stop(&house, SITES, cycles).await;
    println!("{SITES} sites, each stopped after 300 ms without a request");
    figure("sleeping sites woken", races.woken);
    figure("requests answered", races.answered);
    figure("requests that got something else", races.failures.len());
    for failure in races.failures.iter().take(10) {
        println!("  {failure}");
    }
}

async fn measure_storm(rows: usize, config: &str) {
    let house = house_on_tmpfs(config).await;
    let storm = storm::rage(&house, rows, Duration::from_secs(40), 2).await;
    println!("{rows} rows whose workers end at once, beside five sites that serve");
    let (ended, over) = storm.ended_meanwhile;
    let rate = f64::from(u32::try_from(ended).unwrap()) / over.as_secs_f64();
    figure("starts that ended", storm.ended);
    figure("a second, once all rows are known", format!("{rate:.1}"));
    figure("restarts of the neighbours", storm.restarts_of_neighbours);
    println!("{:<36}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p99", "max");
    let felt = [&storm.calm, &storm.arrival, &storm.storm];
    for (when, felt) in ["before", "while rows come in", "afterwards"]
        .iter()
        .zip(felt)
    {
        ledger(&format!("neighbours {when}"), &felt.visitors);
        times(&format!("control socket {when}"), &felt.pulse);
    }
}

/// As on any machine, where `/run` is no disk.
async fn house_on_tmpfs(config: &str) -> House {
    let mut place = Place::new();
    assert!(place.disk("run", "2g"), "mounts take root");
    House::open_at(place, config).await
}

async fn measure_asleep(rows: usize, edits: u32) {
    let mut house = House::open_with(asleep::CONFIG).await;
    let asleep = asleep::let_sleep(&mut house, rows, edits).await;
    println!("{rows} rows asleep");
    figure("seconds until the last is routed", seconds(asleep.routed));
    println!("{:<36}{:>9}{:>9}{:>9}", "", "both", "emperor", "router");
    spent("CPU until then, milliseconds", asleep.routed_cpu);
    held("memory, MB (PSS)", asleep.memory, |memory| {
        memory.proportional
    });
    held("memory, MB (RSS)", asleep.memory, |memory| memory.resident);
    spent("CPU of one edit, milliseconds", asleep.edit_cpu);
    spent("CPU of an idle second, milliseconds", asleep.idle_cpu);
    println!("{:<36}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p99", "max");
    times("from UPDATE to route", &asleep.edits);
    figure("a sleeping site's page", milliseconds(asleep.woken));
}

fn spent(name: &str, costs: Costs<Duration>) {
    let Costs { emperor, router } = costs;
    let [both, emperor, router] = [emperor + router, emperor, router].map(milliseconds);
    println!("{name:<36}{both:>9}{emperor:>9}{router:>9}");
}

fn held(name: &str, costs: Costs<Memory>, bytes: impl Fn(Memory) -> u64) {
    let (emperor, router) = (bytes(costs.emperor), bytes(costs.router));
    let [both, emperor, router] = [emperor + router, emperor, router].map(|n| n / 1_000_000);
    println!("{name:<36}{both:>9}{emperor:>9}{router:>9}");
}

async fn measure_update(rows: usize) {
    if let Some(fit) = places().filter(|fit| *fit < rows) {
        println!("{rows} rows need more descriptors than an emperor may open here: {fit} instead");
        return Box::pin(measure_update(fit)).await;
    }
    let house = House::open_with("").await;
    let (calm, look) = (Duration::from_secs(20), Duration::from_secs(1));
    let update = update::update_all(&house, rows, calm, look).await;
    println!("one UPDATE of {rows} rows that serve");
    figure("seconds", format!("{:.1}", update.over.as_secs_f64()));
    figure("most on their way at once", update.most_at_once);
    figure("most processes above one a site", update.most_surplus);
    figure("most being replaced at once", update.most_replacing);
    figure("most waiting for their turn", update.most_waiting);
    println!("{:<36}{:>9}{:>9}{:>9}", "", "both", "emperor", "router");
    let proportional = |memory: Memory| memory.proportional;
    held(
        "memory before, MB (PSS)",
        update.memory_before,
        proportional,
    );
    held("memory, MB (PSS)", update.memory, proportional);
    println!("{:<36}{:>9}{:>9}{:>9}", "milliseconds", "p50", "p99", "max");
    ledger("visitors before", &update.calm);
    ledger("visitors meanwhile", &update.meanwhile);
}

/// How many rows can run here while some of them are replaced: an emperor holds four descriptors of an
/// instance, and keeps some for everything else.
fn places() -> Option<usize> {
    let descriptors = getrlimit(Resource::Nofile).maximum?;
    usize::try_from(descriptors.saturating_sub(400) / 4).ok()
}

fn ledger(name: &str, ledger: &Ledger) {
    let shown = [500, 990, 1000].map(|permille| milliseconds(ledger.latency(permille)));
    let [p50, p99, max] = shown;
    println!("{name:<36}{p50:>9}{p99:>9}{max:>9}");
    for (verdict, count) in ledger.verdicts() {
        if verdict != Verdict::Page {
            figure(&format!("  {verdict}"), count);
        }
    }
}

fn times(name: &str, times: &[Duration]) {
    let [p50, p99, max] = [500, 990, 1000].map(|permille| milliseconds(at(permille, times)));
    println!("{name:<36}{p50:>9}{p99:>9}{max:>9}");
}

fn figure(name: &str, value: impl std::fmt::Display) {
    println!("{name:<36}{value:>9}");
}

fn seconds(span: Duration) -> String {
    format!("{:.2}", span.as_secs_f64())
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1}", span.as_secs_f64() * 1000.0)
}
