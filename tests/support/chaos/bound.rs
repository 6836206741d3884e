//! Which requests a fault may cost.

use std::fmt;
use std::time::Instant;

use crate::open_loop::{Kind, Record, Verdict};

/// What may fail because of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Nothing: every request gets its page.
    NothingFails,
    /// Connections that clients keep end, and that may cross with a request. A POST that it happens
    /// to can't be asked again by anybody but its user.
    ConnectionsMove,
    /// What a killed worker was working on, where asking another one could do it twice.
    PostsInFlight,
    /// What a hung worker was asked until it was replaced.
    WithinTheHung,
    /// What a killed router was working on: its clients' connections died with it.
    InFlight,
}

/// What was killed, with the requests that were in it.
#[derive(Debug, Default)]
pub struct Damage(Vec<Killed>);

/// One process that was killed.
#[derive(Debug)]
struct Killed {
    victim: Victim,
    /// Just before the signal.
    from: Instant,
    /// When it was gone.
    until: Instant,
}

/// Whose requests a killed process had.
#[derive(Debug, PartialEq, Eq)]
pub enum Victim {
    /// The router: everybody's.
    Router,
    /// The worker of one site.
    WorkerOf(String),
}

/// What is said about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sentence {
    /// It went as it should.
    Fine,
    /// It failed within what the bound grants.
    Excused,
    /// It should not have failed.
    Broken,
}

impl Damage {
    /// Nothing that had requests in it was killed.
    pub fn none() -> Self {
        Self::default()
    }

    /// Something was killed, between these two moments.
    pub fn killed(&mut self, victim: Victim, (from, until): (Instant, Instant)) {
        let killed = Killed {
            victim,
            from,
            until,
        };
        self.0.push(killed);
    }

    /// Whether a request may have been in something as it was killed.
    fn held(&self, record: &Record) -> bool {
        self.0.iter().any(|killed| {
            let concerned = match &killed.victim {
                Victim::Router => true,
                Victim::WorkerOf(slug) => *slug == record.slug,
            };
            concerned && record.sent <= killed.until && record.ended >= killed.from
        })
    }
}

impl Bound {
    /// Judges one request.
    pub fn sentence(self, damage: &Damage, record: &Record) -> Sentence {
        let failed = record.verdict != Verdict::Page;
        if !failed && !record.asked_again {
            return Sentence::Fine;
        }
        // Another site's page, or another request's, is never excused.
        if record.verdict == Verdict::WrongPage {
            return Sentence::Broken;
        }
        let excused = match self {
            Self::NothingFails => false,
            Self::ConnectionsMove => !failed || crossed(record),
            Self::PostsInFlight => !record.kind.is_idempotent() && damage.held(record),
            Self::WithinTheHung => damage.held(record),
            Self::InFlight => !failed || damage.held(record),
        };
        if excused {
            Sentence::Excused
        } else {
            Sentence::Broken
        }
    }
}

/// Whether it was sent on a kept connection as the other side closed it.
fn crossed(record: &Record) -> bool {
    record.kind == Kind::PostKept && record.verdict == Verdict::Broken
}

impl fmt::Display for Bound {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::NothingFails => "nothing fails",
            Self::ConnectionsMove => "POSTs that cross with the end of a connection",
            Self::PostsInFlight => "POSTs within the killed worker",
            Self::WithinTheHung => "requests within the hung worker",
            Self::InFlight => "requests within the killed router",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Bound::{ConnectionsMove, InFlight, NothingFails, PostsInFlight};
    use super::Sentence::{Broken, Excused, Fine};
    use super::*;

    /// Requests of site `a` from second 0 to 2.
    fn request(kind: Kind, verdict: Verdict, began: Instant) -> Record {
        Record {
            number: 0,
            slug: "a".to_owned(),
            kind,
            hold: Duration::ZERO,
            due: began,
            sent: began,
            ended: began + Duration::from_secs(2),
            asked_again: false,
            verdict,
            told: String::new(),
        }
    }

    #[test]
    fn only_what_a_bound_names_is_excused() {
        let began = Instant::now();
        let second = |second| began + Duration::from_secs(second);
        let killed = |victim, from, until| {
            let mut damage = Damage::none();
            damage.killed(victim, (second(from), second(until)));
            damage
        };
        let worker = |slug: &str| Victim::WorkerOf(slug.to_owned());
        let check = |bound: Bound, damage: Damage, kind, verdict, expected| {
            let record = request(kind, verdict, began);
            let sentence = bound.sentence(&damage, &record);
            assert_eq!(sentence, expected, "{bound:?} {damage:?} {record:?}");
        };
        let (get, post) = (Kind::GetKept, Kind::PostFresh);
        let gone = Verdict::Status(502);
        check(NothingFails, Damage::none(), get, Verdict::Page, Fine);
        check(NothingFails, killed(worker("a"), 1, 1), post, gone, Broken);
        check(ConnectionsMove, Damage::none(), get, gone, Broken);
        let off = Verdict::Broken;
        check(ConnectionsMove, Damage::none(), get, off, Broken);
        check(ConnectionsMove, Damage::none(), post, off, Broken);
        check(
            ConnectionsMove,
            Damage::none(),
            Kind::PostKept,
            off,
            Excused,
        );
        check(
            PostsInFlight,
            killed(worker("a"), 1, 1),
            post,
            gone,
            Excused,
        );
        check(PostsInFlight, killed(worker("a"), 1, 1), get, gone, Broken);
        check(PostsInFlight, killed(worker("b"), 1, 1), post, gone, Broken);
        check(PostsInFlight, killed(worker("a"), 3, 4), post, gone, Broken);
        check(InFlight, killed(Victim::Router, 1, 1), get, gone, Excused);
        check(InFlight, killed(Victim::Router, 3, 4), get, gone, Broken);
        let wrong = Verdict::WrongPage;
        check(InFlight, killed(Victim::Router, 1, 1), get, wrong, Broken);
    }
}
