//! The router's own log, to standard error. The emperor reads it and gives each record its time, level
//! and place in a log of its own; the journal does the same where nobody stands between.

use std::io;

use tracing_subscriber::EnvFilter;
use wire::log::Prioritised;

/// Sends every record of this process to standard error. `RUST_LOG` filters it.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .event_format(Prioritised::default())
        .init();
}
