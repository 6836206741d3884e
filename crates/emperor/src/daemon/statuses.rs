//! The status board: the latest status of every site and what led to it, for the control API.
//!
//! Actors write, anybody reads; nobody waits. The statuses themselves are the registry's, which tells
//! PostgreSQL: very many are not kept twice.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use imbl::OrdMap;
use site_model::{Incarnation, SiteId, SiteState, SiteStatus};
use site_registry::RegistryHandle;
use tokio::sync::watch;
use vassal_core::{ExitReason, StatusTold};

use super::process::{Start, StartTold};
use pooled::Pooled;
pub(crate) use pooled::{PoolTold, Stay};

mod pooled;

/// Where statuses are kept, and go on from. Nothing here may wait.
pub(crate) trait StatusKeeper: fmt::Debug + Send + Sync {
    /// A site has this status now; false: it had the same.
    fn report(&self, told: StatusTold) -> bool;

    /// A site is gone; false: it had no status.
    fn forget(&self, site: SiteId) -> bool;

    /// The status of a site.
    fn told(&self, site: SiteId) -> Option<StatusTold>;

    /// That of every site.
    fn all_told(&self) -> OrdMap<SiteId, StatusTold>;
}

impl StatusKeeper for RegistryHandle {
    fn report(&self, told: StatusTold) -> bool {
        Self::report(self, told)
    }

    fn forget(&self, site: SiteId) -> bool {
        Self::forget(self, site)
    }

    fn told(&self, site: SiteId) -> Option<StatusTold> {
        Self::told(self, site)
    }

    fn all_told(&self) -> OrdMap<SiteId, StatusTold> {
        Self::all_told(self)
    }
}

/// Why the status of a site is another one although nothing happened to itself.
const POOL: &str = "pool";

/// How much of a site's history is kept.
const HISTORY: usize = 20;
/// How many of the last lines of standard error are kept with an exit.
const LINES: usize = 10;

/// What led to a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cause {
    /// Its name: of what was heard.
    pub(crate) reason: &'static str,
    /// The instance it is about, if it is about one.
    pub(crate) incarnation: Option<Incarnation>,
}

impl Cause {
    /// One that is about the vassal.
    pub(crate) const fn of(reason: &'static str) -> Self {
        Self {
            reason,
            incarnation: None,
        }
    }
}

/// A site came into a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Happened {
    /// When.
    pub(crate) at: SystemTime,
    /// The state before; `None`: it is the first that is known.
    pub(crate) from: Option<SiteState>,
    /// Which state.
    pub(crate) to: SiteState,
    /// What led to it.
    pub(crate) cause: Cause,
    /// Why, in words.
    pub(crate) detail: String,
}

/// The main process of an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Which spawn it was.
    pub(crate) incarnation: Incarnation,
    /// When that was noticed.
    pub(crate) at: SystemTime,
    /// How.
    pub(crate) reason: ExitReason,
    /// It had been told to.
    pub(crate) was_asked: bool,
    /// The end of its standard error.
    pub(crate) stderr: Vec<String>,
}

/// What is kept of a site that has run.
#[derive(Debug, Default)]
struct Story {
    /// What the site is called, for as long as something of it is left after its row.
    slug: String,
    /// The latest last, [`HISTORY`] at most.
    happened: VecDeque<Happened>,
    next_try_at: Option<SystemTime>,
    last_start: Option<Start>,
    last_exit: Option<Exit>,
}

/// What is told of a site that has run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoryTold {
    /// What happened to it, the latest last.
    pub(crate) happened: Vec<Happened>,
    /// When it is started again after a failure.
    pub(crate) next_try_at: Option<SystemTime>,
    /// The last start of one of its instances.
    pub(crate) last_start: Option<StartTold>,
    /// How the last of its processes to end did so.
    pub(crate) last_exit: Option<Exit>,
}

/// The latest status of every site.
#[derive(Debug)]
pub(crate) struct StatusBoard {
    sites: Box<dyn StatusKeeper>,
    /// Of sites that have run. One that has only slept has no story.
    stories: Mutex<BTreeMap<SiteId, Story>>,
    /// What is told of pools, and of sites in them.
    pooled: Mutex<Pooled>,
    /// Counts what changed.
    changes: watch::Sender<u64>,
}

impl StatusBoard {
    /// An empty board over statuses that are kept there.
    pub(crate) fn new(sites: impl StatusKeeper + 'static) -> Self {
        Self {
            sites: Box::new(sites),
            stories: Mutex::default(),
            pooled: Mutex::default(),
            changes: watch::Sender::new(0),
        }
    }

    /// Replaces the status of a vassal. That of a pool is told of each of its sites, and of none besides.
    pub(crate) fn report(&self, told: impl Into<StatusTold>, cause: Cause) {
        // Held until it is told, so that what was found out first is.
        let (mut pooled, told) = (self.pooled(), told.into());
        if told.id().is_pool() {
            self.note(&told.status(), cause);
            self.tell();
        }
        for told in pooled.report(told) {
            self.show(told, cause);
        }
    }

    /// Every pool, by name.
    pub(crate) fn pools(&self) -> Vec<PoolTold> {
        self.pooled().all()
    }

    /// One pool.
    pub(crate) fn pool(&self, id: SiteId) -> Option<PoolTold> {
        self.pooled().pool(id)
    }

    /// The pool that answers for a site.
    pub(crate) fn pool_of(&self, site: SiteId) -> Option<SiteId> {
        self.pooled().pool_of(site)
    }

    /// These pools are called so.
    pub(crate) fn name_pools(&self, pools: impl IntoIterator<Item = (String, SiteId)>) {
        self.pooled().name(pools);
    }

    /// The pool with this name.
    pub(crate) fn pool_named(&self, name: &str) -> Option<SiteId> {
        self.pooled().named(name)
    }

    /// Which pool the status of a site depends on from now on.
    pub(crate) fn set_stay(&self, site: SiteId, stay: Option<Stay>) {
        let mut pooled = self.pooled();
        let told = pooled.set_stay(site, stay, self.sites.told(site));
        if let Some(told) = told {
            self.show(told, Cause::of(POOL));
        }
    }

    fn show(&self, told: StatusTold, cause: Cause) {
        self.note(&told.status(), cause);
        if self.sites.report(told) {
            self.tell();
        }
    }

    /// Takes a site off the board.
    pub(crate) fn forget(&self, site: SiteId) {
        self.pooled().forget(site);
        self.stories().remove(&site);
        if self.sites.forget(site) || site.is_pool() {
            self.tell();
        }
    }

    /// How often the board changed: to be followed, and never read for its value.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A site is started again at this time; `None`: no pause runs.
    pub(crate) fn tries_at(&self, site: SiteId, at: Option<SystemTime>) {
        self.stories().entry(site).or_default().next_try_at = at;
        self.tell();
    }

    /// An instance of a site is being started.
    pub(crate) fn started(&self, site: SiteId, start: Start) {
        self.stories().entry(site).or_default().last_start = Some(start);
    }

    /// A process of a site ended.
    pub(crate) fn exited(&self, site: SiteId, mut exit: Exit) {
        exit.stderr.drain(..exit.stderr.len().saturating_sub(LINES));
        self.stories().entry(site).or_default().last_exit = Some(exit);
    }

    /// A site that has run is called so.
    pub(crate) fn call(&self, site: SiteId, slug: &str) {
        if let Some(story) = self.stories().get_mut(&site)
            && story.slug != slug
        {
            slug.clone_into(&mut story.slug);
        }
    }

    /// What a site that has run is called, or was before its row went.
    pub(crate) fn slug(&self, site: SiteId) -> Option<String> {
        Some(self.stories().get(&site)?.slug.clone())
    }

    /// What is known of a site besides its status; nothing, where it has not run.
    pub(crate) fn story(&self, site: SiteId) -> StoryTold {
        // What a pool's processes did is what happened to its sites.
        let pool = self.pooled().pool_of(site);
        let stories = self.stories();
        let happened = stories.get(&site).map(|story| &story.happened);
        let told = stories.get(&pool.unwrap_or(site)).map(|story| StoryTold {
            happened: Vec::new(),
            next_try_at: story.next_try_at,
            last_start: story.last_start.as_ref().map(Start::told),
            last_exit: story.last_exit.clone(),
        });
        StoryTold {
            happened: happened.into_iter().flatten().cloned().collect(),
            ..told.unwrap_or_default()
        }
    }

    /// Keeps what is new about a site.
    fn note(&self, status: &SiteStatus, cause: Cause) {
        let mut stories = self.stories();
        if !stories.contains_key(&status.id) && status.instances.is_empty() {
            return;
        }
        let happened = &mut stories.entry(status.id).or_default().happened;
        let last = happened.back();
        if last.is_some_and(|last| !is_news(last, status)) {
            return;
        }
        let from = last.map(|last| last.to);
        if happened.len() == HISTORY {
            happened.pop_front();
        }
        happened.push_back(Happened {
            at: SystemTime::now(),
            from,
            to: status.state,
            cause,
            detail: status.detail.clone(),
        });
    }

    fn pooled(&self) -> MutexGuard<'_, Pooled> {
        self.pooled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stories(&self) -> MutexGuard<'_, BTreeMap<SiteId, Story>> {
        self.stories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// The status of one site.
    pub(crate) fn get(&self, site: SiteId) -> Option<Arc<SiteStatus>> {
        self.sites.told(site).as_ref().map(StatusTold::status)
    }

    /// All, by id.
    pub(crate) fn all(&self) -> Vec<Arc<SiteStatus>> {
        self.sites
            .all_told()
            .values()
            .map(StatusTold::status)
            .collect()
    }

    /// The states of all, by id.
    pub(crate) fn states(&self) -> Vec<SiteState> {
        self.sites
            .all_told()
            .values()
            .map(StatusTold::state)
            .collect()
    }
}

/// Another state, or another cause of the same. How far a start is stands with the start.
fn is_news(last: &Happened, status: &SiteStatus) -> bool {
    let is_on_its_way = match status.state {
        SiteState::Starting | SiteState::Waking | SiteState::Reloading => true,
        SiteState::Ready
        | SiteState::Sleeping
        | SiteState::BackingOff
        | SiteState::Failed
        | SiteState::Rejected
        | SiteState::Disabled
        | SiteState::Stopping => false,
    };
    last.to != status.state || (!is_on_its_way && last.detail != status.detail)
}

#[cfg(test)]
mod tests {
    use site_model::{Incarnation, InstanceNumber, InstanceState, InstanceStatus, Revision};

    use super::*;

    #[derive(Debug)]
    struct Nowhere;

    impl StatusKeeper for Nowhere {
        fn report(&self, _: StatusTold) -> bool {
            true
        }

        fn forget(&self, _: SiteId) -> bool {
            true
        }

        fn told(&self, _: SiteId) -> Option<StatusTold> {
            None
        }

        fn all_told(&self) -> OrdMap<SiteId, StatusTold> {
            OrdMap::new()
        }
    }

    fn status(state: SiteState, detail: &str, instances: Vec<InstanceStatus>) -> SiteStatus {
        SiteStatus {
            id: SiteId::new(1).unwrap(),
            state,
            detail: detail.to_owned(),
            hosts: vec![],
            revision: None,
            wanted: None,
            restarts: 0,
            instances,
        }
    }

    fn instance() -> InstanceStatus {
        InstanceStatus {
            number: InstanceNumber::new(1),
            incarnation: Incarnation::new(1),
            revision: Revision::from_bytes([1; 16]),
            state: InstanceState::Queued,
            pid: None,
            socket: "/run/s".into(),
            started_at: None,
        }
    }

    #[test]
    fn the_last_changes_of_a_site_that_has_run_are_kept_and_no_others() {
        let board = StatusBoard::new(Nowhere);
        let id = SiteId::new(1).unwrap();
        let heard = Cause::of("heard");
        board.report(status(SiteState::Sleeping, "", vec![]), heard);
        assert_eq!(board.story(id), StoryTold::default(), "it has only slept");
        for try_number in 0..30 {
            let detail = format!("try {try_number}");
            let cause = Cause {
                reason: "exited",
                incarnation: Some(Incarnation::new(try_number)),
            };
            board.report(status(SiteState::Failed, &detail, vec![instance()]), cause);
            board.report(status(SiteState::Failed, &detail, vec![]), heard);
        }
        let happened = board.story(id).happened;
        assert_eq!(happened.len(), HISTORY);
        assert_eq!(happened[0].detail, "try 10");
        assert_eq!(happened[HISTORY - 1].detail, "try 29");
        assert_eq!(happened[0].from, Some(SiteState::Failed));
        assert_eq!(happened[0].cause.incarnation, Some(Incarnation::new(10)));
        board.forget(id);
        assert_eq!(board.story(id), StoryTold::default());
    }

    #[test]
    fn what_has_run_is_called_as_it_was_until_it_is_forgotten() {
        let board = StatusBoard::new(Nowhere);
        let id = SiteId::new(1).unwrap();
        board.call(id, "one");
        assert_eq!(board.slug(id), None, "it has not run");
        let ready = status(SiteState::Ready, "", vec![instance()]);
        board.report(ready, Cause::of("acknowledged"));
        for slug in ["one", "two"] {
            board.call(id, slug);
            assert_eq!(board.slug(id).as_deref(), Some(slug));
        }
        board.forget(id);
        assert_eq!(board.slug(id), None);
    }

    #[test]
    fn the_steps_of_a_start_are_no_history() {
        let board = StatusBoard::new(Nowhere);
        for detail in ["waits for its turn", "its worker is starting"] {
            let status = status(SiteState::Starting, detail, vec![instance()]);
            board.report(status, Cause::of("wanted"));
        }
        let ready = status(SiteState::Ready, "", vec![instance()]);
        board.report(ready, Cause::of("acknowledged"));
        let story = board.story(SiteId::new(1).unwrap());
        let told = story.happened.iter();
        let told: Vec<_> = told.map(|h| (h.from, h.to, h.cause.reason)).collect();
        let starting = (None, SiteState::Starting, "wanted");
        let ready = (Some(SiteState::Starting), SiteState::Ready, "acknowledged");
        assert_eq!(told, [starting, ready]);
    }

    #[test]
    fn the_last_exit_keeps_the_end_of_what_was_said() {
        let board = StatusBoard::new(Nowhere);
        let id = SiteId::new(1).unwrap();
        let exit = Exit {
            incarnation: Incarnation::new(3),
            at: SystemTime::UNIX_EPOCH,
            reason: ExitReason::Exited { status: 1 },
            was_asked: false,
            stderr: (0..LINES + 5).map(|n| format!("line {n}")).collect(),
        };
        board.exited(id, exit.clone());
        let told = board.story(id).last_exit.unwrap();
        assert_eq!(told.stderr, exit.stderr[5..]);
        assert_eq!(told.reason, exit.reason);
    }
}
