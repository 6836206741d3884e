//! The tokio runtime: where it is made, and how it is kept clear of what blocks.

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinError, spawn_blocking};

/// For a command that asks one question: no thread besides this one.
pub(crate) fn one_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// For the daemon: one thread per core, and as many for blocking calls as tokio sees fit.
pub(crate) fn all_cores() -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .thread_name("emperor")
        .build()
}

/// Does what blocks on a thread for that.
pub(crate) async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match spawn_blocking(work)
        .await
        .map_err(JoinError::try_into_panic)
    {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // Nobody aborts it, so the runtime ends, and with it whoever waits.
        Err(Err(_)) => std::future::pending().await,
    }
}
