//! What an actor holds in the real world: its processes, its start permits, and everything it
//! waits for. Dropped, all of it ends.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, StreamExt};
use site_model::{Incarnation, InstanceNumber, SiteId};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use vassal_core::lifecycle::{Event, InstanceMemory, Process, Ticket, Turn};
use vassal_core::settings::StopSignal;
use vassal_core::{ExitReason, VassalSpec};

use super::worker::{Spawner, Worker};
use crate::daemon::process::{Outcome, ProbeFailure, SpawnFailure, Start, Step};
use crate::daemon::routes::Routes;
use crate::daemon::turns::{Attempt, AwaitedBy, Permit, Turns};

/// The processes and permits of one vassal.
pub(super) struct Children<S: Spawner> {
    workers: BTreeMap<Incarnation, Child<S::Worker>>,
    places: BTreeMap<Ticket, Place>,
    /// At most one future for each process and question; each is dropped with the actor.
    awaited: FuturesUnordered<Awaited<S::Worker>>,
    /// How many folders are being removed.
    removing: usize,
    /// Starts that go on.
    starts: BTreeMap<Incarnation, Start>,
    /// How the last start that came to an end by itself ended.
    attempt: Attempt,
    /// How long the spawn that is permitted now has waited for that.
    waited: Duration,
}

type Awaited<W> = Pin<Box<dyn Future<Output = Happening<W>> + Send>>;

struct Child<W> {
    worker: W,
    /// Cancels its probe.
    probe: Option<DropGuard>,
}

/// A place in the queue for a permit, or the permit.
enum Place {
    Waiting {
        since: Instant,
        #[expect(dead_code, reason = "dropped, it leaves the queue")]
        place: DropGuard,
    },
    Held(Incarnation, Permit),
}

/// Something that was waited for.
enum Happening<W> {
    Permitted(Ticket, Permit),
    Spawned(Incarnation, Result<W, SpawnFailure>),
    Probed(Incarnation, Result<(), ProbeFailure>),
    Exited(Incarnation, ExitReason),
    Idle(Incarnation),
    Checked(Incarnation, Result<(), ProbeFailure>),
    Measured(Incarnation, Option<u64>),
    /// There is something new to see, and more may come.
    Stirred(Incarnation, BoxStream<'static, ()>),
    Removed,
    /// Nobody wanted to know any more.
    Cancelled,
}

impl<S: Spawner> Children<S> {
    pub(super) fn new() -> Self {
        Self {
            workers: BTreeMap::new(),
            places: BTreeMap::new(),
            awaited: FuturesUnordered::new(),
            removing: 0,
            starts: BTreeMap::new(),
            attempt: Attempt::First,
            waited: Duration::ZERO,
        }
    }

    /// Nothing is left, not even a folder.
    pub(super) fn are_gone(&self) -> bool {
        self.workers.is_empty() && self.removing == 0
    }

    /// Waits for the next thing to happen. Cancel safe: what happened stays until it is taken.
    pub(super) async fn next(&mut self, spawner: &S) -> Event {
        loop {
            let Some(happening) = self.awaited.next().await else {
                return std::future::pending().await;
            };
            if let Some(event) = self.take_in(happening, spawner) {
                return event;
            }
        }
    }

    pub(super) fn ask_permit(&mut self, ticket: Ticket, turn: Turn, site: SiteId, turns: &Turns) {
        let permit: Pin<Box<dyn Future<Output = Permit> + Send>> = match turn {
            Turn::Awaited => Box::pin(turns.start(AwaitedBy::Visitors, self.attempt)),
            Turn::Start => Box::pin(turns.start(AwaitedBy::Nobody, self.attempt)),
            Turn::Replacement => Box::pin(turns.replace(site, self.memory_of_newest())),
        };
        let leave = CancellationToken::new();
        let place = Place::Waiting {
            since: Instant::now(),
            place: leave.clone().drop_guard(),
        };
        self.places.insert(ticket, place);
        self.awaited.push(Box::pin(async move {
            match leave.run_until_cancelled_owned(permit).await {
                Some(permit) => Happening::Permitted(ticket, permit),
                None => Happening::Cancelled,
            }
        }));
    }

    /// Something else is wanted: it has not failed yet.
    pub(super) fn expect_success(&mut self) {
        self.attempt = Attempt::First;
    }

    pub(super) fn return_permit(&mut self, ticket: Ticket) {
        self.places.remove(&ticket);
    }

    /// Returns where its steps are noted.
    pub(super) fn spawn(
        &mut self,
        spawner: &Arc<S>,
        spec: Arc<VassalSpec>,
        number: InstanceNumber,
        incarnation: Incarnation,
    ) -> Start {
        let spawner = Arc::clone(spawner);
        let start = Start::begin(incarnation, std::mem::take(&mut self.waited));
        self.starts.insert(incarnation, start.clone());
        let noted = start.clone();
        self.awaited.push(Box::pin(async move {
            let worker = spawner.spawn(&spec, number, incarnation, noted).await;
            Happening::Spawned(incarnation, worker)
        }));
        start
    }

    /// The route that those who were found ready wait for is in the table.
    pub(super) fn published(&self) {
        for start in self.starts.values() {
            start.pass(Step::Publish, Step::Acknowledge);
        }
    }

    /// A start comes to its end; where it has one already, nothing.
    pub(super) fn end_start(&mut self, incarnation: Incarnation, outcome: Outcome) {
        if let Some(start) = self.starts.remove(&incarnation) {
            start.end(outcome);
        }
    }

    pub(super) fn probe(&mut self, incarnation: Incarnation, spec: &VassalSpec) {
        let Some(child) = self.workers.get_mut(&incarnation) else {
            return;
        };
        let ready = &spec.settings.ready;
        let probe = child.worker.probe(ready, &spec.asked(), spec.protocol);
        let cancel = CancellationToken::new();
        child.probe = Some(cancel.clone().drop_guard());
        self.awaited.push(Box::pin(async move {
            match cancel.run_until_cancelled_owned(probe).await {
                Some(probed) => Happening::Probed(incarnation, probed),
                None => Happening::Cancelled,
            }
        }));
    }

    pub(super) fn await_idle(
        &mut self,
        routes: Arc<Routes>,
        site: SiteId,
        incarnation: Incarnation,
    ) {
        self.awaited.push(Box::pin(async move {
            routes.idle(site, incarnation).await;
            Happening::Idle(incarnation)
        }));
    }

    pub(super) fn check(&mut self, incarnation: Incarnation, spec: &VassalSpec) {
        if let Some(child) = self.workers.get(&incarnation) {
            let health = &spec.settings.health;
            let checked = child.worker.check(health, &spec.asked(), spec.protocol);
            self.awaited.push(Box::pin(async move {
                Happening::Checked(incarnation, checked.await)
            }));
        }
    }

    pub(super) fn measure(&mut self, incarnation: Incarnation) {
        if let Some(child) = self.workers.get(&incarnation) {
            let memory = child.worker.memory();
            self.awaited.push(Box::pin(async move {
                Happening::Measured(incarnation, memory.await)
            }));
        }
    }

    /// What there is to see of a worker; `None`: it is gone.
    pub(super) fn look(&self, incarnation: Incarnation) -> Option<Event> {
        let child = self.workers.get(&incarnation)?;
        let sight = child.worker.look();
        Some(Event::Looked { incarnation, sight })
    }

    pub(super) fn let_go_on(&self, incarnation: Incarnation) {
        if let Some(child) = self.workers.get(&incarnation) {
            child.worker.let_go_on();
        }
    }

    fn await_stir(&mut self, incarnation: Incarnation, mut stirs: BoxStream<'static, ()>) {
        self.awaited.push(Box::pin(async move {
            match stirs.next().await {
                Some(()) => Happening::Stirred(incarnation, stirs),
                None => Happening::Cancelled,
            }
        }));
    }

    pub(super) fn signal(&mut self, incarnation: Incarnation, signal: StopSignal) {
        if let Some(child) = self.workers.get_mut(&incarnation) {
            child.probe = None;
            child.worker.signal(signal);
        }
    }

    pub(super) fn kill(&mut self, incarnation: Incarnation) {
        if let Some(child) = self.workers.get_mut(&incarnation) {
            child.probe = None;
            child.worker.kill_group();
        }
    }

    pub(super) fn remember(&self, incarnation: Incarnation, memory: &InstanceMemory) {
        if let Some(child) = self.workers.get(&incarnation) {
            child.worker.remember(memory);
        }
    }

    pub(super) fn remove(&mut self, incarnation: Incarnation) {
        if let Some(child) = self.workers.remove(&incarnation) {
            self.removing += 1;
            self.awaited.push(Box::pin(async move {
                child.worker.remove().await;
                Happening::Removed
            }));
        }
    }

    fn take_in(&mut self, happening: Happening<S::Worker>, spawner: &S) -> Option<Event> {
        match happening {
            Happening::Permitted(ticket, permit) => {
                // It may have been given back while it was on its way.
                let place = self.places.get_mut(&ticket)?;
                if let Place::Waiting { since, .. } = place {
                    self.waited = since.elapsed();
                }
                let incarnation = spawner.next_incarnation();
                *place = Place::Held(incarnation, permit);
                Some(Event::Permitted {
                    ticket,
                    incarnation,
                })
            }
            Happening::Spawned(incarnation, Ok(worker)) => {
                Some(Event::Spawned(self.hold(incarnation, worker)))
            }
            Happening::Spawned(incarnation, Err(failure)) => {
                Some(self.spawn_failed(incarnation, &failure))
            }
            Happening::Probed(incarnation, probed) => Some(self.probed(incarnation, probed)),
            Happening::Exited(incarnation, reason) => {
                self.fail_start(incarnation, format!("its process {reason}"));
                Some(Event::Exited {
                    incarnation,
                    reason,
                    stderr: self.last_stderr(incarnation),
                })
            }
            Happening::Idle(incarnation) => Some(Event::Idle(incarnation)),
            Happening::Checked(incarnation, checked) => Some(Event::Checked {
                incarnation,
                found: checked.map_err(|failure| failure.to_string()),
            }),
            Happening::Measured(incarnation, Some(memory_bytes)) => Some(Event::Measured {
                incarnation,
                memory_bytes,
            }),
            Happening::Stirred(incarnation, stirs) => {
                let seen = self.look(incarnation)?;
                self.await_stir(incarnation, stirs);
                Some(seen)
            }
            Happening::Removed => {
                self.removing -= 1;
                Some(Event::Tick)
            }
            // One that can't be measured is gone meanwhile, or may not be looked into.
            Happening::Measured(_, None) | Happening::Cancelled => None,
        }
    }

    /// A start that goes on comes to nothing; where it has its end already, nothing.
    fn fail_start(&mut self, incarnation: Incarnation, error: String) {
        if !self.starts.contains_key(&incarnation) {
            return;
        }
        self.end_start(incarnation, Outcome::Failed(error));
        self.attempt = Attempt::Retry;
        self.permits_of(incarnation).for_each(Permit::failed);
    }

    fn spawn_failed(&mut self, incarnation: Incarnation, failure: &SpawnFailure) -> Event {
        let error = failure.to_string();
        self.fail_start(incarnation, error.clone());
        Event::SpawnFailed {
            incarnation,
            error,
            prospect: failure.prospect(),
        }
    }

    fn probed(&mut self, incarnation: Incarnation, probed: Result<(), ProbeFailure>) -> Event {
        let Err(failure) = probed else {
            self.attempt = Attempt::First;
            // It has the memory that was promised to it.
            self.permits_of(incarnation).for_each(Permit::settled);
            if let Some(start) = self.starts.get(&incarnation) {
                start.enter(Step::Publish);
            }
            return Event::FoundReady(incarnation);
        };
        let found = failure.to_string();
        self.fail_start(incarnation, found.clone());
        Event::ProbeFailed {
            incarnation,
            found,
            stderr: self.last_stderr(incarnation),
        }
    }

    /// What the newest worker takes, when that is asked: its successor will take as much.
    fn memory_of_newest(&self) -> impl Future<Output = Option<u64>> + Send + 'static {
        let newest = self.workers.last_key_value();
        let memory = OptionFuture::from(newest.map(|(_, child)| child.worker.memory()));
        async move { memory.await.flatten() }
    }

    /// The permits that an instance was started with.
    fn permits_of(&mut self, instance: Incarnation) -> impl Iterator<Item = &mut Permit> {
        let places = self.places.values_mut();
        places.filter_map(move |place| match place {
            Place::Held(holder, permit) => (*holder == instance).then_some(permit),
            Place::Waiting { .. } => None,
        })
    }

    pub(super) fn hold(&mut self, incarnation: Incarnation, worker: S::Worker) -> Process {
        let process = Process {
            incarnation,
            pid: worker.pid(),
            socket: worker.socket().to_owned(),
            started_at: worker.started_at(),
            missing: worker.missing().to_vec(),
        };
        self.await_stir(incarnation, worker.stirs());
        let exited = worker.exited();
        self.awaited.push(Box::pin(async move {
            Happening::Exited(incarnation, exited.await)
        }));
        let child = Child {
            worker,
            probe: None,
        };
        self.workers.insert(incarnation, child);
        process
    }

    fn last_stderr(&self, incarnation: Incarnation) -> Vec<String> {
        let child = self.workers.get(&incarnation);
        child.map_or_else(Vec::new, |child| child.worker.last_stderr())
    }
}
