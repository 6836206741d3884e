//! The fastrouter's part of the house: its process, and the link to it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::net::UnixListener;
use tokio::sync::{Notify, watch};

use super::part::Part;
use crate::config::Config;
use crate::daemon::process::{Launcher, LeftFastrouter};
use crate::daemon::pulse::{PulseMonitor, pulse};
use crate::daemon::router::board::RouteBoard;
use crate::daemon::router::keeper::{self, KeeperChannels, KeeperOptions, RouterState};
use crate::daemon::router::link;
use crate::daemon::router::listeners::Listeners;
use crate::daemon::router::socket;

/// The fastrouter's process and the link to it.
pub(super) struct RouterParts {
    pub(super) state: watch::Receiver<RouterState>,
    pub(super) renewal: Arc<Notify>,
    pub(super) keeper: Part,
    pub(super) link: Part,
}

pub(super) fn keeper_options(
    config: &Config,
    (launcher, board): (&Arc<Launcher>, &Arc<RouteBoard>),
    listeners: Listeners,
    access_log: Option<OwnedFd>,
    left: Vec<LeftFastrouter>,
) -> KeeperOptions {
    KeeperOptions {
        launcher: Arc::clone(launcher),
        listeners,
        access_log,
        link: socket::path(&config.runtime_dir),
        threads: config.router.threads,
        left,
        board: Arc::clone(board),
    }
}

impl RouterParts {
    pub(super) fn start(
        link: UnixListener,
        options: KeeperOptions,
        board: &Arc<RouteBoard>,
    ) -> (Self, PulseMonitor) {
        let (known, state) = watch::channel(RouterState::Starting);
        let uid = options.launcher.router_identity().uid;
        let renewal = Arc::new(Notify::new());
        let channels = KeeperChannels {
            state: known,
            renewal: Arc::clone(&renewal),
        };
        let board = Arc::clone(board);
        let (pulse, monitor) = pulse();
        let parts = Self {
            state,
            renewal,
            link: Part::start(|stop| link::serve(link, board, uid, pulse, stop)),
            keeper: Part::start(|stop| keeper::keep(options, channels, stop)),
        };
        (parts, monitor)
    }
}
