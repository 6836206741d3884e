//! The one place where a tokio runtime is made.

use std::io;

use tokio::runtime::{Builder, Runtime};

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
