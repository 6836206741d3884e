//! Delays between attempts: doubled each time, jittered, capped. No clock.

use std::time::Duration;

/// Delays between attempts at one thing.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// The delay before the next attempt: between half of its nominal length and all of it, so that
    /// many emperors don't come back to one server in step.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(self.longest);
        nominal.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_cap_and_begin_anew_after_a_success() {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(first, longest);
        let mut nominal = first;
        for _ in 0..10 {
            let delay = backoff.next_delay();
            assert!(
                delay >= nominal / 2 && delay <= nominal,
                "{delay:?} of {nominal:?}"
            );
            nominal = (nominal * 2).min(longest);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= first);
    }
}
