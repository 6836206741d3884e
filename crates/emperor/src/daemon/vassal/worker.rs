//! What an actor needs of the process layer. Traits, so that actors are tested with workers that a
//! test plays itself, and a paused clock.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use site_model::{Incarnation, InstanceNumber, Protocol, RunAs, SiteId};
use tokio::time::Instant;
use vassal_core::lifecycle::{InstanceMemory, Prospect, Sight};
use vassal_core::settings::{Health, Ready, StopSignal};
use vassal_core::{Asked, ExitReason, PoolReloads, VassalSpec};

use crate::daemon::process::{
    Launcher, LeftInstance, ProbeFailure, RunningInstance, SiteMemory, SpawnFailure, Start,
    TakenOver, pss_bytes,
};

/// Starts workers.
pub(in crate::daemon) trait Spawner: fmt::Debug + Send + Sync + 'static {
    /// What it starts.
    type Worker: Worker;

    /// A number no spawn ever had.
    fn next_incarnation(&self) -> Incarnation;

    /// Why this user can't be had for a site on this machine, which no row can tell; `None`: it
    /// can.
    fn refusal(&self, site: SiteId, run_as: &RunAs) -> impl Future<Output = Option<String>> + Send;

    /// The vassals of these pools, always the same for each; or why they can't be told.
    fn number_pools(
        &self,
        names: Vec<String>,
    ) -> impl Future<Output = Result<BTreeMap<String, SiteId>, String>> + Send;
    /// Sites with users of their own are about to start: all at once costs less than one by one.
    fn announce(&self, sites: Vec<SiteId>) -> impl Future<Output = ()> + Send;

    /// Starts one instance, and notes its steps.
    fn spawn(
        &self,
        spec: &Arc<VassalSpec>,
        number: InstanceNumber,
        incarnation: Incarnation,
        start: Start,
    ) -> impl Future<Output = Result<Self::Worker, SpawnFailure>> + Send;

    /// Has loaded what instances of a specification are forked from, no earlier than then. It is kept
    /// until what is returned is dropped, which resolves once another is needed.
    fn preload(
        &self,
        spec: &Arc<VassalSpec>,
        since: Option<Instant>,
    ) -> impl Future<Output = Result<BoxFuture<'static, ()>, SpawnFailure>> + Send;

    /// Whether all sites which run as this are of one user.
    fn is_one_user(&self, run_as: &RunAs) -> bool;

    /// Takes over an instance that an earlier emperor started.
    fn take_over(&self, left: LeftInstance)
    -> impl Future<Output = TakenOver<Self::Worker>> + Send;

    /// Ends an instance that an earlier emperor started.
    fn end_left(&self, left: LeftInstance) -> impl Future<Output = ()> + Send;

    /// Has it written down how a site fares, for an emperor that comes after a death.
    fn remember(&self, site: SiteId, memory: &SiteMemory);

    /// Has it written down how often new instances of a pool were asked for; nothing: it is no more.
    fn remember_pool(&self, pool: SiteId, reloads: &PoolReloads);

    /// New instances of a site were asked for although nothing of it changed: what they are made of may
    /// have. Nothing that was loaded before then is to be in them.
    fn renew(&self, site: SiteId, since: Instant);
}

/// A running worker. Dropped, it is killed.
pub(in crate::daemon) trait Worker: Send + 'static {
    /// Its main process.
    fn pid(&self) -> u32;

    /// Where it listens.
    fn socket(&self) -> &Path;

    /// When it was started.
    fn started_at(&self) -> SystemTime;

    /// Limits and walls that were asked for and that it runs without.
    fn missing(&self) -> &[String];

    /// Resolves once its main process has ended.
    fn exited(&self) -> impl Future<Output = ExitReason> + Send + 'static;

    /// Resolves once it is ready, or its time is up.
    fn probe(
        &self,
        ready: &Ready,
        asked: &Asked,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static;

    /// Resolves once it has answered as it should, or not in time.
    fn check(
        &self,
        health: &Health,
        asked: &Asked,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static;

    /// The memory of its process group, in bytes, shared pages counted in shares; `None`: it can't be
    /// told.
    fn memory(&self) -> impl Future<Output = Option<u64>> + Send + 'static;

    /// What can be seen of it without asking it.
    fn look(&self) -> Sight;

    /// An item for each time that there is something new to see that can't wait.
    fn stirs(&self) -> BoxStream<'static, ()>;

    /// Lets it go on where it was stopped.
    fn let_go_on(&self);

    /// Sends a signal to its main process.
    fn signal(&self, signal: StopSignal);

    /// Kills its whole process group.
    fn kill_group(&self);

    /// Has it written down how far it is, for an emperor that comes after a death.
    fn remember(&self, memory: &InstanceMemory);

    /// The last lines of its standard error.
    fn last_stderr(&self) -> Vec<String>;

    /// Removes what it leaves behind.
    fn remove(self) -> impl Future<Output = ()> + Send;
}

impl Spawner for Launcher {
    type Worker = RunningInstance;

    fn next_incarnation(&self) -> Incarnation {
        Self::next_incarnation(self)
    }

    async fn refusal(&self, site: SiteId, run_as: &RunAs) -> Option<String> {
        let refused = self.identity_of(site, run_as).await.err()?;
        // What may pass is met again by the spawn, which is tried again.
        (refused.prospect() == Prospect::Lasting).then(|| refused.to_string())
    }

    async fn number_pools(&self, names: Vec<String>) -> Result<BTreeMap<String, SiteId>, String> {
        Self::number_pools(self, names)
            .await
            .map_err(|error| error.to_string())
    }

    async fn announce(&self, sites: Vec<SiteId>) {
        if let Err(error) = self.assign_identities(sites).await {
            tracing::error!(%error, "sites can't be given users of their own");
        }
    }

    async fn spawn(
        &self,
        spec: &Arc<VassalSpec>,
        number: InstanceNumber,
        incarnation: Incarnation,
        start: Start,
    ) -> Result<RunningInstance, SpawnFailure> {
        Self::spawn(self, spec, number, incarnation, start).await
    }

    async fn preload(
        &self,
        spec: &Arc<VassalSpec>,
        since: Option<Instant>,
    ) -> Result<BoxFuture<'static, ()>, SpawnFailure> {
        Self::preload(self, spec, since).await
    }

    fn is_one_user(&self, run_as: &RunAs) -> bool {
        Self::is_one_user(self, run_as)
    }

    async fn take_over(&self, left: LeftInstance) -> TakenOver<RunningInstance> {
        Self::take_over(self, left).await
    }

    async fn end_left(&self, left: LeftInstance) {
        Self::end_left(self, left).await;
    }

    fn remember(&self, site: SiteId, memory: &SiteMemory) {
        self.remember_site(site, memory);
    }

    fn remember_pool(&self, pool: SiteId, reloads: &PoolReloads) {
        Self::remember_pool(self, pool, reloads);
    }

    fn renew(&self, site: SiteId, since: Instant) {
        Self::renew(self, site, since);
    }
}

impl Worker for RunningInstance {
    fn pid(&self) -> u32 {
        Self::pid(self)
    }

    fn socket(&self) -> &Path {
        Self::socket(self)
    }

    fn started_at(&self) -> SystemTime {
        Self::started_at(self)
    }

    fn missing(&self) -> &[String] {
        Self::missing(self)
    }

    fn exited(&self) -> impl Future<Output = ExitReason> + Send + 'static {
        Self::exited(self)
    }

    fn probe(
        &self,
        ready: &Ready,
        asked: &Asked,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static {
        Self::probe(self, ready, asked, protocol)
    }

    fn check(
        &self,
        health: &Health,
        asked: &Asked,
        protocol: Protocol,
    ) -> impl Future<Output = Result<(), ProbeFailure>> + Send + 'static {
        Self::check(self, health, asked, protocol)
    }

    fn memory(&self) -> impl Future<Output = Option<u64>> + Send + 'static {
        let session = self.pid();
        async move {
            let measured = tokio::task::spawn_blocking(move || pss_bytes(session));
            measured.await.ok().flatten()
        }
    }

    fn look(&self) -> Sight {
        Self::look(self)
    }

    fn stirs(&self) -> BoxStream<'static, ()> {
        Self::stirs(self)
    }

    fn let_go_on(&self) {
        Self::let_go_on(self);
    }

    fn signal(&self, signal: StopSignal) {
        Self::signal(self, signal);
    }

    fn kill_group(&self) {
        Self::kill_group(self);
    }

    fn remember(&self, memory: &InstanceMemory) {
        Self::remember(self, memory);
    }

    fn last_stderr(&self) -> Vec<String> {
        Self::last_stderr(self)
    }

    async fn remove(self) {
        Self::remove(self).await;
    }
}
