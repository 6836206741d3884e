//! `emperor status SITE`: everything about one site, its last lines among it.

use std::fmt::Write as _;

use jiff::Timestamp;
use wire::control::{EventDocument, InstanceDocument, SiteDocument};

use super::overview::{Rank, name};
use crate::cli::text::{Cell, Table, Tone, bytes, printable, since};

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
        let _ = writeln!(text, "  {}", tone.paint(&printable(line)));
    }
    let mut line = |name: &str, words: &str| {
        if !words.is_empty() {
            let _ = writeln!(
                text,
                "  {}{words}",
                Tone::Faint.paint(&format!("{name:<10}"))
            );
        }
    };
    line("hosts", &site.hosts.join("\n            "));
    line("revision", site.revision.as_deref().unwrap_or_default());
    line("restarts", &site.restarts.to_string());
    if !site.instances.is_empty() {
        text.push_str("\n  Instances\n");
        text.push_str(&instances(&site.instances, now));
    }
    if !site.events.is_empty() {
        text.push_str("\n  What happened\n");
        text.push_str(&events(&site.events, now));
    }
    if !lines.is_empty() {
        let typed = match site.slug.as_str() {
            "" => site.id.to_string(),
            slug => printable(slug),
        };
        let _ = writeln!(text, "\n  Last lines (emperor logs {typed} shows more)");
        for line in lines.lines() {
            let _ = writeln!(text, "    {}", printable(line));
        }
    }
    text
}

fn events(events: &[EventDocument], now: Timestamp) -> String {
    let mut table = Table::new(4, &["AGO", "STATE", "WHY"]);
    for event in events {
        let line = event.detail.lines().next().unwrap_or_default();
        table.row(
            vec![
                Cell::new(since(Some(&event.at), now)),
                Cell::toned(&event.state, tone(&event.state)),
                Cell::new(printable(line)),
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
