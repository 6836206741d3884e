//! The figures of rounds, their medians and spreads, and ratios made within a round.

use std::fmt;

use super::contender::Role;
use super::cpu::Taken;
use super::float::float;
use super::load::Load;
use super::syscalls::PerRequest;

/// What one round gave.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Round {
    /// CPU of the proxy, user and kernel, in microseconds.
    cpu_us_per_request: f64,
    /// The part of it outside of the kernel, as sampled.
    user_us_per_request: f64,
    requests_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    /// How much of its core the proxy used, 0 to 1. Near 1: it was the bottleneck.
    busy: f64,
}

/// All that was measured of one contender.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) rounds: Vec<Round>,
    /// `None` where tracing is not allowed.
    pub(super) syscalls: Option<PerRequest>,
}

/// A figure of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Cpu,
    User,
    Rate,
    P50,
    P99,
    Busy,
}

/// A median with the least and the greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Round {
    pub(super) fn new(load: &Load, taken: Taken) -> Self {
        let requests = float(load.requests);
        let seconds = float(load.duration_us) / 1e6;
        let cpu = taken.total().as_secs_f64();
        let cpu_us_per_request = cpu * 1e6 / requests;
        Self {
            cpu_us_per_request,
            user_us_per_request: cpu_us_per_request * taken.user_share(),
            requests_per_second: requests / seconds,
            p50_us: float(load.p50_us),
            p99_us: float(load.p99_us),
            busy: cpu / seconds,
        }
    }

    pub(super) fn get(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Cpu => self.cpu_us_per_request,
            Figure::User => self.user_us_per_request,
            Figure::Rate => self.requests_per_second,
            Figure::P50 => self.p50_us,
            Figure::P99 => self.p99_us,
            Figure::Busy => self.busy,
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.1} µs of CPU per request, {:.0} requests/s",
            self.cpu_us_per_request, self.requests_per_second
        )
    }
}

impl Series {
    /// One figure over all rounds.
    pub(super) fn spread(&self, figure: Figure) -> Option<Spread> {
        Spread::of(self.rounds.iter().map(|round| round.get(figure)))
    }

    /// One figure as a ratio to the best reference of the same round.
    pub(super) fn ratio(&self, all: &[Self], figure: Figure) -> Option<Spread> {
        let ratios = self.rounds.iter().enumerate().map(|(number, round)| {
            let references = references(all).filter_map(|series| series.rounds.get(number));
            let best = figure.best(references.map(|round| round.get(figure)))?;
            Some(round.get(figure) / best)
        });
        Spread::of(ratios.collect::<Option<Vec<_>>>()?)
    }

    /// All system calls per request.
    pub(super) fn calls(&self) -> Option<f64> {
        self.syscalls.as_ref().map(|calls| calls.values().sum())
    }

    /// The same as a ratio to the best reference.
    pub(super) fn calls_ratio(&self, all: &[Self]) -> Option<f64> {
        let best = references(all).filter_map(Self::calls).reduce(f64::min)?;
        Some(self.calls()? / best)
    }
}

fn references(all: &[Series]) -> impl Iterator<Item = &Series> {
    all.iter().filter(|series| series.role == Role::Reference)
}

impl Figure {
    fn best(self, values: impl Iterator<Item = f64>) -> Option<f64> {
        match self {
            Self::Rate => values.reduce(f64::max),
            Self::Cpu | Self::User | Self::P50 | Self::P99 | Self::Busy => values.reduce(f64::min),
        }
    }
}

impl Spread {
    /// `None` of nothing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let (lower, upper) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self {
            median: f64::midpoint(lower, upper),
            least,
            greatest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(role: Role, cpu: &[f64], rate: &[f64]) -> Series {
        let rounds = cpu.iter().zip(rate).map(|(cpu, rate)| Round {
            cpu_us_per_request: *cpu,
            user_us_per_request: 1.0,
            requests_per_second: *rate,
            p50_us: 1.0,
            p99_us: 1.0,
            busy: 1.0,
        });
        Series {
            name: String::new(),
            role,
            rounds: rounds.collect(),
            syscalls: None,
        }
    }

    #[test]
    fn medians_of_odd_and_even_numbers() {
        let check = |values: &[f64], median| {
            assert_eq!(
                Spread::of(values.to_vec()).map(|spread| spread.median),
                median
            );
        };
        check(&[], None);
        check(&[3.0], Some(3.0));
        check(&[9.0, 1.0, 2.0], Some(2.0));
        check(&[4.0, 1.0, 2.0, 9.0], Some(3.0));
    }

    #[test]
    fn a_ratio_is_to_the_better_reference_of_the_same_round() {
        let all = [
            series(Role::Reference, &[10.0, 40.0], &[100.0, 50.0]),
            series(Role::Reference, &[20.0, 20.0], &[80.0, 80.0]),
            series(Role::Measured, &[5.0, 30.0], &[200.0, 40.0]),
        ];
        let check = |figure, least, greatest| {
            let ratio = all[2].ratio(&all, figure).unwrap();
            assert_eq!((ratio.least, ratio.greatest), (least, greatest));
        };
        check(Figure::Cpu, 0.5, 1.5);
        check(Figure::Rate, 0.5, 2.0);
        assert_eq!(all[2].ratio(&all[2..], Figure::Cpu), None);
    }

    #[test]
    fn the_rate_is_that_of_the_time_that_wrk_took() {
        let load = Load {
            requests: 1000,
            failed: 0,
            duration_us: 500_000,
            p50_us: 1,
            p99_us: 2,
        };
        let round = Round::new(&load, Taken::default());
        let rate = Spread::of([round.get(Figure::Rate)]);
        assert_eq!(rate, Spread::of([2000.0]));
    }
}
