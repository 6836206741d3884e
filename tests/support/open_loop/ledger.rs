//! What the visitors met, request by request.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

/// Every request of a load.
#[derive(Debug)]
pub struct Ledger {
    /// When the load began.
    pub began: Instant,
    /// Its requests, in the order of their ends.
    pub records: Vec<Record>,
}

/// One request.
#[derive(Debug)]
pub struct Record {
    /// Which it is.
    pub number: u32,
    /// The site it is for.
    pub slug: String,
    /// How it is asked.
    pub kind: Kind,
    /// How long the worker was told to take.
    pub hold: Duration,
    /// When it had to begin.
    pub due: Instant,
    /// When it began: later than `due` where the visitors' own machine was late.
    pub sent: Instant,
    /// When its answer was whole, or it was clear that there is none.
    pub ended: Instant,
    /// Whether it was asked a second time, since an idle connection was closed by the other side.
    pub asked_again: bool,
    /// How it went.
    pub verdict: Verdict,
    /// What was answered instead of the page.
    pub told: String,
}

/// How a request is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// GET on a connection that is kept.
    GetKept,
    /// POST on a connection that is kept.
    PostKept,
    /// GET on a connection of its own.
    GetFresh,
    /// POST on a connection of its own.
    PostFresh,
}

/// How a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The page of its site, to this very request.
    Page,
    /// Another status than 200.
    Status(u16),
    /// A page with status 200 that is not the answer to this request.
    WrongPage,
    /// No connection was to be had.
    Refused,
    /// The connection ended without an answer.
    Broken,
    /// What came was no HTTP.
    Garbled,
    /// The visitor gave up.
    TimedOut,
}

impl Ledger {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            records: Vec::new(),
        }
    }

    pub(super) fn enter(&mut self, record: Record) {
        self.records.push(record);
    }

    /// How many went how.
    pub fn verdicts(&self) -> BTreeMap<Verdict, usize> {
        let mut counts = BTreeMap::new();
        for record in &self.records {
            *counts.entry(record.verdict).or_default() += 1;
        }
        counts
    }

    /// The latency that so many of a thousand requests stay below, of those that have an answer.
    pub fn latency(&self, permille: usize) -> Duration {
        let answered = self.records.iter().filter(|record| record.is_answered());
        let mut latencies: Vec<_> = answered.map(Record::latency).collect();
        latencies.sort_unstable();
        let index = (latencies.len() * permille / 1000).min(latencies.len().saturating_sub(1));
        latencies.get(index).copied().unwrap_or_default()
    }
}

impl Record {
    /// How long it took from when it was due, beyond what the worker was told to take.
    pub fn latency(&self) -> Duration {
        let whole = self.ended.saturating_duration_since(self.due);
        whole.saturating_sub(self.hold)
    }

    fn is_answered(&self) -> bool {
        matches!(self.verdict, Verdict::Page | Verdict::Status(_))
    }
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [
        Self::GetKept,
        Self::PostFresh,
        Self::GetFresh,
        Self::PostKept,
    ];

    /// Whether asking twice does no harm.
    pub fn is_idempotent(self) -> bool {
        match self {
            Self::GetKept | Self::GetFresh => true,
            Self::PostKept | Self::PostFresh => false,
        }
    }

    pub(super) fn keeps(self) -> bool {
        match self {
            Self::GetKept | Self::PostKept => true,
            Self::GetFresh | Self::PostFresh => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::GetKept => "GET on a kept connection",
            Self::PostKept => "POST on a kept connection",
            Self::GetFresh => "GET on a fresh connection",
            Self::PostFresh => "POST on a fresh connection",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page => formatter.write_str("200"),
            Self::Status(code) => code.fmt(formatter),
            Self::WrongPage => formatter.write_str("wrong page"),
            Self::Refused => formatter.write_str("refused"),
            Self::Broken => formatter.write_str("broken off"),
            Self::Garbled => formatter.write_str("garbled"),
            Self::TimedOut => formatter.write_str("no answer in time"),
        }
    }
}
