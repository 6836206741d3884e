//! Signals: SIGTERM drains; SIGINT is for the emperor, which decides what becomes of the router.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM.
pub(crate) async fn until_term() -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    // A Ctrl-C in a terminal goes to every process there. Taking the signal is ignoring it.
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = interrupt.recv() => {}
        }
    }
}
