//! The launcher: what the rest of the daemon asks for processes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use site_model::{Incarnation, InstanceNumber, RunAs, SiteId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;
use vassal_core::spec::RenderError;
use vassal_core::{ExitReason, InstanceContext, Launch, PoolReloads, VassalSpec};
use wire::exec::Identity;

use super::cgroup::Cgroups;
use super::failure::{Doing, IdentityError, PathFailure, PrepareError, SpawnFailure};
use super::identity::{Account, Identities, IdentityPolicy};
use super::incarnations::Incarnations;
use super::layout::Layout;
use super::left::{self, Left, LeftFastrouter, LeftInstance, TakenOver};
use super::limits::OwnLimits;
use super::memory::{self, SiteMemory};
use super::order::Order;
use super::output::{LogLimits, Logbook};
use super::pools::Pools;
use super::preloading::{Forked, Preloaders, Whom};
use super::priority::Lowered;
use super::programs::OwnPrograms;
use super::reclaim;
use super::room::Room;
use super::running::{RunningInstance, RunningProcess};
use super::spawning::FastrouterOrder;
use super::spawning::fastrouter::{self, Invocation};
use super::spawning::instance;
use super::start::{Start, Step};
use super::tools::Tools;
use crate::runtime::off_the_loop;

/// What the launcher is told at its start.
#[derive(Debug, Clone)]
pub(crate) struct LauncherOptions {
    /// The programs it starts.
    pub(crate) programs: OwnPrograms,
    /// `runtime_dir`
    pub(crate) runtime_dir: PathBuf,
    /// `state_dir`
    pub(crate) state_dir: PathBuf,
    /// `router.run_as`; `None`: `emperor-router` if there is such an account, else a uid of the
    /// range.
    pub(crate) router_run_as: Option<RunAs>,
    /// `policy.uid_range`
    pub(crate) uid_range: RangeInclusive<u32>,
    /// Where emperors of this machine meet that give out uids; `None`: there are no others.
    pub(crate) meeting_place: Option<PathBuf>,
    /// `policy.allow_root`
    pub(crate) allow_root: bool,
    /// `spawn.nice`
    pub(crate) nice: i32,
    /// `logs.max_size`
    pub(crate) log_max_size_bytes: u64,
    /// `logs.keep`
    pub(crate) logs_kept: usize,
}

/// Starts processes. One for the whole daemon, shared by the vassals' actors.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(super) tools: Arc<Tools>,
    pub(super) preloaders: Arc<Preloaders>,
    /// Besides what it does with them: with a handler in place, SIGCHLD is not ignored, even if the
    /// emperor was started that way, and the kernel keeps ended children until they are asked for.
    _halts: AbortOnDropHandle<()>,
    _notebook: AbortOnDropHandle<()>,
}

impl Launcher {
    /// Makes the folders, with the right owners and modes, refuses dangerous ones, and finds out
    /// who the router is to run as.
    ///
    /// Raises the emperor's limit of descriptors.
    pub(crate) async fn prepare(options: LauncherOptions) -> Result<Self, PrepareError> {
        let sigchld =
            signal(SignalKind::child()).doing("handle SIGCHLD for", Path::new("vassals"))?;
        let tools = off_the_loop(move || tools(options)).await?;
        let notebook = Arc::clone(&tools.notebook);
        let keep = async move { notebook.keep().await };
        let halts = Arc::clone(&tools.halts).follow(sigchld);
        Ok(Self {
            tools: Arc::new(tools),
            preloaders: Arc::default(),
            _halts: AbortOnDropHandle::new(tokio::spawn(halts)),
            _notebook: AbortOnDropHandle::new(tokio::spawn(keep)),
        })
    }

    /// Finds what an earlier emperor left running here, and ends what can't be taken over. To be
    /// awaited before the first spawn.
    pub(crate) async fn left(&self) -> Left {
        let tools = Arc::clone(&self.tools);
        let mut left = off_the_loop(move || left::look(&tools.layout)).await;
        let unknown = std::mem::take(&mut left.unknown);
        reclaim::reclaim(unknown).await;
        let instances = self.tools.layout.instances();
        self.tools.cgroups.sweep(instances).await;
        left
    }

    /// Takes an instance over that an earlier emperor started. One that lives and can't be taken
    /// over is ended.
    pub(crate) async fn take_over(&self, left: LeftInstance) -> TakenOver<RunningInstance> {
        let (tools, left) = (Arc::clone(&self.tools), Arc::new(left));
        let taken = Arc::clone(&left);
        let taken = off_the_loop(move || taken.take_over(&tools)).await;
        match taken {
            Ok(Some(instance)) if !instance.process.has_ended() => {
                return TakenOver::Running(Box::new(instance));
            }
            Ok(Some(instance)) => {
                let reason = instance.exited().await;
                instance.remove().await;
                return TakenOver::Ended(reason);
            }
            Ok(None) => {}
            Err(error) => {
                warn!(site = %left.site, %error, "an instance can't be taken over and is ended");
            }
        }
        reclaim::reclaim([left.folder().to_path_buf()]).await;
        TakenOver::Ended(ExitReason::Unknown)
    }

    /// Ends an instance that nobody wants to take over.
    pub(crate) async fn end_left(&self, left: LeftInstance) {
        reclaim::reclaim([left.folder().to_path_buf()]).await;
    }

    /// Takes over a router that an earlier emperor started; `None`: it has ended.
    pub(crate) async fn take_over_fastrouter(
        &self,
        left: LeftFastrouter,
    ) -> Result<Option<RunningProcess>, SpawnFailure> {
        let tools = Arc::clone(&self.tools);
        off_the_loop(move || left.take_over(&tools)).await
    }

    /// Ends a router that an earlier emperor started.
    pub(crate) async fn end_left_fastrouter(&self, left: LeftFastrouter) {
        reclaim::reclaim([left.folder().to_path_buf()]).await;
    }

    /// What a router would be started with now, as far as only a start can change it: its program
    /// and its arguments.
    pub(crate) fn fastrouter_make(&self, threads: usize, has_log: bool) -> String {
        let uid = self.router_identity().uid;
        let program = match std::fs::metadata(&self.tools.programs.fastrouter) {
            Ok(found) => format!(
                "{}:{}:{}.{}:{}",
                found.dev(),
                found.ino(),
                found.mtime(),
                found.mtime_nsec(),
                found.size()
            ),
            // It is being replaced at this moment.
            Err(_) => String::new(),
        };
        format!("program {program} threads {threads} log {has_log} uid {uid}")
    }

    /// Returns once everything that is to be remembered is on the disk.
    pub(crate) async fn settled(&self) {
        self.tools.notebook.write_all().await;
    }

    /// Ends the preloaders. To be awaited once no instance is wanted any more.
    pub(crate) async fn end_preloaders(&self) {
        self.preloaders.end().await;
    }

    /// Has it written down how a site fares, for an emperor that comes after a death.
    pub(crate) fn remember_site(&self, site: SiteId, memory: &SiteMemory) {
        let file = self.tools.layout.sites().join(format!("{site}.json"));
        self.tools.notebook.note(file, memory::site_text(memory));
    }

    /// Has it written down how often new instances of a pool were asked for.
    pub(crate) fn remember_pool(&self, pool: SiteId, reloads: &PoolReloads) {
        let file = self.tools.layout.pool_memory(pool);
        self.tools.notebook.note(file, memory::pool_text(reloads));
    }

    /// A number no spawn ever had. Touches no disk.
    pub(crate) fn next_incarnation(&self) -> Incarnation {
        self.tools.incarnations.next()
    }

    /// The vassals of these pools: of a new one the next number is written down first.
    pub(crate) async fn number_pools(
        &self,
        names: Vec<String>,
    ) -> Result<BTreeMap<String, SiteId>, PathFailure> {
        let tools = Arc::clone(&self.tools);
        off_the_loop(move || tools.pools.number(names)).await
    }

    /// Who the router runs as; its gid is the group of every socket it has to reach.
    pub(crate) fn router_identity(&self) -> &Identity {
        &self.tools.identities.router().identity
    }

    /// Finds out who a site runs as: to reject a row before anything is spawned.
    pub(crate) async fn identity_of(
        &self,
        site: SiteId,
        run_as: &RunAs,
    ) -> Result<Account, IdentityError> {
        let (tools, run_as) = (Arc::clone(&self.tools), run_as.clone());
        off_the_loop(move || tools.identities.of(site, &run_as)).await
    }

    /// Gives a uid to each of these sites that has none, with one writing to disk. Without it, each
    /// gets its own with a writing of its own, when it is first started: a thousand new rows would
    /// wait for a thousand of them.
    pub(crate) async fn assign_identities(&self, sites: Vec<SiteId>) -> Result<(), IdentityError> {
        let tools = Arc::clone(&self.tools);
        off_the_loop(move || tools.identities.assign(&sites)).await
    }

    /// Starts one instance: returns once the worker's own program was executed, or with the step
    /// that failed. Its steps are noted in `start`.
    ///
    /// Cancel safety: dropped midway, what was started is killed; its folder stays until the next
    /// start of the emperor.
    pub(crate) async fn spawn(
        &self,
        spec: &Arc<VassalSpec>,
        number: InstanceNumber,
        incarnation: Incarnation,
        start: Start,
    ) -> Result<RunningInstance, SpawnFailure> {
        let spec = Arc::clone(spec);
        let order = Order::of(&spec, number, incarnation);
        if spec.settings.preload.enabled {
            return self.fork(&spec, order, start).await;
        }
        let render = move |context: &InstanceContext| spec.render(context);
        self.spawn_order(order, start, render).await
    }

    /// As [`spawn`](Self::spawn), from a preloader.
    async fn fork(
        &self,
        spec: &Arc<VassalSpec>,
        order: Order,
        start: Start,
    ) -> Result<RunningInstance, SpawnFailure> {
        let tools = &self.tools;
        let (charter, render) = self.charter(spec).await?;
        start.enter(Step::Preload);
        let env = charter.launch.env.clone();
        let (preloaders, whom) = (&self.preloaders, Whom::Site(order.site));
        let preloader = preloaders.get(tools, whom, charter, render).await?;
        let forked = Forked::fork(&preloader).await?;
        let tools = Arc::clone(tools);
        let prepare = move || instance::prepare_fork(&tools, &order, start, forked, env);
        off_the_loop(prepare).await?.begin().await
    }

    /// Whatever instances of this site are forked from later is to be loaded no earlier than then.
    pub(crate) fn renew(&self, site: SiteId, since: Instant) {
        self.preloaders.renew(site, since);
    }

    /// As [`spawn`](Self::spawn), with any way to render.
    pub(super) async fn spawn_order(
        &self,
        order: Order,
        start: Start,
        render: impl FnOnce(&InstanceContext) -> Result<Launch, RenderError> + Send + 'static,
    ) -> Result<RunningInstance, SpawnFailure> {
        let tools = Arc::clone(&self.tools);
        let prepare = move || instance::prepare(&tools, &order, start, render);
        off_the_loop(prepare).await?.begin().await
    }

    /// Starts the fastrouter. Its output goes to the emperor's log.
    ///
    /// Cancel safety: as of [`spawn`](Self::spawn).
    pub(crate) async fn spawn_fastrouter(
        &self,
        order: FastrouterOrder<'_>,
    ) -> Result<RunningProcess, SpawnFailure> {
        let tools = Arc::clone(&self.tools);
        let invocation = Invocation::new(&tools, &order);
        let prepare = move || fastrouter::prepare(&tools, invocation);
        let prepared = off_the_loop(prepare).await?;
        // Beside its start, for which clients wait: this may wait for the disk, and is for the next.
        let tools = Arc::clone(&self.tools);
        drop(spawn_blocking(move || tools.incarnations.claim_ahead()));
        let FastrouterOrder {
            listeners,
            access_log,
            ..
        } = order;
        prepared.begin_routing(listeners, access_log).await
    }
}

/// Makes the folders and opens what lies in them. Blocks.
fn tools(options: LauncherOptions) -> Result<Tools, PrepareError> {
    let layout = Layout {
        runtime_dir: options.runtime_dir,
        state_dir: options.state_dir,
    };
    layout.prepare()?;
    let policy = IdentityPolicy {
        uid_range: options.uid_range,
        allow_root: options.allow_root,
        router_run_as: options.router_run_as,
        meeting_place: options.meeting_place,
    };
    let logs = layout.logs();
    let limits = OwnLimits::read_and_raise();
    let log_limits = LogLimits {
        max_bytes: options.log_max_size_bytes,
        keep: options.logs_kept,
    };
    Ok(Tools {
        programs: options.programs,
        identities: Identities::open(policy, layout.identities())?,
        incarnations: Incarnations::open(layout.incarnations()),
        pools: Pools::open(layout.pools())?,
        logbook: Logbook::start(logs.clone(), log_limits).doing("start writing", &logs)?,
        limits,
        room: Room::new(limits.descriptors()),
        lowered: Lowered::find(options.nice),
        cgroups: Cgroups::find(&layout.runtime_dir),
        sweeper: Arc::default(),
        halts: Arc::default(),
        notebook: Arc::default(),
        layout,
    })
}
