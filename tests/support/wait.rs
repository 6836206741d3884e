//! Awaiting a condition of another process, which has no event that this one could await.

use std::time::{Duration, Instant};

/// How long something may take that normally takes well below a second: long enough for a machine
/// that does ten other things.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks again and again until there is something to see. Each look says what it saw instead, and
/// the last of these is in the panic when `within` is over.
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + within;
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(instead) if Instant::now() > deadline => {
                panic!("{what}: not within {within:?}; last seen: {instead}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Lets time go by in which something must *not* happen: there is no event to wait for.
pub async fn undisturbed(span: Duration) {
    tokio::time::sleep(span).await;
}
