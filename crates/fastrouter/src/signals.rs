//! Signals: SIGTERM drains, with nobody to come after; SIGINT is for the emperor, which decides what
//! becomes of the router.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that are listened to, from the moment this exists.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            // A Ctrl-C in a terminal goes to every process there. Taking the signal is ignoring it.
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for SIGTERM.
    pub(crate) async fn until_term(&mut self) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.interrupt.recv() => {}
            }
        }
    }
}
