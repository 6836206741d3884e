//! `emperor status`: the daemon, the database, the router, then every site, problems first. A
//! document and the time become a text.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use site_model::SiteState;
use wire::control::{
    DatabaseStatus, EmperorStatus, InstanceDocument, RolloutStatus, RouterStatus, SiteDocument,
    StartsStatus, StatusDocument,
};

use super::purges;
use crate::cli::cache::percent;
use crate::cli::text::{Cell, Table, Tone, bytes, counted, printable, put, put_line, since};

/// Lines of a cause that are shown beneath a site; `emperor status SITE` shows all.
const CAUSE_LINES: usize = 8;
/// Ids of held sites that are named before they are only counted.
const NAMED: usize = 10;

/// The text.
pub(super) fn render(status: &StatusDocument, now: Timestamp) -> String {
    let mut text = header(status, now);
    text.push('\n');
    text.push_str(&summary(status));
    text.push('\n');
    if !status.sites.is_empty() {
        text.push('\n');
        text.push_str(&sites(&status.sites, now));
    }
    text
}

/// What is said about daemon, database and router.
fn header(status: &StatusDocument, now: Timestamp) -> String {
    let mut text = String::new();
    let mut line = |name: &str, words: String| {
        put_line!(
            text,
            "{}{words}",
            Tone::Heading.paint(&format!("{name:<10}"))
        );
    };
    line("emperor", emperor(&status.emperor, now));
    line("database", database(&status.emperor.database, now));
    line("router", router(&status.router));
    if let Some(cache) = status
        .router
        .cache
        .as_ref()
        .filter(|cache| purges::matters(cache))
    {
        line("cache", purges::cache(cache));
    }
    for words in status.emperor.purges.iter().flat_map(purges::lines) {
        line("purges", words);
    }
    if let Some(queue) = &status.emperor.starts {
        line("starts", starts(queue));
    }
    if let Some(progress) = &status.emperor.rollout {
        line("rollout", rollout(progress));
    }
    if !status.emperor.removals_held.is_empty() {
        line("removals", removals(&status.emperor.removals_held));
    }
    text
}

fn emperor(emperor: &EmperorStatus, now: Timestamp) -> String {
    format!(
        "{} on {}, pid {}, up {}",
        emperor.version,
        printable(&emperor.node),
        emperor.pid,
        since(Some(&emperor.started_at), now)
    )
}

fn database(database: &DatabaseStatus, now: Timestamp) -> String {
    let tone = match database.state.as_str() {
        "connected" if database.detail.is_empty() => Tone::Good,
        "connected" | "connecting" => Tone::Attention,
        _ => Tone::Bad,
    };
    let mut words = format!("{} {}", tone.paint(&database.state), database.target);
    let ago = since(database.last_read_at.as_deref(), now);
    match (database.rows.as_str(), ago.as_str()) {
        ("snapshot", ago) => {
            put!(
                words,
                "; the sites are those of the snapshot read {ago} ago"
            );
        }
        ("nothing", _) => words.push_str("; its rows are not known yet"),
        (_, "") => {}
        (_, ago) => {
            put!(words, ", read {ago} ago");
        }
    }
    push_cause(&mut words, &database.detail, tone);
    words
}

fn router(router: &RouterStatus) -> String {
    let tone = match router.state.as_str() {
        "running" => Tone::Good,
        "starting" => Tone::Attention,
        _ => Tone::Bad,
    };
    let mut words = tone.paint(&router.state);
    if let Some(pid) = router.pid {
        put!(words, ", pid {pid}");
    }
    if !router.listen.is_empty() {
        put!(words, ", on {}", router.listen.join(", "));
    }
    if router.state == "running" {
        put!(
            words,
            "; {}, {} in flight, {} answered",
            counted(
                usize::try_from(router.connections).unwrap_or(usize::MAX),
                "connection"
            ),
            router.in_flight,
            router.requests
        );
    }
    push_cause(&mut words, &router.detail, tone);
    words
}

/// `9961 waiting; the last 57 failed: one every 5s until one gets ready, ...`
fn starts(queue: &StartsStatus) -> String {
    let mut words = format!("{} waiting", queue.waiting);
    if let Some(interval) = queue.interval_ms {
        let held_back = format!(
            "; the last {} failed: one every {:?} until one gets ready, the newest first, those with visitors at once",
            queue.failures,
            Duration::from_millis(interval)
        );
        put!(words, "{}", Tone::Attention.paint(&held_back));
    }
    words
}

/// `790 of 5000 sites as wanted; 2 being replaced, 4208 waiting (rollout.max_replacing is 2)`
fn rollout(progress: &RolloutStatus) -> String {
    let mut words = format!(
        "{} of {} as wanted; {} being replaced",
        progress.as_wanted,
        counted(progress.sites, "site"),
        progress.replacing
    );
    if progress.waiting > 0 {
        let max = progress.max_replacing;
        put!(
            words,
            ", {} waiting (rollout.max_replacing is {max})",
            progress.waiting
        );
    }
    push_cause(&mut words, &progress.detail, Tone::Attention);
    words
}

fn push_cause(words: &mut String, detail: &str, tone: Tone) {
    for line in detail.lines() {
        put!(words, "\n{:10}{}", "", tone.paint(&printable(line)));
    }
}

fn removals(held: &[i64]) -> String {
    let named: Vec<_> = held.iter().take(NAMED).map(ToString::to_string).collect();
    let more = held.len().saturating_sub(NAMED);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    let gone = format!(
        "{} gone from the database and kept: {}{more}",
        counted(held.len(), "site"),
        named.join(", ")
    );
    format!(
        "{}\n{:10}`emperor confirm-removals` stops them",
        Tone::Bad.paint(&gone),
        ""
    )
}

/// `5 sites: 1 failed, 4 ready`
fn summary(status: &StatusDocument) -> String {
    let sites = &status.sites;
    if sites.is_empty() && status.emperor.database.rows == "nothing" {
        return "No site is known before the database answers.".to_owned();
    }
    if sites.is_empty() {
        return "No sites yet. Add one: emperor site add NAME --template TEMPLATE".to_owned();
    }
    let mut counts = BTreeMap::<(Rank, &str), usize>::new();
    for site in sites {
        *counts.entry((Rank::of(site), words(site))).or_default() += 1;
    }
    let counts: Vec<_> = counts
        .into_iter()
        .map(|((rank, state), count)| rank.tone().paint(&format!("{count} {state}")))
        .collect();
    format!("{}: {}", counted(sites.len(), "site"), counts.join(", "))
}

/// The state, and that it is not the whole story where it isn't.
fn words(site: &SiteDocument) -> &str {
    match site.state.as_str() {
        "ready" if !problem(site).is_empty() => "ready with a problem",
        state => state,
    }
}

fn sites(sites: &[SiteDocument], now: Timestamp) -> String {
    let mut sorted: Vec<_> = sites.iter().collect();
    sorted.sort_by_key(|site| (Rank::of(site), site.id));
    let mut table = Table::new(
        0,
        &[
            "", "ID", "SITE", "STATE", "HOSTS", "PID", "UP", "MEMORY", "REQUESTS", "CACHED",
            "RESTARTS",
        ],
    );
    for site in sorted {
        let tone = Rank::of(site).tone();
        table.row(cells(site, tone, now), cause(site, tone));
    }
    table.render()
}

fn cells(site: &SiteDocument, tone: Tone, now: Timestamp) -> Vec<Cell> {
    let serving = site
        .instances
        .iter()
        .filter(|instance| instance.pid.is_some());
    let sum = |of: fn(&InstanceDocument) -> u64| serving.clone().map(of).sum::<u64>();
    let started = serving
        .clone()
        .filter_map(|i| i.started_at.as_deref())
        .min();
    let restarts = if site.restarts == 0 {
        String::new()
    } else {
        site.restarts.to_string()
    };
    let cached = site.cache.as_ref().and_then(percent);
    let requests = sum(|instance| instance.requests);
    vec![
        Cell::toned(Rank::of(site).mark(), tone),
        Cell::number(&site.id),
        Cell::toned(name(site), Tone::Heading),
        Cell::toned(&site.state, tone),
        Cell::new(hosts(site)),
        Cell::new(pids(site)),
        Cell::new(since(started, now)),
        Cell::number(&bytes(sum(|instance| instance.rss_bytes))),
        Cell::number(&if serving.clone().next().is_some() {
            requests.to_string()
        } else {
            String::new()
        }),
        Cell::number(&cached.unwrap_or_default()),
        Cell::number(&restarts),
    ]
}

/// The slug, or what stands for it where the row is gone.
pub(super) fn name(site: &SiteDocument) -> &str {
    if site.slug.is_empty() {
        "(removed)"
    } else {
        &site.slug
    }
}

fn hosts(site: &SiteDocument) -> String {
    match site.hosts.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

fn pids(site: &SiteDocument) -> String {
    let pids: Vec<_> = site.instances.iter().filter_map(|i| i.pid).collect();
    match pids.as_slice() {
        [] => String::new(),
        [pid] => pid.to_string(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

/// What its detail says besides the pool that it is in, which is as it should be.
fn problem(site: &SiteDocument) -> &str {
    let pool = site.pool.as_ref();
    match pool.map(|pool| format!("in pool {pool}")) {
        Some(inside) if inside == site.detail => "",
        Some(_) | None => &site.detail,
    }
}

fn cause(site: &SiteDocument, tone: Tone) -> Vec<String> {
    let tone = if tone == Tone::Good {
        Tone::Attention
    } else {
        tone
    };
    let problem = problem(site);
    let mut lines: Vec<_> = problem
        .lines()
        .take(CAUSE_LINES)
        .map(|line| format!("     {}", tone.paint(&printable(line))))
        .collect();
    if problem.lines().count() > CAUSE_LINES {
        let more = format!("     … emperor status {}", site.id);
        lines.push(Tone::Faint.paint(&more));
    }
    lines
}

/// How soon somebody has to look at a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// It doesn't serve and should.
    Broken,
    /// It is on its way, or serves and has something to say.
    Moving,
    /// It is as it should be.
    Fine,
    /// It is meant to be away.
    Away,
}

impl Rank {
    /// A state that this version doesn't know is looked at first.
    pub(super) fn of(site: &SiteDocument) -> Self {
        Self::of_state(&site.state, problem(site))
    }

    /// The same of whatever has a state.
    pub(super) fn of_state(state: &str, detail: &str) -> Self {
        let Ok(state) = state.parse::<SiteState>() else {
            return Self::Broken;
        };
        match state {
            SiteState::Failed | SiteState::Rejected | SiteState::BackingOff => Self::Broken,
            SiteState::Starting
            | SiteState::Reloading
            | SiteState::Waking
            | SiteState::Stopping => Self::Moving,
            SiteState::Ready if !detail.is_empty() => Self::Moving,
            SiteState::Ready | SiteState::Sleeping => Self::Fine,
            SiteState::Disabled => Self::Away,
        }
    }

    /// How it looks.
    pub(super) fn tone(self) -> Tone {
        match self {
            Self::Broken => Tone::Bad,
            Self::Moving => Tone::Attention,
            Self::Fine => Tone::Good,
            Self::Away => Tone::Faint,
        }
    }

    pub(super) fn mark(self) -> &'static str {
        match self {
            Self::Broken => "✗",
            Self::Moving => "…",
            Self::Fine => "●",
            Self::Away => "○",
        }
    }
}
