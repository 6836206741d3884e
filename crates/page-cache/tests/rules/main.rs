//! The cache as the router uses it: whole requests, answers and purges, with a clock that the tests set.
#![expect(
    clippy::unwrap_used,
    reason = "every function here serves a test alone"
)]

mod at_hand;
mod house;
mod invalidation;
mod kept;
mod model;
mod stale;
mod together;
