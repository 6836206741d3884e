//! Signals: SIGTERM drains, with nobody to come after; SIGQUIT drains for a successor; SIGINT is for
//! the emperor, which decides what becomes of the router.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::order::Backlog;

/// The signals that are listened to, from the moment this exists.
#[derive(Debug)]
pub(crate) struct Signals {
    term: Signal,
    quit: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            quit: signal(SignalKind::quit())?,
            // A Ctrl-C in a terminal goes to every process there. Taking the signal is ignoring it.
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits until it is told to end, and says what becomes of connections that wait.
    pub(crate) async fn until_told_to_end(&mut self) -> Backlog {
        loop {
            tokio::select! {
                _ = self.term.recv() => return Backlog::Take,
                _ = self.quit.recv() => return Backlog::Leave,
                _ = self.interrupt.recv() => {}
            }
        }
    }
}
