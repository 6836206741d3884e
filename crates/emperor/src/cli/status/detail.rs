//! `emperor status SITE`: everything about one site, its last lines among it.

use std::time::Duration;

use jiff::Timestamp;
use vassal_core::units::Humane;
use wire::control::{
    EventDocument, ExitDocument, InstanceDocument, SiteCacheDocument, SiteDocument, StartDocument,
};

use super::overview::{Rank, name};
use crate::cli::cache::ratio_words;
use crate::cli::text::{Cell, Table, Tone, bytes, duration, printable, put_line, since};

/// The text; `lines` are the last ones its workers wrote.
pub(super) fn render(site: &SiteDocument, lines: &str, now: Timestamp) -> String {
    let tone = Rank::of(site).tone();
    let mut text = format!(
        "{} (id {})  {}\n",
        Tone::Heading.paint(&printable(name(site))),
        site.id,
        tone.paint(&site.state)
    );
    for line in site.detail.lines() {
        put_line!(text, "  {}", tone.paint(&printable(line)));
    }
    let mut line = |name: &str, words: &str| fact(&mut text, name, words);
    line(
        "pool",
        &site.pool.as_deref().map(leading).unwrap_or_default(),
    );
    line("hosts", &site.hosts.join("\n             "));
    line("revision", site.revision.as_deref().unwrap_or_default());
    line("restarts", &site.restarts.to_string());
    line("cache", &site.cache.as_ref().map(cache).unwrap_or_default());
    line("next try", &next_try(site.next_try_at.as_deref(), now));
    line("last exit", &last_exit(site.exit.as_ref(), now));
    let typed = match site.slug.as_str() {
        "" => site.id.to_string(),
        slug => printable(slug),
    };
    let shown = Life {
        instances: &site.instances,
        last_start: site.last_start.as_ref(),
        events: &site.events,
        lines,
        typed: &typed,
    };
    text + &shown.render(now)
}

/// `small: emperor status pool.small shows its worker, and who shares it`
fn leading(pool: &str) -> String {
    let pool = printable(pool);
    format!("{pool}: emperor status pool.{pool} shows its worker, and who shares it")
}

/// A line of what is known; nothing, where that is nothing.
pub(super) fn fact(text: &mut String, name: &str, words: &str) {
    if !words.is_empty() {
        let name = Tone::Faint.paint(&format!("{name:<11}"));
        put_line!(text, "  {name}{words}");
    }
}

/// What processes did and do.
#[derive(Debug)]
pub(super) struct Life<'a> {
    pub(super) instances: &'a [InstanceDocument],
    pub(super) last_start: Option<&'a StartDocument>,
    pub(super) events: &'a [EventDocument],
    /// The last ones that its workers wrote.
    pub(super) lines: &'a str,
    /// What it is called on the command line.
    pub(super) typed: &'a str,
}

impl Life<'_> {
    pub(super) fn render(&self, now: Timestamp) -> String {
        let mut text = String::new();
        if !self.instances.is_empty() {
            text.push_str("\n  Instances\n");
            text.push_str(&instances(self.instances, now));
        }
        if let Some(start) = self.last_start {
            text.push_str(&last_start(start, now));
        }
        if !self.events.is_empty() {
            text.push_str("\n  What happened\n");
            text.push_str(&events(self.events, now));
        }
        if !self.lines.is_empty() {
            let typed = self.typed;
            put_line!(text, "\n  Last lines (emperor logs {typed} shows more)");
            for line in self.lines.lines() {
                put_line!(text, "    {}", printable(line));
            }
        }
        text
    }
}

/// `87% of 1200 requests answered from the cache; 30 pages in 1.2 MiB`
fn cache(counters: &SiteCacheDocument) -> String {
    let held = format!("{} in {}", counters.pages, bytes(counters.bytes));
    let held = if counters.pages == 0 {
        "none".to_owned()
    } else {
        held
    };
    format!("{}; pages stored: {held}", ratio_words(counters))
}

/// `in 12s (14:03:07Z)`; in the time of the logs.
pub(super) fn next_try(at: Option<&str>, now: Timestamp) -> String {
    let Some(at) = at.and_then(|at| at.parse::<Timestamp>().ok()) else {
        return String::new();
    };
    let wait = duration(at.as_second() - now.as_second());
    let clock = at.strftime("%H:%M:%SZ");
    format!("in {wait} ({clock})")
}

pub(super) fn last_exit(exit: Option<&ExitDocument>, now: Timestamp) -> String {
    let Some(exit) = exit else {
        return String::new();
    };
    let asked = if exit.asked {
        ", as it was told to"
    } else {
        ""
    };
    let ago = since(Some(&exit.at), now);
    let words = printable(&exit.reason);
    format!("incarnation {} {words}, {ago} ago{asked}", exit.incarnation)
}

fn last_start(start: &StartDocument, now: Timestamp) -> String {
    let ago = since(Some(&start.began_at), now);
    let how = match start.outcome.as_str() {
        "done" => "in service after".to_owned(),
        "going" => "goes on for".to_owned(),
        "broken-off" => "broken off after".to_owned(),
        outcome => format!("{outcome} after"),
    };
    let took = Humane(Duration::from_millis(start.ms));
    let mut text = format!(
        "\n  Last start: incarnation {}, began {ago} ago, {how} {took}\n",
        start.incarnation
    );
    let mut table = Table::new(4, &["STEP", "TOOK", "OUTCOME", "WHY"]);
    for step in &start.steps {
        let tone = match step.outcome.as_str() {
            "done" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Attention,
        };
        let failed = start
            .failed
            .as_ref()
            .filter(|failed| failed.step == step.step);
        let why = failed.map(|failed| failed.reason.lines().next().unwrap_or_default());
        table.row(
            vec![
                Cell::new(&step.step),
                Cell::number(&Humane(Duration::from_millis(step.ms))),
                Cell::toned(&step.outcome, tone),
                Cell::new(why.unwrap_or_default()),
            ],
            Vec::new(),
        );
    }
    text.push_str(&table.render());
    text
}

fn events(events: &[EventDocument], now: Timestamp) -> String {
    let mut table = Table::new(4, &["AGO", "STATE", "REASON", "INCARNATION", "WHY"]);
    for event in events {
        let line = event.detail.lines().next().unwrap_or_default();
        let incarnation = event.incarnation.map(|one| one.to_string());
        table.row(
            vec![
                Cell::new(since(Some(&event.at), now)),
                Cell::toned(&event.to, tone(&event.to)),
                Cell::new(&event.reason),
                Cell::number(&incarnation.unwrap_or_default()),
                Cell::new(line),
            ],
            Vec::new(),
        );
    }
    table.render()
}

fn instances(instances: &[InstanceDocument], now: Timestamp) -> String {
    let mut table = Table::new(
        4,
        &[
            "NUMBER",
            "STATE",
            "PID",
            "INCARNATION",
            "REVISION",
            "UP",
            "MEMORY",
            "REQUESTS",
            "IN FLIGHT",
            "SOCKET",
        ],
    );
    for instance in instances {
        let pid = instance.pid.map(|pid| pid.to_string());
        table.row(
            vec![
                Cell::number(&instance.number),
                Cell::toned(&instance.state, tone(&instance.state)),
                Cell::number(&pid.unwrap_or_default()),
                Cell::number(&instance.incarnation),
                Cell::new(instance.revision.chars().take(12).collect::<String>()),
                Cell::new(since(instance.started_at.as_deref(), now)),
                Cell::number(&bytes(instance.rss_bytes)),
                Cell::number(&instance.requests),
                Cell::number(&instance.in_flight),
                Cell::new(instance.socket.to_string_lossy()),
            ],
            Vec::new(),
        );
    }
    table.render()
}

fn tone(state: &str) -> Tone {
    if state == "ready" {
        Tone::Good
    } else {
        Tone::Attention
    }
}
