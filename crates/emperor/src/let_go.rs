//! What a test has let go of, and wants to have again. For tests alone.
//!
//! A process that another test's thread is about to start has every open file of this one until it becomes
//! another program: locks are held, and sockets listened at, for as long.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Far more than a program takes to begin.
const PATIENCE: Duration = Duration::from_mins(1);

/// Tries until it succeeds.
pub(crate) fn once_let_go<T, E: Display>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(taken) => return taken,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::yield_now();
    }
}
