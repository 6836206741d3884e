//! The pause between a failure and the next try. Pure: chance is an argument.

use std::time::Duration;

use crate::settings::Restart;

/// The pause after so many failures in a row, counted from 1: doubled with each, never longer than
/// `backoff_max`, and then shortened by chance to between half and all of it, so that many sites
/// that fell together don't rise together.
pub fn pause(restart: &Restart, failures: u32, rng: &mut fastrand::Rng) -> Duration {
    let doublings = failures.saturating_sub(1).min(31);
    let full = restart
        .backoff_initial
        .saturating_mul(1 << doublings)
        .min(restart.backoff_max);
    full.mul_f64(0.5 + rng.f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTART: Restart = Restart {
        backoff_initial: Duration::from_millis(500),
        backoff_max: Duration::from_mins(3),
    };

    #[test]
    fn pauses_double_up_to_the_longest_and_are_never_cut_below_half() {
        let mut rng = fastrand::Rng::with_seed(7);
        for (failures, full_ms) in [
            (1, 500),
            (2, 1_000),
            (5, 8_000),
            (10, 180_000),
            (9_999, 180_000),
        ] {
            let full = Duration::from_millis(full_ms);
            for _ in 0..100 {
                let pause = pause(&RESTART, failures, &mut rng);
                assert!(pause <= full && pause >= full / 2, "{failures}: {pause:?}");
            }
        }
    }

    #[test]
    fn one_seed_gives_one_series_of_pauses() {
        let series = |seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            [1, 2, 3].map(|failures| pause(&RESTART, failures, &mut rng))
        };
        assert_eq!(series(1), series(1));
        assert_ne!(series(1), series(2));
    }
}
