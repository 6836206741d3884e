//! The supervisor: one task that follows desired state, resolves what changed, plans, and tells
//! the vassals. It never waits for a vassal: what it tells is a level that the vassal reads when it
//! can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use site_model::{RejectionReason, RunAs, SiteId, every_second_first};
use site_registry::{Desired, Row};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::info;
use vassal_core::lifecycle::Haste;
use vassal_core::{Action, Address, Catalog, Pooling, Rejection, Resolution, VassalSpec, Want};

use super::command::{Command, Selection};
use super::process::Left;
use super::pulse::Pulse;
use super::statuses::Stay;
use super::vassal::{House, Spawner, Wish};
use ahead::Ahead;
use settling::Settling;
use vassals::Vassals;

mod ahead;
mod inheritance;
mod pools;
mod settling;
mod vassals;

/// Rows that are resolved, or told of, between two looks at everything else.
const ROWS_AT_ONCE: usize = 64;

/// Why sites can't run as users of the system, by name: asked once for all sites that are told of
/// together.
type Users = BTreeMap<Arc<str>, Option<String>>;

/// What the supervisor is connected to.
#[derive(Debug)]
pub(super) struct Channels {
    /// Desired state.
    pub(super) desired: watch::Receiver<Arc<Desired>>,
    /// What rows are resolved against.
    pub(super) catalog: watch::Receiver<Arc<Catalog>>,
    /// `reload.settle`
    pub(super) settle: watch::Receiver<Duration>,
    /// What operators ask.
    pub(super) commands: mpsc::Receiver<Command>,
    /// How the emperor ends, once it does.
    pub(super) shutdown: watch::Receiver<Option<Haste>>,
    /// Becomes true when desired state was told to the vassals for the first time.
    pub(super) settled: watch::Sender<bool>,
    /// Shows that its loop comes round.
    pub(super) pulse: Pulse,
}

/// The supervisor's state.
#[derive(Debug)]
pub(super) struct Supervisor<S: Spawner> {
    house: Arc<House<S>>,
    channels: Channels,
    /// The rows that `resolution` has.
    rows: OrdMap<SiteId, Row>,
    resolution: Resolution,
    pooling: Pooling,
    settling: Settling,
    /// Sites that stay where they are until the pool they move to serves.
    moving: BTreeMap<SiteId, SiteId>,
    /// Sites whose status depends on a pool's, as was told.
    told_stays: BTreeMap<SiteId, Stay>,
    /// What the vassals were told.
    told: OrdMap<SiteId, Want>,
    /// Those that were told something else, since their user can't be had on this machine.
    refused: BTreeSet<SiteId>,
    vassals: Vassals<S>,
    ahead: Ahead<S>,
    /// What an earlier emperor left, until the rows are known.
    left: Left,
}

impl<S: Spawner> Supervisor<S> {
    /// A supervisor that has told nobody anything yet.
    pub(super) fn new(house: Arc<House<S>>, channels: Channels, mut left: Left) -> Self {
        let catalog = channels.catalog.borrow().clone();
        let settle = *channels.settle.borrow();
        Self {
            vassals: Vassals::new(Arc::clone(&house)),
            ahead: Ahead::new(Arc::clone(&house)),
            house,
            channels,
            rows: OrdMap::new(),
            resolution: Resolution::new(catalog),
            pooling: Pooling::after(std::mem::take(&mut left.pools)),
            settling: Settling::new(settle),
            moving: BTreeMap::new(),
            told_stays: BTreeMap::new(),
            told: OrdMap::new(),
            refused: BTreeSet::new(),
            left,
        }
    }

    /// Runs until the emperor ends and every vassal with it.
    pub(super) async fn run(mut self) {
        let routes = Arc::clone(&self.house.routes);
        let demand = Arc::clone(routes.demand());
        self.follow().await;
        loop {
            self.channels.pulse.turn();
            tokio::select! {
                Ok(()) = self.channels.shutdown.changed() => {
                    if self.end().await {
                        return;
                    }
                }
                Ok(()) = self.channels.desired.changed() => self.follow().await,
                () = settling::until(self.settling.due()) => self.follow().await,
                () = routes.pools_stirred() => self.tell().await,
                Ok(()) = self.channels.catalog.changed() => self.change_catalog().await,
                Ok(()) = self.channels.settle.changed() => {
                    let settle = *self.channels.settle.borrow_and_update();
                    self.settling.change(settle);
                }
                Some(command) = self.channels.commands.recv() => self.obey(command),
                Ok(()) = self.channels.pulse.asked() => {}
                () = demand.called() => self.vassals.wake(demand.take_calls()),
                Some(()) = self.vassals.next_end() => {}
                // The daemon itself is gone, and with it whatever would tell how to end.
                else => return,
            }
        }
    }

    /// Brings the vassals to what the rows say now.
    async fn follow(&mut self) {
        let desired = self.channels.desired.borrow_and_update().clone();
        // Before the first reading the rows are empty, and that means nothing.
        if !desired.is_known() {
            return;
        }
        let now = Instant::now();
        let rows = self.settling.hold(&self.rows, &desired.rows, now);
        self.resolve(&rows).await;
        self.pool().await;
        if *self.channels.settled.borrow() {
            return self.tell().await;
        }
        self.inherit();
        self.tell().await;
        // Whoever is left has no row.
        self.vassals.begin_left(&Wish::Removed);
        // A router that outlived an emperor has a whole table: the next one must not know less.
        self.vassals.begun().await;
        self.house.routes.open();
        self.channels.settled.send_replace(true);
    }

    /// Finds out what each instance runs that an earlier emperor left.
    fn inherit(&mut self) {
        let left = std::mem::take(&mut self.left);
        let (wants, catalog) = (self.pooling.wants(), self.resolution.catalog());
        self.vassals.inherit(left, wants, catalog);
    }

    async fn resolve(&mut self, rows: &OrdMap<SiteId, Row>) {
        let before = std::mem::replace(&mut self.rows, rows.clone());
        for (count, change) in every_second_first(before.diff(rows)).enumerate() {
            match change {
                DiffItem::Add(_, row) | DiffItem::Update { new: (_, row), .. } => match row {
                    Row::Site(site) => self.resolution.set_site(site),
                    Row::Rejected(rejected) => {
                        let reason = rejected.reason.clone();
                        self.resolution.set_rejected(rejected.id, reason);
                    }
                },
                DiffItem::Remove(id, _) => self.resolution.remove(*id),
            }
            pause_after(count).await;
        }
    }

    /// Every row is resolved anew; only those that became something else are told.
    async fn change_catalog(&mut self) {
        let catalog = self.channels.catalog.borrow_and_update().clone();
        self.resolution = self.resolution.with_catalog(catalog);
        // Accounts may have been made meanwhile.
        for id in std::mem::take(&mut self.refused) {
            self.told.remove(&id);
        }
        self.pool().await;
        self.tell_vassals().await;
        let admitted = self.told.iter();
        let admitted = admitted.filter(|(id, _)| !self.refused.contains(id));
        self.ahead.recount(admitted.map(|(_, want)| want));
    }

    /// Tells the vassals what differs from what they were told, and begins what they are forked from.
    async fn tell(&mut self) {
        self.tell_vassals().await;
        self.ahead.begin();
    }

    async fn tell_vassals(&mut self) {
        let (wants, actions) = self.due();
        // Whoever gains or loses a host does so before anybody who is told of it publishes a route.
        self.house.routes.assign(self.resolution.hosts());
        self.announce(&actions).await;
        let before = std::mem::replace(&mut self.told, wants);
        self.tell_stays(actions.iter().map(|(id, _)| *id));
        let (mut users, since) = (Users::new(), Instant::now());
        // Nobody is led to a pool that isn't in the table yet.
        let (pools, sites): (Vec<_>, Vec<_>) =
            actions.into_iter().partition(|(id, _)| id.is_pool());
        let ordered = pools.into_iter().chain(every_second_first(sites));
        for (count, (id, action)) in ordered.enumerate() {
            let was = before.get(&id).filter(|_| !self.refused.contains(&id));
            match action {
                Action::Start(want) | Action::Update(want) => {
                    let want = self.admitted(id, want, &mut users).await;
                    self.ahead.change(was, Some(&want), since);
                    self.vassals.want(id, want, since);
                }
                Action::Remove => {
                    self.ahead.change(was, None, since);
                    self.vassals.remove(id);
                }
            }
            pause_after(count).await;
        }
    }

    async fn announce(&self, actions: &[(SiteId, Action)]) {
        let own_user = |(id, action): &(SiteId, Action)| match action {
            Action::Start(Want::Run(spec)) | Action::Update(Want::Run(spec)) => {
                (spec.run_as == RunAs::Auto && !spec.begins_asleep()).then_some(*id)
            }
            Action::Start(_) | Action::Update(_) | Action::Remove => None,
        };
        let sites: Vec<_> = actions.iter().filter_map(own_user).collect();
        if !sites.is_empty() {
            self.house.spawner.announce(sites).await;
        }
    }

    /// What is wanted, or its rejection where this machine lacks the user.
    async fn admitted(&mut self, id: SiteId, want: Want, users: &mut Users) -> Want {
        self.refused.remove(&id);
        let Want::Run(spec) = &want else {
            return want;
        };
        let refusal = self.refusal(id, spec, users).await;
        match refusal {
            None => want,
            Some(reason) => {
                self.refused.insert(id);
                Rejection {
                    reason: RejectionReason::RunAs(reason),
                    address: Some(Arc::new(Address::from(&**spec))),
                }
                .into()
            }
        }
    }

    /// Why this machine lacks the user of a site.
    async fn refusal(&self, id: SiteId, spec: &VassalSpec, users: &mut Users) -> Option<String> {
        let spawner = &self.house.spawner;
        let name = match &spec.run_as {
            // It gets a user of its own when it first wakes, as it may never do.
            RunAs::Auto if spec.begins_asleep() => return None,
            RunAs::Auto => return spawner.refusal(id, &spec.run_as).await,
            RunAs::User(name) => name,
        };
        if let Some(known) = users.get(name) {
            return known.clone();
        }
        let refusal = spawner.refusal(id, &spec.run_as).await;
        users.insert(Arc::clone(name), refusal.clone());
        refusal
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reload(selection, answer) => {
                let reloaded = self.reload(selection);
                // Whoever asked and went away gets no answer.
                drop(answer.send(reloaded));
            }
            Command::Tell(vassal, answer) => {
                let want = self.pooling.wants().get(&vassal).cloned();
                drop(answer.send(want));
            }
        }
    }

    fn reload(&mut self, selection: Selection) -> Vec<SiteId> {
        let selected = match selection {
            Selection::All => self.vassals.ids(),
            Selection::Sites(sites) => sites,
        };
        let runs = |id: &SiteId| {
            let told = self.told.get(id);
            matches!(told, Some(Want::Run(_) | Want::Pooled(_)))
        };
        let reloaded: Vec<_> = selected.into_iter().filter(runs).collect();
        let vassals = self.vassals_of(&reloaded);
        let since = Instant::now();
        for vassal in &vassals {
            self.vassals.reload(*vassal, since);
            if let Some(want) = self.told.get(vassal) {
                self.ahead.renew(want, since);
            }
        }
        // Who shares a worker with one that was meant gets the new one as well.
        let shared = vassals.iter().flat_map(|pool| self.pooling.sites_of(*pool));
        let sites = reloaded.iter().copied().chain(shared);
        let concerned: BTreeSet<_> = sites.filter(|id| !id.is_pool()).collect();
        concerned.into_iter().collect()
    }

    /// Ends every vassal, the more quickly the second time it is asked to. False: it may be asked
    /// again.
    async fn end(&mut self) -> bool {
        let Some(haste) = *self.channels.shutdown.borrow_and_update() else {
            return false;
        };
        info!(
            vassals = self.vassals.len(),
            ?haste,
            "the vassals are told to end"
        );
        self.ahead.clear();
        self.vassals.shut_down(haste);
        self.inherit();
        self.vassals.begin_left(&Wish::Shutdown(haste));
        loop {
            tokio::select! {
                more = self.vassals.one_gone() => if !more {
                    return true;
                },
                Ok(()) = self.channels.shutdown.changed() => return Box::pin(self.end()).await,
            }
        }
    }
}

/// Lets others have their turn after so many rows.
async fn pause_after(count: usize) {
    if count % ROWS_AT_ONCE == ROWS_AT_ONCE - 1 {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests;
