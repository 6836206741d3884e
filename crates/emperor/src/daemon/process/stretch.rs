//! A stretch of failures that are all the same one: a full disk refuses every write, and is worth one
//! line in the log.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether one is under way.
#[derive(Debug, Default)]
pub(super) struct Stretch(AtomicBool);

impl Stretch {
    /// It failed. True: for the first time since it last went well.
    pub(super) fn failed(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }

    /// It went well.
    pub(super) fn went_well(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_failure_of_a_stretch_is_told() {
        let stretch = Stretch::default();
        assert!(stretch.failed());
        assert!(!stretch.failed());
        stretch.went_well();
        assert!(stretch.failed());
    }
}
