//! `cargo xtask bench cache`: what a page out of the cache costs, beside nginx's and Varnish's, whether a
//! purge holds up anybody, and whether many stored pages make a hit dearer.
//!
//! What the cache costs by itself, with up to a million pages, is measured by
//! `cargo run --release -p page-cache --example overhead`.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::backend::TAG;
use super::client::Client;
use super::contender::{Contender, Plan};
use super::error::{RouterBenchError, file};
use super::figures::Series;
use super::process::pin_this_thread;
use super::stage::Stage;
use super::{document, emperor, flat, report};
use crate::progress::say;
use crate::provision::{self, Need};
use crate::shell;
use crate::workspace::{Profile, Workspace};

const DOCUMENT: &str = "docs/PERFORMANCE.md";
const SECTION: &str = "bench cache";
/// How many pages a purge names, where it names many.
const PAGES: u32 = 100_000;
/// How many answers are looked at after each purge.
const LOOKED_AT: u32 = 2_000;

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many rounds each contender has
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a round is
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How many kept-alive connections the load generator has
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Write the figures into docs/PERFORMANCE.md
    #[arg(long)]
    write: bool,
}

/// What became of one purge.
struct Purged {
    what: &'static str,
    entries: u32,
    took: Duration,
    /// The longest that anybody else waited for a page meanwhile.
    longest: Duration,
}

/// Measures, prints the tables and, if asked to, writes them down.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), RouterBenchError> {
    provision::for_measurements(&[Need::Nginx, Need::Varnish, Need::Wrk, Need::Strace])?;
    say("Building an optimised fastrouter");
    shell::run(
        workspace
            .cargo("build")
            .args(["--release", "-p", "fastrouter"]),
    )?;
    let fastrouter = workspace.programs(Profile::Release).join("fastrouter");
    let stage = Stage::of_kept_pages()?;
    let full = Plan::FastrouterCache(fastrouter);
    let plans = [Plan::NginxCache, Plan::Varnish, full.clone()];
    let mut contenders = plans
        .iter()
        .map(|plan| Contender::start(plan, &stage))
        .collect::<Result<Vec<_>, _>>()?;
    let effort = super::Effort {
        times: arguments.rounds,
        seconds: arguments.seconds,
        connections: arguments.connections,
    };
    let series = super::measure(&stage, &contenders, effort)?;
    // What this program asks from here on must not take time from the router.
    pin_this_thread(stage.load_core).map_err(file(Path::new("/proc/self")))?;
    let purges = match contenders.last_mut() {
        Some(router) => purges(router).map_err(file(Path::new("127.0.0.1")))?,
        None => Vec::new(),
    };
    drop(contenders);
    let stored = flat::measure(&stage, &full, effort)?;
    let text = text(&series, &purges, &stored, effort);
    let printed = io::stdout().write_all(text.as_bytes());
    printed.map_err(file(Path::new("/dev/stdout")))?;
    if arguments.write {
        document::replace_section(&workspace.path(DOCUMENT), SECTION, &text)?;
    }
    Ok(())
}

fn text(series: &[Series], purges: &[Purged], stored: &[Series], effort: super::Effort) -> String {
    let mut text = report::of_hits(series, effort);
    text.push_str(
        "\n| purge | pages | until it is in force | longest answer to others meanwhile |\n",
    );
    text.push_str("|---|---|---|---|\n");
    for purge in purges {
        let Purged {
            what,
            entries,
            took,
            longest,
        } = purge;
        let (took, longest) = (took.as_micros(), longest.as_micros());
        let row = writeln!(text, "| {what} | {entries} | {took} µs | {longest} µs |");
        row.expect("a String takes everything");
    }
    text.push('\n');
    text.push_str(&report::of_stored(stored));
    text
}

/// Purges while somebody asks for a page of another path.
fn purges(router: &mut Contender) -> io::Result<Vec<Purged>> {
    let address = router.address();
    let link = router.link().ok_or_else(|| io::Error::other("no link"))?;
    let all = [
        ("none", 0, None),
        ("path", 1, Some(json!({"path": "/many/7"}))),
        ("prefix", PAGES, Some(json!({"prefix": "/many/"}))),
        ("tag", PAGES, Some(json!({"tag": TAG}))),
        ("site", PAGES, Some(json!("site"))),
    ];
    let mut purges = Vec::new();
    for (sequence, (what, entries, purge)) in (1..).zip(all) {
        say(&format!("Purging: {what}"));
        fill(address)?;
        let (took, longest) = meanwhile(address, || match &purge {
            Some(purge) => emperor::purge(link, sequence, purge),
            None => Ok(Duration::ZERO),
        })?;
        if let Some(purge) = &purge {
            is_forgotten(address, purge)?;
        }
        purges.push(Purged {
            what,
            entries,
            took,
            longest,
        });
    }
    Ok(purges)
}

fn fill(address: SocketAddr) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    for number in 0..PAGES {
        client.ask(&format!("/many/{number}"))?;
    }
    Ok(())
}

/// Does something, and returns how long the longest answer took from then on.
fn meanwhile(
    address: SocketAddr,
    work: impl FnOnce() -> io::Result<Duration>,
) -> io::Result<(Duration, Duration)> {
    let begun = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut client = Client::connect(address)?;
            client.ask("/another")?;
            begun.store(true, Ordering::Release);
            let mut longest = Duration::ZERO;
            for _ in 0..LOOKED_AT {
                let since = Instant::now();
                client.ask("/another")?;
                longest = longest.max(since.elapsed());
            }
            io::Result::Ok(longest)
        });
        while !begun.load(Ordering::Acquire) && !asking.is_finished() {
            std::thread::yield_now();
        }
        let took = work()?;
        let longest = asking
            .join()
            .map_err(|_| io::Error::other("nobody asked"))??;
        Ok((took, longest))
    })
}

/// Looks that a purge was more than words.
fn is_forgotten(address: SocketAddr, purge: &Value) -> io::Result<()> {
    let head = Client::connect(address)?.ask("/many/7")?;
    if head.contains("fwd=uri-miss") {
        return Ok(());
    }
    Err(io::Error::other(format!("after {purge} it says {head:?}")))
}
