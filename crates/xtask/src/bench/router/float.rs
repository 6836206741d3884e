//! Counts as numbers to divide by.

/// A count as a number to reckon with.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of seconds of work are far below 2^52"
)]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
