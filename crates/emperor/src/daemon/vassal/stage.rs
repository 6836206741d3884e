//! Workers that a test plays itself, a house around them, and a router that knows everything at
//! once. With the runtime's clock paused, time passes whenever nothing else happens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use imbl::OrdMap;
use site_model::{Incarnation, InstanceNumber, Protocol, RunAs, Service, SiteId, SiteStatus};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use vassal_core::lifecycle::{InstanceMemory, Sight};
use vassal_core::settings::{Health, Ready, StopSignal};
use vassal_core::{Asked, ExitReason, PoolReloads, StatusTold, VassalSpec};

use super::House;
use super::worker::{Spawner, Worker};
use crate::daemon::process::{
    LeftInstance, ProbeFailure, ProbeMiss, SiteMemory, SpawnFailure, Start, TakenOver,
};
use crate::daemon::router::board::RouteBoard;
use crate::daemon::router::settings::fixture::settings;
use crate::daemon::routes::Routes;
use crate::daemon::statuses::{StatusBoard, StatusKeeper};
use crate::daemon::turns::Turns;

/// Plays workers: each is ready at once and ends when it is asked to, unless told otherwise.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Stage {
    next: AtomicU64,
    /// Every worker there ever was, by incarnation.
    workers: Mutex<BTreeMap<u64, Arc<Part>>>,
    /// Users that this machine lacks.
    missing_user: Option<RunAs>,
    /// How often something was preloaded, and what ends the last that succeeded.
    pub(in crate::daemon) preloads: watch::Sender<u64>,
    pub(in crate::daemon) preloaded: Mutex<Option<Weak<Notify>>>,
    /// So many preloads fail.
    pub(in crate::daemon) failing_preloads: AtomicU64,
}

/// What a worker did and was told.
#[derive(Debug)]
pub(in crate::daemon) struct Part {
    pub(in crate::daemon) spec: Arc<VassalSpec>,
    pub(in crate::daemon) end: watch::Sender<Option<ExitReason>>,
    /// Signals and kills, in their order.
    pub(in crate::daemon) told: Mutex<Vec<&'static str>>,
    pub(in crate::daemon) memory_bytes: AtomicU64,
    /// It fails the probes that follow its readiness.
    pub(in crate::daemon) hangs: AtomicBool,
    /// A signal has stopped it.
    pub(in crate::daemon) stopped: watch::Sender<bool>,
}

/// A worker that is played.
#[derive(Debug)]
pub(in crate::daemon) struct Played {
    part: Arc<Part>,
    socket: PathBuf,
}

/// Sites whose slug begins so have workers that ignore their stop signal.
const STUBBORN: &str = "stubborn";

impl Stage {
    /// On a machine that lacks a user.
    pub(in crate::daemon) fn without_user(user: RunAs) -> Self {
        Self {
            missing_user: Some(user),
            ..Self::default()
        }
    }

    /// The worker of an incarnation.
    pub(in crate::daemon) fn worker(&self, incarnation: u64) -> Arc<Part> {
        Arc::clone(&self.workers.lock().unwrap()[&incarnation])
    }

    /// How many workers run.
    pub(in crate::daemon) fn running(&self) -> usize {
        let workers = self.workers.lock().unwrap();
        workers
            .values()
            .filter(|part| part.end.borrow().is_none())
            .count()
    }
}

impl Part {
    /// Its process ends.
    pub(in crate::daemon) fn end(&self, status: i32) {
        self.end.send_replace(Some(ExitReason::Exited { status }));
    }
}

impl Spawner for Stage {
    type Worker = Played;

    fn next_incarnation(&self) -> Incarnation {
        Incarnation::new(self.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    async fn refusal(&self, _: SiteId, run_as: &RunAs) -> Option<String> {
        (self.missing_user.as_ref() == Some(run_as)).then(|| format!("there is no user {run_as}"))
    }

    async fn number_pools(&self, names: Vec<String>) -> Result<BTreeMap<String, SiteId>, String> {
        // By the first letter: always the same, and told apart by tests that name them so.
        let number = |name: &String| SiteId::of_vassal(-i64::from(name.as_bytes()[0]));
        let numbered = names
            .iter()
            .map(|name| (name.clone(), number(name).unwrap()));
        Ok(numbered.collect())
    }

    async fn announce(&self, _: Vec<SiteId>) {}

    async fn spawn(
        &self,
        spec: &Arc<VassalSpec>,
        _: InstanceNumber,
        incarnation: Incarnation,
        _: Start,
    ) -> Result<Played, SpawnFailure> {
        let part = Arc::new(Part {
            spec: Arc::clone(spec),
            end: watch::Sender::new(None),
            told: Mutex::default(),
            memory_bytes: AtomicU64::default(),
            hangs: AtomicBool::default(),
            stopped: watch::Sender::new(false),
        });
        let incarnation = incarnation.get();
        self.workers
            .lock()
            .unwrap()
            .insert(incarnation, Arc::clone(&part));
        Ok(Played {
            part,
            socket: format!("/run/{incarnation}").into(),
        })
    }

    async fn preload(
        &self,
        _: &Arc<VassalSpec>,
        _: Option<Instant>,
    ) -> Result<BoxFuture<'static, ()>, SpawnFailure> {
        self.preloads.send_modify(|count| *count += 1);
        let failing = &self.failing_preloads;
        if failing.load(Ordering::Relaxed) > 0 {
            failing.fetch_sub(1, Ordering::Relaxed);
            return Err(SpawnFailure::FileName("a/b".into()));
        }
        let end = Arc::new(Notify::new());
        *self.preloaded.lock().unwrap() = Some(Arc::downgrade(&end));
        Ok(async move { end.notified().await }.boxed())
    }

    fn is_one_user(&self, run_as: &RunAs) -> bool {
        matches!(run_as, RunAs::User(_))
    }

    /// What is played ends with its stage.
    async fn take_over(&self, _: LeftInstance) -> TakenOver<Played> {
        TakenOver::Ended(ExitReason::Unknown)
    }

    async fn end_left(&self, _: LeftInstance) {}

    fn remember(&self, _: SiteId, _: &SiteMemory) {}

    fn remember_pool(&self, _: SiteId, _: &PoolReloads) {}

    fn renew(&self, _: SiteId, _: Instant) {}
}

fn timed_out() -> ProbeFailure {
    ProbeFailure::TimedOut {
        after: std::time::Duration::from_secs(10),
        last: ProbeMiss::NotListening,
    }
}

impl Worker for Played {
    fn pid(&self) -> u32 {
        1
    }

    fn socket(&self) -> &Path {
        &self.socket
    }

    fn started_at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn missing(&self) -> &[String] {
        &[]
    }

    fn exited(&self) -> impl Future<Output = ExitReason> + Send + 'static {
        let part = Arc::clone(&self.part);
        async move {
            let mut end = part.end.subscribe();
            let ended = end.wait_for(Option::is_some).await.unwrap();
            ended.unwrap()
        }
    }

    fn probe(
        &self,
        _: &Ready,
        _: &Asked,
        _: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static {
        std::future::ready(Ok(()))
    }

    fn check(
        &self,
        _: &Health,
        _: &Asked,
        _: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static {
        let hangs = self.part.hangs.load(Ordering::Relaxed);
        std::future::ready(if hangs { Err(timed_out()) } else { Ok(()) })
    }

    fn memory(&self) -> impl Future<Output = Option<u64>> + Send + 'static {
        std::future::ready(Some(self.part.memory_bytes.load(Ordering::Relaxed)))
    }

    fn look(&self) -> Sight {
        Sight {
            stopped: *self.part.stopped.borrow(),
            ..Sight::default()
        }
    }

    fn stirs(&self) -> BoxStream<'static, ()> {
        let stirs = unfold(self.part.stopped.subscribe(), async |mut stopped| {
            stopped.changed().await.ok()?;
            Some(((), stopped))
        });
        stirs.boxed()
    }

    fn let_go_on(&self) {
        self.part.told.lock().unwrap().push("go on");
        self.part.stopped.send_replace(false);
    }

    fn signal(&self, _: StopSignal) {
        self.part.told.lock().unwrap().push("signal");
        if !self.part.spec.site.slug.as_str().starts_with(STUBBORN) {
            self.part.end(0);
        }
    }

    fn kill_group(&self) {
        self.part.told.lock().unwrap().push("kill");
        let killed = ExitReason::Killed {
            signal: 9,
            core_dumped: false,
        };
        self.part.end.send_replace(Some(killed));
    }

    fn remember(&self, _: &InstanceMemory) {}

    fn last_stderr(&self) -> Vec<String> {
        Vec::new()
    }

    async fn remove(self) {
        self.part.told.lock().unwrap().push("remove");
    }
}

/// Passes statuses to whoever waits for one.
#[derive(Debug, Clone)]
pub(in crate::daemon) struct Watched(watch::Sender<OrdMap<SiteId, StatusTold>>);

impl StatusKeeper for Watched {
    fn report(&self, told: StatusTold) -> bool {
        let mut is_news = false;
        self.0.send_modify(|known| {
            let before = known.insert(told.id(), told.clone());
            is_news = before.as_ref() != Some(&told);
        });
        is_news
    }

    fn forget(&self, site: SiteId) -> bool {
        let mut was_there = false;
        self.0
            .send_modify(|known| was_there = known.remove(&site).is_some());
        was_there
    }

    fn told(&self, site: SiteId) -> Option<StatusTold> {
        self.0.borrow().get(&site).cloned()
    }

    fn all_told(&self) -> OrdMap<SiteId, StatusTold> {
        self.0.borrow().clone()
    }
}

/// A house on a stage.
pub(in crate::daemon) struct Scene {
    pub(in crate::daemon) house: Arc<House<Stage>>,
    pub(in crate::daemon) stage: Arc<Stage>,
    pub(in crate::daemon) board: Arc<RouteBoard>,
    statuses: watch::Receiver<OrdMap<SiteId, StatusTold>>,
}

impl Scene {
    /// With so many start permits.
    pub(in crate::daemon) fn new(stage: Stage, permits: usize) -> Self {
        let board = Arc::new(RouteBoard::new(settings("")));
        board.acknowledge_everything();
        let (sender, statuses) = watch::channel(OrdMap::new());
        let stage = Arc::new(stage);
        let house = House {
            spawner: Arc::clone(&stage),
            turns: Arc::new(Turns::roomy(permits, permits)),
            routes: Arc::new(Routes::new(Arc::clone(&board))),
            statuses: Arc::new(StatusBoard::new(Watched(sender))),
        };
        Self {
            house: Arc::new(house),
            stage,
            board,
            statuses,
        }
    }

    /// Waits until the status of a site is like this; `None`: it has none.
    pub(in crate::daemon) async fn until(
        &mut self,
        site: SiteId,
        like: impl Fn(Option<&SiteStatus>) -> bool,
    ) {
        let known = self.statuses.wait_for(|known| {
            let status = known.get(&site).map(StatusTold::status);
            like(status.as_deref())
        });
        drop(
            tokio::time::timeout(std::time::Duration::from_hours(1), known)
                .await
                .unwrap(),
        );
    }

    /// What is told of a site.
    pub(in crate::daemon) fn status(&self, site: SiteId) -> Option<Arc<SiteStatus>> {
        let known = self.statuses.borrow();
        known.get(&site).map(StatusTold::status)
    }

    /// The incarnations that the route of a site leads to; `None`: it has no route.
    pub(in crate::daemon) fn routed(&self, site: SiteId) -> Option<Vec<u64>> {
        let whole = self.board.whole();
        let route = whole.routes.get(&site)?.route()?;
        Some(match &route.service {
            Service::Ready(backends) => backends.iter().map(|b| b.incarnation.get()).collect(),
            Service::Waiting | Service::Asleep | Service::Pooled(_) | Service::Unavailable(_) => {
                Vec::new()
            }
        })
    }
}
