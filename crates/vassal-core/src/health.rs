//! Whether an instance that serves is well. Pure: probes, and what the router tells, are arguments.
//!
//! Busy is not hung. A probe that fails counts only where nothing else shows life: not where the
//! instance has answered requests meanwhile, and not where it has requests of which none has failed,
//! for all of its workers may be taking long uploads. There it takes a second sign: an answer that
//! didn't begin in time, a connection broken off or refused.

use crate::lifecycle::InstanceLoad;
use crate::settings::Health;

/// What is known of an instance's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// Failures in a row.
    failures: u32,
    /// Good probes in a row.
    successes: u32,
    /// What the router had told when the instance last showed life.
    seen: Signs,
    /// Why it is unwell.
    unwell: Option<String>,
}

/// What requests show of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Signs {
    answered: u64,
    harmed: u64,
}

impl Condition {
    /// Why it is unwell; `None`: it is well.
    pub fn unwell(&self) -> Option<&str> {
        self.unwell.as_deref()
    }

    /// A probe found this.
    pub fn probed(&mut self, health: &Health, found: Result<(), String>, load: InstanceLoad) {
        let signs = Signs::of(load);
        match found {
            Ok(()) => {
                self.failures = 0;
                self.seen = signs;
                self.successes = self.successes.saturating_add(1);
                if self.successes >= health.successes {
                    self.unwell = None;
                }
            }
            Err(_) if signs.answered > self.seen.answered => self.lives(signs),
            Err(_) if load.in_flight > 0 && signs.harmed == self.seen.harmed => self.successes = 0,
            Err(cause) => {
                self.successes = 0;
                self.failures = self.failures.saturating_add(1);
                if self.failures >= health.failures {
                    self.unwell = Some(cause);
                }
            }
        }
    }

    /// The router told this: so many requests that failed, and not one that was answered, are as
    /// good as so many failed probes.
    pub fn told(&mut self, health: &Health, load: InstanceLoad) {
        let signs = Signs::of(load);
        if signs.answered > self.seen.answered {
            self.lives(signs);
            return;
        }
        let harmed = signs.harmed.saturating_sub(self.seen.harmed);
        if harmed >= u64::from(health.failures) && self.unwell.is_none() {
            self.successes = 0;
            self.unwell = Some(format!("{harmed} requests failed in a row"));
        }
    }

    fn lives(&mut self, signs: Signs) {
        self.failures = 0;
        self.successes = 0;
        self.seen = signs;
    }
}

impl Signs {
    fn of(load: InstanceLoad) -> Self {
        let InstanceLoad {
            requests: _,
            in_flight: _,
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
