//! `emperor status pool.NAME`: a worker, and the sites that share it; and the pools of `emperor status`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use wire::control::{InstanceDocument, PoolDocument, PoolSiteDocument};

use super::detail::{Life, fact, last_exit, next_try};
use super::overview::Rank;
use crate::cli::text::{Cell, Table, Tone, bytes, printable, put_line, since};

/// Sites of a pool that are named before they are only counted; `--json` has all of them.
const NAMED: usize = 50;

/// The text; `lines` are the last ones its worker wrote.
pub(super) fn render(pool: &PoolDocument, lines: &str, now: Timestamp) -> String {
    let (typed, tone) = (typed(pool), rank(pool).tone());
    let mut text = format!(
        "{}  {}\n",
        Tone::Heading.paint(&typed),
        tone.paint(&pool.state)
    );
    for line in pool.detail.lines() {
        put_line!(text, "  {}", tone.paint(&printable(line)));
    }
    let mut line = |name: &str, words: &str| fact(&mut text, name, words);
    line("sites", &summary(&pool.sites));
    line("revision", pool.revision.as_deref().unwrap_or_default());
    line("restarts", &pool.restarts.to_string());
    line("next try", &next_try(pool.next_try_at.as_deref(), now));
    line("last exit", &last_exit(pool.exit.as_ref(), now));
    let shown = Life {
        instances: &pool.instances,
        last_start: pool.last_start.as_ref(),
        events: &pool.events,
        lines,
        typed: &typed,
    };
    text.push_str(&sites(&pool.sites));
    text + &shown.render(now)
}

/// What it is called on the command line.
fn typed(pool: &PoolDocument) -> String {
    format!("pool.{}", printable(&pool.name))
}

/// `12 inside, 1 coming`
fn summary(sites: &[PoolSiteDocument]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for site in sites {
        *counts.entry(&site.place).or_default() += 1;
    }
    let counts = ["inside", "coming", "leaving"].map(|place| {
        let count = counts.get(place)?;
        Some(format!("{count} {place}"))
    });
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    counts.join(", ")
}

fn sites(sites: &[PoolSiteDocument]) -> String {
    if sites.is_empty() {
        return String::new();
    }
    let mut table = Table::new(4, &["ID", "SITE", "STATE", "PLACE"]);
    for site in sites.iter().take(NAMED) {
        table.row(
            vec![
                Cell::number(&site.id),
                Cell::toned(&site.slug, Tone::Heading),
                Cell::toned(&site.state, Rank::of_state(&site.state, "").tone()),
                Cell::new(&site.place),
            ],
            Vec::new(),
        );
    }
    let mut text = format!("\n  Sites\n{}", table.render());
    let more = sites.len().saturating_sub(NAMED);
    if more > 0 {
        put_line!(text, "    and {more} more; --json has all of them");
    }
    text
}

/// Every pool, in a line each; nothing, where there is none.
pub(super) fn table(pools: &[PoolDocument], now: Timestamp) -> String {
    if pools.is_empty() {
        return String::new();
    }
    let headings = [
        "", "POOL", "STATE", "SITES", "PID", "UP", "MEMORY", "REQUESTS", "RESTARTS",
    ];
    let mut table = Table::new(0, &headings);
    for pool in pools {
        let tone = rank(pool).tone();
        let causes = pool.detail.lines().take(1);
        let causes = causes.map(|line| format!("     {}", tone.paint(&printable(line))));
        table.row(cells(pool, now), causes.collect());
    }
    format!("\n{}", table.render())
}

fn cells(pool: &PoolDocument, now: Timestamp) -> Vec<Cell> {
    let (rank, tone) = (rank(pool), rank(pool).tone());
    let running = pool.instances.iter().filter(|one| one.pid.is_some());
    let sum = |of: fn(&InstanceDocument) -> u64| running.clone().map(of).sum::<u64>();
    let pids = running.clone().filter_map(|one| one.pid);
    let pids: Vec<_> = pids.map(|pid| pid.to_string()).collect();
    let started = running.clone().filter_map(|one| one.started_at.as_deref());
    vec![
        Cell::toned(rank.mark(), tone),
        Cell::toned(typed(pool), Tone::Heading),
        Cell::toned(&pool.state, tone),
        Cell::number(&pool.site_count),
        Cell::new(pids.join(" ")),
        Cell::new(since(started.min(), now)),
        Cell::number(&bytes(sum(|one| one.rss_bytes))),
        Cell::number(&sum(|one| one.requests)),
        Cell::number(&pool.restarts),
    ]
}

fn rank(pool: &PoolDocument) -> Rank {
    Rank::of_state(&pool.state, &pool.detail)
}
