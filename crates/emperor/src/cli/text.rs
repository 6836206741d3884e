//! How things are written for people: aligned tables, durations, sizes, colours. Everything is
//! rendered with colours; the stream it goes to takes them out where they don't belong.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use vassal_core::units::Humane;

/// Appends to a `String`, which takes everything.
macro_rules! put {
    ($text:expr, $($words:tt)+) => {{
        use std::fmt::Write as _;
        let _: std::fmt::Result = write!($text, $($words)+);
    }};
}

/// The same with the end of a line.
macro_rules! put_line {
    ($text:expr, $($words:tt)+) => {{
        use std::fmt::Write as _;
        let _: std::fmt::Result = writeln!($text, $($words)+);
    }};
}

pub(crate) use {put, put_line};

/// What a text is, and so how it looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it is.
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// On its way, or to be looked at some time.
    Attention,
    /// To be looked at now.
    Bad,
    /// Of no interest.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Heading => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Attention => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }

    /// The text in this tone.
    pub(crate) fn paint(self, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            _ if text.is_empty() => String::new(),
            _ => {
                let style = self.style();
                format!("{style}{text}{style:#}")
            }
        }
    }
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

impl Cell {
    /// A plain text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self::toned(text, Tone::Plain)
    }

    /// A text in a tone.
    pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self {
            // A row's slug or a worker's words must not steer the terminal.
            text: printable(&text.into()),
            tone,
            side: Side::Left,
        }
    }

    /// A number, which stands on the right.
    pub(crate) fn number(number: &(impl ToString + ?Sized)) -> Self {
        Self {
            side: Side::Right,
            ..Self::new(number.to_string())
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows under headings, and lines that belong to the row above them.
#[derive(Debug)]
pub(crate) struct Table {
    indent: usize,
    rows: Vec<(Vec<Cell>, Vec<String>)>,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(indent: usize, headings: &[&str]) -> Self {
        let cells = headings.iter().map(|text| Cell::toned(*text, Tone::Faint));
        Self {
            indent,
            rows: vec![(cells.collect(), Vec::new())],
        }
    }

    /// Adds a row, with lines beneath it.
    pub(crate) fn row(&mut self, cells: Vec<Cell>, beneath: Vec<String>) {
        self.rows.push((cells, beneath));
    }

    /// The table's text. A column without a value is left out, its heading with it.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(|(cells, _)| cells.len()).max();
        let shown: Vec<_> = (0..columns.unwrap_or(0))
            .filter_map(|column| self.column(column))
            .collect();
        let mut text = String::new();
        for (cells, beneath) in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (column, width, side) in &shown {
                if let Some(cell) = cells.get(*column) {
                    push_cell(&mut line, cell, *width, *side);
                }
            }
            put_line!(text, "{}", line.trim_end());
            for line in beneath {
                put_line!(text, "{line}");
            }
        }
        text
    }

    /// Place, width and side of a column that has a value.
    fn column(&self, column: usize) -> Option<(usize, usize, Side)> {
        let cells = || self.rows.iter().filter_map(|(cells, _)| cells.get(column));
        let first = cells().skip(1).find(|cell| !cell.text.is_empty())?;
        let width = cells().map(Cell::width).max()?;
        Some((column, width, first.side))
    }
}

fn push_cell(line: &mut String, cell: &Cell, width: usize, side: Side) {
    let blanks = " ".repeat(width.saturating_sub(cell.width()));
    let painted = cell.tone.paint(&cell.text);
    match side {
        Side::Left => line.extend([&painted, &blanks, "  "]),
        Side::Right => line.extend([&blanks, &painted, "  "]),
    }
}

/// The text with everything that a terminal would obey made visible.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A duration in whole seconds; one that is negative, by clocks that differ, is none.
pub(crate) fn duration(seconds: i64) -> String {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    Humane(Duration::from_secs(seconds)).to_string()
}

/// How long ago something was; empty where its time isn't known.
pub(crate) fn since(time: Option<&str>, now: Timestamp) -> String {
    let time = time.and_then(|text| text.parse::<Timestamp>().ok());
    time.map(|time| duration(now.as_second() - time.as_second()))
        .unwrap_or_default()
}

/// `12 KiB`, `1.5 GiB`; empty for none.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes == 0 {
        return String::new();
    }
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut unit = 0;
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths >= 100 {
        return format!("{} {}", tenths / 10, UNITS[unit]);
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `1 site`, `3 sites`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// A word as a POSIX shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_makes_no_negative_age() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let check = |time, age: &str| assert_eq!(since(Some(time), now), age);
        check("2026-01-01T00:00:05Z", "0s");
        check("2025-12-31T23:58:59Z", "1m 1s");
    }

    #[test]
    fn sizes_are_short() {
        let check = |size, text: &str| assert_eq!(bytes(size), text);
        check(0, "");
        check(512, "0.5 KiB");
        check(20 << 20, "20 MiB");
        check(3 << 29, "1.5 GiB");
        check(3 << 50, "3072 TiB");
    }

    #[test]
    fn columns_are_aligned_and_empty_ones_left_out() {
        let mut table = Table::new(2, &["ID", "SLUG", "PID"]);
        table.row(
            vec![Cell::number(&1), Cell::toned("a", Tone::Bad), Cell::new("")],
            vec![],
        );
        table.row(
            vec![Cell::number(&10), Cell::new("long"), Cell::new("")],
            vec!["      why".to_owned()],
        );
        let plain = anstream::adapter::strip_str(&table.render()).to_string();
        assert_eq!(plain, "  ID  SLUG\n   1  a\n  10  long\n      why\n");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{9b}"), "a\\u{1b}[31mb\\u{9b}");
    }
}
