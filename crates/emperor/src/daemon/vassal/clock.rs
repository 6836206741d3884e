//! What time it is for vassals, and waiting for it.

use std::time::Instant;

/// The runtime's clock, which a test can stop.
pub(in crate::daemon) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Resolves at that time; never, where there is none. Cancel safe.
pub(super) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
