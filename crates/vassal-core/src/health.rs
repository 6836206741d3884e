//! Whether an instance that serves is well: everything that is known of it, weighed to one verdict.
//! Pure: probes, its own word, its process, and what the router tells are arguments.
//!
//! Busy is not hung. A probe that fails, or a watchdog that is missed, counts only where nothing else
//! shows life: not where the instance has answered requests meanwhile, and not where it has requests
//! of which none has failed, for all of its workers may be taking long uploads. There it takes a
//! second sign: an answer that didn't begin in time, a connection broken off or refused. An open
//! tunnel is neither: a worker that hangs keeps `WebSocket`s open.
//!
//! Each kind of sign counts for itself: a thread that keeps a watchdog quiet doesn't make up for
//! pages that aren't answered. Who is unwell by one of them is unwell.

use std::time::Duration;

use crate::lifecycle::InstanceLoad;
use crate::settings::Health;

/// What is known of an instance's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    probes: Streak,
    watchdog: Streak,
    requests: Streak,
    /// How long its process had been stopped when that was too long.
    stopped: Option<String>,
    /// It said of itself that it is broken.
    broken: bool,
    /// What the router had told when the instance last showed life.
    seen: Signs,
    /// How many failed requests the router has told of.
    known_harm: u64,
}

/// Good and bad signs of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Streak {
    /// Bad ones in a row.
    failures: u32,
    /// Good ones in a row.
    successes: u32,
    /// How many requests it had answered at the last one.
    answered: u64,
    /// Why it is unwell.
    unwell: Option<String>,
}

/// What requests show of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Signs {
    answered: u64,
    harmed: u64,
}

/// What an instance that gives a bad sign shows elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    /// It has answered requests since the last sign.
    Answers,
    /// It has requests, and none has failed.
    Works,
    /// No life.
    Nothing,
}

impl Condition {
    /// Why it is unwell; `None`: it is well.
    pub(crate) fn unwell(&self) -> Option<&str> {
        let said = "it said of itself that it is broken (WATCHDOG=trigger)";
        let counted = [&self.watchdog, &self.probes, &self.requests];
        let mut counted = counted.into_iter().map(|streak| streak.unwell.as_deref());
        self.stopped
            .as_deref()
            .or_else(|| self.broken.then_some(said))
            .or_else(|| counted.find_map(|found| found))
    }

    /// A probe found this.
    pub(crate) fn probed(
        &mut self,
        health: &Health,
        found: Result<(), String>,
        load: InstanceLoad,
    ) {
        let elsewhere = self.elsewhere(self.probes.answered, load);
        match found {
            Ok(()) => {
                // It was answered, as a request would have been.
                self.seen = Signs::of(load);
                self.requests.good(health);
                self.probes.good(health);
            }
            Err(cause) => self.probes.bad(health, elsewhere, cause),
        }
        self.probes.answered = load.answered;
    }

    /// It has said within `period` that it lives, or hasn't.
    pub(crate) fn watched(
        &mut self,
        health: &Health,
        spoke: bool,
        period: Duration,
        load: InstanceLoad,
    ) {
        let elsewhere = self.elsewhere(self.watchdog.answered, load);
        if spoke {
            self.watchdog.good(health);
        } else {
            let seconds = period.as_secs_f32();
            let cause = format!("it has not sent WATCHDOG=1 for {seconds}s");
            self.watchdog.bad(health, elsewhere, cause);
        }
        self.watchdog.answered = load.answered;
    }

    /// It said that it is broken, and knows best: whatever else it shows.
    pub(crate) fn said_broken(&mut self) {
        self.broken = true;
    }

    /// Its process was stopped by a signal, and nobody has let it go on for that long. That is no
    /// matter of counting: a stopped process is busy with nothing.
    pub(crate) fn stopped_for(&mut self, time: Duration) {
        let seconds = time.as_secs();
        let words = "its process is stopped by a signal, and nobody let it go on for";
        self.stopped = Some(format!("{words} {seconds}s"));
    }

    /// Its process isn't stopped, or not for long.
    pub(crate) fn goes_on(&mut self) {
        self.stopped = None;
    }

    /// The router told this: so many requests that failed, and not one that was answered, are as
    /// good as so many failed probes. True: requests have failed that it hadn't told of before.
    pub(crate) fn told(&mut self, health: &Health, load: InstanceLoad) -> bool {
        let signs = Signs::of(load);
        let is_harmed = signs.harmed > self.known_harm;
        self.known_harm = self.known_harm.max(signs.harmed);
        if !health.is_on() {
            return is_harmed;
        }
        if signs.answered > self.seen.answered {
            self.seen = signs;
            self.requests.good(health);
            return is_harmed;
        }
        let harmed = signs.harmed.saturating_sub(self.seen.harmed);
        if harmed >= u64::from(health.failures) && self.requests.unwell.is_none() {
            self.requests.successes = 0;
            self.requests.unwell = Some(format!("{harmed} requests failed in a row"));
        }
        is_harmed
    }

    fn elsewhere(&mut self, answered_before: u64, load: InstanceLoad) -> Elsewhere {
        let signs = Signs::of(load);
        if signs.answered > self.seen.answered {
            self.seen = signs;
        }
        if signs.answered > answered_before {
            Elsewhere::Answers
        } else if load.in_flight > load.tunnels && signs.harmed == self.seen.harmed {
            Elsewhere::Works
        } else {
            Elsewhere::Nothing
        }
    }
}

impl Streak {
    fn good(&mut self, health: &Health) {
        self.failures = 0;
        self.successes = self.successes.saturating_add(1);
        if self.successes >= health.successes {
            self.unwell = None;
        }
    }

    fn bad(&mut self, health: &Health, elsewhere: Elsewhere, cause: String) {
        self.successes = 0;
        match elsewhere {
            Elsewhere::Answers => self.failures = 0,
            Elsewhere::Works => {}
            Elsewhere::Nothing => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= health.failures {
                    self.unwell = Some(cause);
                }
            }
        }
    }
}

impl Signs {
    fn of(load: InstanceLoad) -> Self {
        let InstanceLoad {
            requests: _,
            in_flight: _,
            tunnels: _,
            answered,
            refused,
            broken,
            late,
        } = load;
        Self {
            answered,
            harmed: refused + broken + late,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::settings::Probe;

    fn health() -> Health {
        Health {
            interval: Duration::from_secs(10),
            probe: Probe::Connect,
            timeout: Duration::from_secs(5),
            failures: 3,
            successes: 2,
            watchdog: Duration::from_secs(30),
        }
    }

    fn load(in_flight: u64, answered: u64, late: u64) -> InstanceLoad {
        InstanceLoad {
            in_flight,
            answered,
            late,
            ..InstanceLoad::default()
        }
    }

    /// `+` a good probe, `-` a failed one; each with what the router tells at that time.
    fn check(probes: &str, load_at: impl Fn(u64) -> InstanceLoad, unwell: bool) {
        let mut condition = Condition::default();
        for (probe, at) in probes.chars().zip(0..) {
            let found = match probe {
                '+' => Ok(()),
                _ => Err("it has not answered".to_owned()),
            };
            condition.probed(&health(), found, load_at(at));
        }
        assert_eq!(condition.unwell().is_some(), unwell, "{probes}");
    }

    #[test]
    fn it_takes_several_failures_to_be_unwell_and_several_successes_to_be_well_again() {
        let nothing = |_| load(0, 0, 0);
        check("--", nothing, false);
        check("---", nothing, true);
        check("--+--", nothing, false);
        check("---+", nothing, true);
        check("---+-+", nothing, true);
        check("---++", nothing, false);
    }

    #[test]
    fn whoever_answers_requests_is_busy() {
        check("----------", |at| load(8, at + 1, 0), false);
    }

    #[test]
    fn whoever_takes_long_uploads_is_left_alone() {
        check("----------", |_| load(8, 5, 0), false);
        check("+---------", |_| load(8, 5, 2), false);
    }

    #[test]
    fn requests_that_are_late_and_probes_that_fail_are_two_signs() {
        check("+---", |at| load(8, 5, u64::from(at > 0)), true);
    }

    #[test]
    fn an_open_tunnel_is_no_sign_of_life() {
        let tunnels = |tunnels| InstanceLoad {
            tunnels,
            ..load(3, 0, 0)
        };
        check("---", |_| tunnels(3), true);
        check("---", |_| tunnels(2), false);
    }

    /// `w` a watchdog in time, `m` a missed one; `+` and `-` as of [`check`].
    fn check_all(signs: &str, load_at: impl Fn(u64) -> InstanceLoad, unwell: Option<&str>) {
        let mut condition = Condition::default();
        for (sign, at) in signs.chars().zip(0..) {
            let period = Duration::from_secs(30);
            match sign {
                '+' => condition.probed(&health(), Ok(()), load_at(at)),
                '-' => condition.probed(&health(), Err("no answer".into()), load_at(at)),
                sign => condition.watched(&health(), sign == 'w', period, load_at(at)),
            }
        }
        assert_eq!(condition.unwell(), unwell, "{signs}");
    }

    #[test]
    fn a_missed_watchdog_counts_like_a_failed_probe_and_for_itself() {
        let nothing = |_| load(0, 0, 0);
        let missed = Some("it has not sent WATCHDOG=1 for 30s");
        check_all("mm", nothing, None);
        check_all("mmm", nothing, missed);
        check_all("mmwmm", nothing, None);
        check_all("mmmww", nothing, None);
        check_all("mmmw", nothing, missed);
        check_all("m+m+m", nothing, missed);
        check_all("-w-w-", nothing, Some("no answer"));
        check_all("mmmmmm", |_| load(8, 5, 0), None);
        check_all("mmmmmm", |at| load(8, at + 1, 0), None);
    }

    #[test]
    fn who_is_stopped_or_says_that_it_is_broken_is_not_busy() {
        let mut condition = Condition::default();
        condition.stopped_for(Duration::from_secs(3));
        let words = "its process is stopped by a signal, and nobody let it go on for 3s";
        assert_eq!(condition.unwell(), Some(words));
        condition.goes_on();
        assert_eq!(condition.unwell(), None);
        condition.said_broken();
        condition.probed(&health(), Ok(()), load(1, 1, 0));
        assert!(condition.unwell().is_some());
    }

    #[test]
    fn who_answers_again_after_failed_requests_is_well_again() {
        let mut condition = Condition::default();
        condition.told(&health(), load(0, 0, 3));
        assert!(condition.unwell().is_some());
        condition.told(&health(), load(0, 1, 3));
        condition.told(&health(), load(0, 2, 3));
        assert_eq!(condition.unwell(), None);
    }

    #[test]
    fn failed_requests_alone_tell_where_none_is_answered() {
        let mut condition = Condition::default();
        condition.told(&health(), load(0, 7, 2));
        condition.told(&health(), load(0, 8, 4));
        condition.told(&health(), load(0, 8, 6));
        assert_eq!(condition.unwell(), None);
        condition.told(&health(), load(0, 8, 7));
        assert_eq!(condition.unwell(), Some("3 requests failed in a row"));
    }
}
