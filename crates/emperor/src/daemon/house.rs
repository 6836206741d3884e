//! The house while it is open: every task of the daemon, with its owner.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use site_registry::cluster::{ClusterError, ClusterState, PrivateCluster};
use site_registry::{ConnectionState, ConnectionStatus, Registry, RegistryHandle};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use vassal_core::Catalog;
use vassal_core::lifecycle::Haste;
use wire::route::Settings;

use super::command::{COMMANDS, Command, RereadCommand};
use super::foundation::Foundation;
use super::handle::{Handle, Shared};
use super::lock::FolderLock;
use super::process::{Launcher, Left};
use super::pulse::{PulseMonitor, pulse};
use super::router::board::RouteBoard;
use super::router::settings::settings;
use super::routes::Routes;
use super::service_manager::Subject;
use super::statuses::StatusBoard;
use super::supervisor::{Channels, Supervisor};
use super::turns::Turns;
use super::vassal;
use crate::config::Config;
use crate::control;

mod database;
mod part;
mod purging;
mod router_parts;

use database::database;
use part::Part;
use purging::PurgingPart;
use router_parts::{RouterParts, keeper_options};

pub(crate) use database::OpenError;

/// An open house, and who speaks with its main loop.
pub(super) struct Opened {
    pub(super) house: House,
    /// For the service manager.
    pub(super) subject: Subject,
    /// Who wants everything read again.
    pub(super) rereads: mpsc::Receiver<RereadCommand>,
}

/// Every task of the daemon. Dropped, they end, and the processes they hold with them.
pub(super) struct House {
    board: Arc<RouteBoard>,
    launcher: Arc<Launcher>,
    router: RouterParts,
    supervisor: SupervisorPart,
    control: Part,
    purging: PurgingPart,
    registry: Registry,
    cluster: Option<PrivateCluster>,
    /// The last to go.
    _locks: [FolderLock; 2],
}

/// The supervisor, and the levels it follows.
struct SupervisorPart {
    catalog: watch::Sender<Arc<Catalog>>,
    settle: watch::Sender<Duration>,
    shutdown: watch::Sender<Option<Haste>>,
    settled: watch::Receiver<bool>,
    part: Part,
}

impl House {
    /// Starts everything at once: the fastrouter takes connections and the control API answers while
    /// the database is being reached.
    pub(super) fn open(config: &Config, foundation: Foundation) -> Result<Opened, OpenError> {
        let Foundation {
            locks,
            catalog,
            listeners,
            launcher,
            control,
            link,
            access_log,
            mut left,
        } = foundation;
        // Before anything that an earlier emperor left is taken over: what is refused leaves it alone.
        let (cluster, target) = database(config)?;
        let board = Arc::new(RouteBoard::new(settings(&config.router, &config.state_dir)));
        let listen = listeners.addresses().to_vec();
        let routers = std::mem::take(&mut left.fastrouters);
        let options = keeper_options(config, (&launcher, &board), listeners, access_log, routers);
        let (router, link_pulse) = RouterParts::start(link, options, &board);
        let (registry, purging) = database::follow(config, target, cluster.as_ref(), &board);
        let statuses = Arc::new(StatusBoard::new(registry.handle()));
        let turns = Arc::new(Turns::new(max_starting(config), &config.rollout));
        let vassals = vassals(Arc::clone(&launcher), &turns, &board, &statuses);
        let (supervisor, orders, supervisor_pulse) = SupervisorPart::start(
            vassals,
            &registry.handle(),
            catalog,
            (config.reload_settle, left),
        );
        let (reread, rereads) = mpsc::channel(COMMANDS);
        let subject = subject(&statuses, &registry, vec![supervisor_pulse, link_pulse]);
        let handle = Handle::new(Shared {
            node: config.node.clone(),
            state_dir: config.state_dir.clone(),
            started_at: SystemTime::now(),
            registry: registry.handle(),
            statuses,
            turns,
            routes: Arc::clone(&board),
            listen,
            router: router.state.clone(),
            commands: orders,
            rereads: reread,
            catalog: supervisor.catalog.subscribe(),
            purges: purging.purges(),
        });
        let house = Self {
            board,
            launcher,
            router,
            supervisor,
            control: Part::start(|stop| serve_control(control, handle, stop)),
            purging,
            registry,
            cluster,
            _locks: locks,
        };
        Ok(Opened {
            house,
            subject,
            rereads,
        })
    }

    /// Resolves once requests are served as the rows want it: the router is connected, and desired
    /// state was told to the vassals. Where the database can't be had and there is no snapshot
    /// either, nothing more can be done: a service manager that went on waiting would only end what
    /// tries.
    pub(super) fn ready(&self) -> impl Future<Output = ()> + 'static {
        let (mut peer, mut settled) = (self.board.peer(), self.supervisor.settled.clone());
        let registry = self.registry.handle();
        async move {
            // Who sends these is gone only when the house is, and then nobody waits for it.
            tokio::select! {
                settled = settled.wait_for(|settled| *settled) => drop(settled),
                () = without_rows(&registry) => {}
            }
            drop(peer.wait_for(Option::is_some).await);
        }
    }

    /// Resolves when the private cluster doesn't start, with the cause; never without one. Cancel
    /// safe.
    pub(super) fn cluster_failed(&self) -> impl Future<Output = Arc<ClusterError>> + 'static {
        let state = self.cluster.as_ref().map(PrivateCluster::state);
        async move {
            if let Some(mut state) = state {
                let failed = |state: &ClusterState| matches!(state, ClusterState::Failed(_));
                if let Ok(ClusterState::Failed(cause)) = state.wait_for(failed).await.as_deref() {
                    return Arc::clone(cause);
                }
            }
            std::future::pending().await
        }
    }

    /// Resolves when a part that should run for ever has ended, and says which.
    pub(super) async fn broken(&mut self) -> &'static str {
        tokio::select! {
            () = self.supervisor.part.ended() => "the supervisor",
            () = self.router.keeper.ended() => "the fastrouter's keeper",
            () = self.router.link.ended() => "the fastrouter's link",
            () = self.control.ended() => "the control API",
            () = self.purging.ended() => "what follows purges",
        }
    }

    pub(super) fn registry(&self) -> RegistryHandle {
        self.registry.handle()
    }

    /// Takes over what a changed configuration says.
    pub(super) fn reconfigure(&self, catalog: Arc<Catalog>, settings: Settings, settle: Duration) {
        self.board.set_settings(settings);
        self.supervisor.catalog.send_replace(catalog);
        self.supervisor.settle.send_replace(settle);
    }

    /// Others keep pages than before.
    pub(super) async fn renew_purging(&mut self, config: &Config) {
        self.purging.renew(config).await;
    }

    /// Returns once everything that the next emperor has to know is written down.
    pub(super) async fn remembered(&self) {
        self.launcher.settled().await;
    }

    /// Replaces the fastrouter, without a lost request, where its program is another one by now.
    pub(super) fn renew_router(&self) {
        self.router.renewal.notify_one();
    }

    /// Lets the fastrouter end its requests, and ends it.
    pub(super) async fn stop_router(&mut self) {
        self.router.keeper.stop.cancel();
        self.router.keeper.ended().await;
        self.router.link.stop.cancel();
        self.router.link.ended().await;
    }

    pub(super) fn stop_vassals(&self, haste: Haste) {
        self.board.lost_hosts().close();
        self.supervisor.shutdown.send_replace(Some(haste));
    }

    pub(super) async fn vassals_gone(&mut self) {
        self.supervisor.part.ended().await;
    }

    /// Ends what is left, the private cluster last.
    pub(super) async fn close(mut self) {
        self.control.end().await;
        self.purging.end().await;
        self.registry.shutdown().await;
        if let Some(cluster) = self.cluster
            && let Err(error) = cluster.stop().await
        {
            error!(%error, "the private PostgreSQL did not end in order");
        }
        self.launcher.end_preloaders().await;
        self.launcher.settled().await;
        info!("ended");
    }
}

impl SupervisorPart {
    fn start(
        vassals: vassal::House<Launcher>,
        registry: &RegistryHandle,
        catalog: Arc<Catalog>,
        (settle, left): (Duration, Left),
    ) -> (Self, mpsc::Sender<Command>, PulseMonitor) {
        let (catalog, catalogs) = watch::channel(catalog);
        let (settle, settles) = watch::channel(settle);
        let (shutdown, shutdowns) = watch::channel(None);
        let (settling, settled) = watch::channel(false);
        let (commands, obeyed) = mpsc::channel(COMMANDS);
        let (pulse, monitor) = pulse();
        let channels = Channels {
            desired: registry.desired(),
            catalog: catalogs,
            settle: settles,
            commands: obeyed,
            shutdown: shutdowns,
            settled: settling,
            pulse,
        };
        let supervisor = Supervisor::new(Arc::new(vassals), channels, left);
        let part = Self {
            catalog,
            settle,
            shutdown,
            settled,
            part: Part::start(|_| supervisor.run()),
        };
        (part, commands, monitor)
    }
}

/// Resolves once the database can't be had and nothing is known of an earlier reading.
async fn without_rows(registry: &RegistryHandle) {
    let is_lost = |status: &ConnectionStatus| matches!(status.state, ConnectionState::Lost(_));
    drop(registry.connection().wait_for(is_lost).await);
    // Before a link is called lost, the snapshot is looked for.
    if registry.desired().borrow().is_known() {
        std::future::pending::<()>().await;
    }
}

fn vassals(
    launcher: Arc<Launcher>,
    turns: &Arc<Turns>,
    board: &Arc<RouteBoard>,
    statuses: &Arc<StatusBoard>,
) -> vassal::House<Launcher> {
    vassal::House {
        spawner: launcher,
        turns: Arc::clone(turns),
        routes: Arc::new(Routes::new(Arc::clone(board))),
        statuses: Arc::clone(statuses),
    }
}

fn subject(statuses: &Arc<StatusBoard>, rows: &Registry, loops: Vec<PulseMonitor>) -> Subject {
    Subject {
        statuses: Arc::clone(statuses),
        registry: rows.handle(),
        loops,
    }
}

/// How many instances may be on their way at once, those that replace others apart.
fn max_starting(config: &Config) -> usize {
    match config.spawn.max_starting {
        0 => 2 * std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    }
}

async fn serve_control(socket: control::ControlSocket, handle: Handle, stop: CancellationToken) {
    if let Err(error) = control::serve(socket, handle, stop).await {
        error!(%error, "the control API can't be served");
    }
}
