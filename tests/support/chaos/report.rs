//! What came of all faults: a table for people, and the broken requests one by one.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::json;

use super::{Course, Sentence, Trial};
use crate::open_loop::{Record, Verdict};

/// The columns, each as wide as its widest cell.
const HEAD: [&str; 9] = [
    "fault", "requests", "answers", "excused", "broken", "p99 ms", "worst ms", "over s", "may fail",
];

impl Trial {
    /// The requests that should not have failed.
    pub fn broken(&self) -> Vec<&Record> {
        match &self.course {
            Ok(course) => self.sentenced(course, Sentence::Broken),
            Err(_) => Vec::new(),
        }
    }

    fn sentenced<'a>(&self, course: &'a Course, sentence: Sentence) -> Vec<&'a Record> {
        let records = course.ledger.records.iter();
        let bound = self.fault.bound;
        records
            .filter(|record| bound.sentence(&course.damage, record) == sentence)
            .collect()
    }

    fn row(&self) -> [String; 9] {
        let course = match &self.course {
            Ok(course) => course,
            Err(why) => return self.row_of_nothing(why.0),
        };
        let ledger = &course.ledger;
        let count = |sentence| self.sentenced(course, sentence).len().to_string();
        [
            self.fault.name.to_owned(),
            ledger.records.len().to_string(),
            answers(course),
            count(Sentence::Excused),
            count(Sentence::Broken),
            milliseconds(ledger.latency(990)),
            milliseconds(ledger.latency(1000)),
            format!("{:.1}", course.took.as_secs_f64()),
            self.fault.bound.to_string(),
        ]
    }

    fn row_of_nothing(&self, why: &str) -> [String; 9] {
        let mut row = <[String; 9]>::default();
        self.fault.name.clone_into(&mut row[0]);
        row[2] = format!("not tried: {why}");
        row
    }
}

/// The table.
pub fn table(trials: &[Trial]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(trials.iter().map(Trial::row));
    let widths: [usize; 9] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            // Figures stand to the right.
            match column {
                1 | 3..=7 => write!(line, "{cell:>width$}  ").unwrap(),
                _ => write!(line, "{cell:<width$}  ").unwrap(),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// One line of JSON for each broken request; times in milliseconds since its load began.
pub fn broken_requests(trials: &[Trial]) -> String {
    let mut text = String::new();
    for trial in trials {
        let Ok(course) = &trial.course else { continue };
        let since = |instant| course_ms(course, instant);
        for record in trial.broken() {
            let line = json!({
                "fault": trial.fault.name,
                "request": record.number,
                "site": record.slug,
                "kind": record.kind.to_string(),
                "hold_ms": record.hold.as_millis(),
                "due_ms": since(record.due),
                "sent_ms": since(record.sent),
                "ended_ms": since(record.ended),
                "asked_again": record.asked_again,
                "verdict": record.verdict.to_string(),
                "told": record.told,
            });
            writeln!(text, "{line}").unwrap();
        }
    }
    text
}

fn course_ms(course: &Course, instant: std::time::Instant) -> u128 {
    let since = instant.saturating_duration_since(course.ledger.began);
    since.as_millis()
}

fn answers(course: &Course) -> String {
    let again = course
        .ledger
        .records
        .iter()
        .filter(|record| record.asked_again);
    let again = again.count();
    let mut texts: Vec<_> = course
        .ledger
        .verdicts()
        .iter()
        .map(|(verdict, count)| match verdict {
            Verdict::Page | Verdict::Status(_) => format!("{verdict}:{count}"),
            other => format!("{other}: {count}"),
        })
        .collect();
    if again > 0 {
        texts.push(format!("asked again: {again}"));
    }
    texts.join(", ")
}

fn milliseconds(span: Duration) -> String {
    format!("{:.0}", span.as_secs_f64() * 1000.0)
}
