//! What the service manager is told (`sd_notify(3)`): that the daemon is ready, reads its
//! configuration again, or ends; how its sites are; and that its loops come round.
//!
//! Without a service manager nothing of this costs anything. Knows no unit: what is made of it is
//! for `emperor.service` to say.

use std::cell::Cell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use site_model::SiteState;
use site_registry::{ConnectionState, RegistryHandle};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::pulse::PulseMonitor;
use super::statuses::StatusBoard;

/// Between two status lines. An operator reads them; a thousand sites that start at once change them a
/// thousand times.
const STATUS_PAUSE: Duration = Duration::from_secs(2);
/// Pings within the time after which the service manager loses patience. One would do; with four, a
/// loop may be at one thing for three quarters of that time.
const PINGS_PER_TIMEOUT: u32 = 4;

/// What is looked at.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) statuses: Arc<StatusBoard>,
    pub(super) registry: RegistryHandle,
    /// The loops besides the registry's: the supervisor's and that of the router's link.
    pub(super) loops: Vec<PulseMonitor>,
}

/// What it was told so far, as far as that decides what may follow.
#[derive(Debug, Default)]
pub(super) struct ServiceManager {
    told_ready: Cell<bool>,
}

impl ServiceManager {
    /// Tells how things are: first, when they are ready. To be awaited where the daemon's main loop
    /// waits, and nowhere else: then a main loop that is stuck sends no ping either.
    pub(super) async fn attend(
        &self,
        mut subject: Subject,
        ready: impl Future<Output = ()>,
    ) -> Infallible {
        ready.await;
        info!("ready");
        self.told_ready.set(true);
        notify(&[NotifyState::Ready]);
        let (never, _) = tokio::join!(
            ping(&mut subject.loops, &subject.registry),
            tell_status(&subject.statuses, &subject.registry),
        );
        never
    }

    /// The daemon reads its configuration again; [`read_again`](Self::read_again) is to follow.
    pub(super) fn reading_again(&self) {
        // A start that isn't over would be over with the READY=1 that ends a reload.
        if !self.told_ready.get() {
            return;
        }
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => warn!(%error, "the service manager can't be told"),
        }
    }

    /// It has.
    pub(super) fn read_again(&self) {
        if self.told_ready.get() {
            notify(&[NotifyState::Ready]);
        }
    }
}

/// The daemon ends.
pub(super) fn stopping() {
    notify(&[
        NotifyState::Stopping,
        NotifyState::Status("ending: requests, then vassals, then the database"),
    ]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "the service manager can't be told");
    }
}

/// Pings as often as it has to, and each time only once every loop has come round.
async fn ping(loops: &mut [PulseMonitor], registry: &RegistryHandle) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    let mut next = Instant::now();
    loop {
        sleep_until(next).await;
        next = Instant::now() + patience / PINGS_PER_TIMEOUT;
        for pulse in &mut *loops {
            pulse.next_turn().await;
        }
        if registry.turn().await.is_err() {
            // Its task has ended, so this daemon has nothing to follow any more.
            return std::future::pending().await;
        }
        notify(&[NotifyState::Watchdog]);
    }
}

/// Tells the status line whenever it is another one, with a pause between two.
async fn tell_status(statuses: &StatusBoard, registry: &RegistryHandle) -> Infallible {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return std::future::pending().await;
    }
    let (mut board, mut connection) = (statuses.changes(), registry.connection());
    let mut told = String::new();
    loop {
        board.mark_unchanged();
        let state = connection.borrow_and_update().state.clone();
        let line = status_line(&statuses.states(), &state);
        if line != told {
            notify(&[NotifyState::Status(&line)]);
            told = line;
        }
        sleep(STATUS_PAUSE).await;
        tokio::select! {
            changed = board.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
            changed = connection.changed() => if changed.is_err() {
                return std::future::pending().await;
            },
        }
    }
}

/// `950 of 1000 sites ready, 30 sleeping, 20 failed`
fn status_line(sites: &[SiteState], database: &ConnectionState) -> String {
    let count = |wanted: &[SiteState]| {
        let counted = sites.iter().filter(|site| wanted.contains(site));
        counted.count()
    };
    let of = sites.len() - count(&[SiteState::Disabled, SiteState::Stopping]);
    let ready = count(&[SiteState::Ready, SiteState::Reloading]);
    let mut line = format!(
        "{ready} of {of} {} ready",
        if of == 1 { "site" } else { "sites" }
    );
    for state in [
        SiteState::Starting,
        SiteState::Sleeping,
        SiteState::Waking,
        SiteState::BackingOff,
        SiteState::Failed,
        SiteState::Rejected,
    ] {
        let count = count(&[state]);
        if count > 0 {
            // Writing to a string can't fail.
            let _written = write!(line, ", {count} {state}");
        }
    }
    match database {
        ConnectionState::Connected => {}
        ConnectionState::Connecting | ConnectionState::Lost(_) => {
            line.push_str("; no link to PostgreSQL, see `emperor status`");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_line_counts_what_is_to_run_and_names_what_does_not() {
        use SiteState::{Disabled, Failed, Ready, Rejected, Reloading, Sleeping, Stopping};
        let check = |states: &[SiteState], database: ConnectionState, expected: &str| {
            assert_eq!(status_line(states, &database), expected);
        };
        let connected = ConnectionState::Connected;
        check(&[], connected.clone(), "0 of 0 sites ready");
        check(&[Ready], connected.clone(), "1 of 1 site ready");
        check(
            &[
                Ready, Reloading, Disabled, Stopping, Sleeping, Failed, Failed, Rejected,
            ],
            connected,
            "2 of 6 sites ready, 1 sleeping, 2 failed, 1 rejected",
        );
        check(
            &[Ready, Ready],
            ConnectionState::Connecting,
            "2 of 2 sites ready; no link to PostgreSQL, see `emperor status`",
        );
    }
}
