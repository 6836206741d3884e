//! The figures as markdown tables.

use std::fmt::Write as _;
use std::fs;

use super::contender::Role;
use super::effort::Effort;
use super::figures::{Figure, Series, Spread};
use crate::shell;

const NONE: &str = "–";

/// Calls rarer than this per request say nothing about how a program works.
const WORTH_NAMING: f64 = 0.005;

/// All tables and what they were measured with.
pub(super) fn markdown(all: &[Series], effort: Effort) -> String {
    let mut text = conditions(effort, &["nginx", "haproxy", "wrk"]);
    text.push_str("\n\n");
    text.push_str(&figures(all));
    text.push('\n');
    text.push_str(&ratios(all, "the better of nginx and HAProxy"));
    text.push('\n');
    text.push_str(&calls(all));
    text
}

/// Tables of hits out of caches.
pub(super) fn of_hits(all: &[Series], effort: Effort) -> String {
    let mut text = conditions(effort, &["nginx", "varnish", "wrk"]);
    text.push_str("\n\n");
    text.push_str(&figures(all));
    for reference in all.iter().filter(|series| series.role == Role::Reference) {
        let measured = all.iter().filter(|series| series.role == Role::Measured);
        let pair: Vec<_> = [reference].into_iter().chain(measured).cloned().collect();
        text.push('\n');
        text.push_str(&ratios(&pair, &reference.name));
    }
    text.push('\n');
    text.push_str(&calls(all));
    text
}

fn conditions(effort: Effort, packages: &[&str]) -> String {
    let versions = shell::output(
        shell::command("dpkg-query")
            .args(["-W", "-f", "${Package} ${source:Upstream-Version}, "])
            .args(packages),
    );
    format!(
        "{}{}, Linux {}; {} rounds of {} s each, {} connections; median (least–greatest).",
        versions.unwrap_or_default(),
        processor().unwrap_or_else(|| "unknown processor".to_owned()),
        fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim(),
        effort.times,
        effort.seconds,
        effort.connections,
    )
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

fn figures(all: &[Series]) -> String {
    let header = [
        "",
        "CPU µs/request",
        "of these in user space",
        "requests/s",
        "p50 µs",
        "p99 µs",
        "system calls/request",
        "core in use",
    ];
    let rows = all.iter().map(|series| {
        let cell = |figure, show: fn(f64) -> String| spread(series.spread(figure), show);
        vec![
            series.name.clone(),
            cell(Figure::Cpu, tenths),
            cell(Figure::User, tenths),
            cell(Figure::Rate, whole),
            cell(Figure::P50, whole),
            cell(Figure::P99, whole),
            series.calls().map_or(NONE.to_owned(), hundredths),
            cell(Figure::Busy, percent),
        ]
    });
    table(&header, rows)
}

/// What hits cost with more and more pages stored.
pub(super) fn of_stored(all: &[Series]) -> String {
    let header = [
        "stored pages, asked for by lot",
        "CPU µs/request",
        "of these in user space",
        "ratio",
    ];
    let rows = all.iter().map(|series| {
        vec![
            series.name.clone(),
            spread(series.spread(Figure::Cpu), tenths),
            spread(series.spread(Figure::User), tenths),
            spread(series.ratio(all, Figure::Cpu), hundredths),
        ]
    });
    table(&header, rows)
}

fn ratios(all: &[Series], to: &str) -> String {
    let title = format!("ratio to {to}");
    let header = [
        title.as_str(),
        "CPU",
        "requests/s",
        "p50",
        "p99",
        "system calls",
    ];
    let rows = all.iter().map(|series| {
        let cell = |figure| spread(series.ratio(all, figure), hundredths);
        vec![
            series.name.clone(),
            cell(Figure::Cpu),
            cell(Figure::Rate),
            cell(Figure::P50),
            cell(Figure::P99),
            series.calls_ratio(all).map_or(NONE.to_owned(), hundredths),
        ]
    });
    table(&header, rows)
}

fn calls(all: &[Series]) -> String {
    let rows = all.iter().map(|series| {
        let mut calls: Vec<_> = series.syscalls.iter().flatten().collect();
        calls.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let named = calls.iter().filter(|(_, calls)| **calls >= WORTH_NAMING);
        let named: Vec<_> = named
            .map(|(name, calls)| format!("{name} {calls:.2}"))
            .collect();
        let text = if named.is_empty() {
            NONE.to_owned()
        } else {
            named.join(", ")
        };
        vec![series.name.clone(), text]
    });
    table(&["", "system calls per request, by name"], rows)
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    let mut line = |cells: &[String]| {
        writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes everything");
    };
    line(&header.iter().map(ToString::to_string).collect::<Vec<_>>());
    line(&header.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    rows.for_each(|row| line(&row));
    text
}

fn spread(spread: Option<Spread>, show: fn(f64) -> String) -> String {
    let Some(spread) = spread else {
        return NONE.to_owned();
    };
    let [median, least, greatest] = [spread.median, spread.least, spread.greatest].map(show);
    format!("{median} ({least}–{greatest})")
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn hundredths(value: f64) -> String {
    format!("{value:.2}")
}

fn percent(value: f64) -> String {
    format!("{:.0} %", value * 100.0)
}

/// With a comma between thousands.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        let check = |value, expected| assert_eq!(whole(value), expected);
        check(7.0, "7");
        check(999.6, "1,000");
        check(68_212.0, "68,212");
        check(1_234_567.0, "1,234,567");
    }

    #[test]
    fn a_row_shows_the_median_before_the_spread() {
        let values = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!(spread(values, tenths), "2.0 (1.0–3.0)");
        assert_eq!(spread(None, tenths), NONE);
    }

    #[test]
    fn a_table_is_markdown() {
        let rows = [vec!["nginx".to_owned(), "1".to_owned()]].into_iter();
        let expected = "|  | CPU |\n| --- | --- |\n| nginx | 1 |\n";
        assert_eq!(table(&["", "CPU"], rows), expected);
    }
}
