//! The task of one target: takes orders at once, carries them out one by one, and says how it goes.

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::directory;
use crate::failure::Failure;
use crate::http::HttpClient;
use crate::order::Order;
use crate::plan::{Ask, plan};
use crate::queue::{Job, Limits, Next, Outcome, Queue};
use crate::target::{Kind, Target};
use crate::varnish::VarnishClient;

/// Batches between two turns of the task, which takes them at once, also while it waits for a target.
const BATCHES: usize = 64;

/// Orders that were committed together.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Grows from batch to batch.
    pub number: u64,
    /// In their order.
    pub orders: Vec<Order>,
}

/// What a delivery has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// Everything up to this batch is carried out, or given up.
    Done(u64),
    /// This was given up.
    Dead {
        /// What the target still holds.
        order: Order,
        /// Why, in words for an operator.
        reason: String,
    },
}

/// How a delivery stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Orders that wait.
    pub queued: usize,
    /// Why the last attempt failed; `None`: it didn't.
    pub failing: Option<String>,
    /// When it tries again, where it waits for that.
    pub next_try: Option<std::time::Instant>,
    /// How many orders were given up since the start.
    pub dead: u64,
}

/// A running delivery, and the owner of its task: it ends when this is dropped.
#[derive(Debug)]
pub struct Delivery {
    batches: mpsc::Sender<Batch>,
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

impl Delivery {
    /// Starts to deliver on the current tokio runtime. `report` is called from the task and must not
    /// wait.
    pub fn start(
        target: Target,
        limits: Limits,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Self {
        let (batches, receiver) = mpsc::channel(BATCHES);
        let (sender, standing) = watch::channel(Standing::default());
        let stop = CancellationToken::new();
        let task = Task {
            target: Arc::new(target),
            queue: Queue::new(limits),
            batches: receiver,
            standing: sender,
            report: Box::new(report),
            told: None,
            stop: stop.clone(),
        };
        Self {
            batches,
            standing,
            stop,
            task: AbortOnDropHandle::new(tokio::spawn(task.run())),
        }
    }

    /// Queues a batch. Never waits for the target.
    pub async fn send(&self, batch: Batch) {
        // The task ends with this value alone.
        let _ended = self.batches.send(batch).await;
    }

    /// How it stands.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Ends the task. What it didn't get done was never reported as done.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a purge target's task did not end by itself");
        }
    }
}

struct Task {
    target: Arc<Target>,
    queue: Queue,
    batches: mpsc::Receiver<Batch>,
    standing: watch::Sender<Standing>,
    report: Box<dyn Fn(Report) + Send + Sync>,
    /// The last batch that was reported as done.
    told: Option<u64>,
    stop: CancellationToken,
}

/// An attempt, with what it needs and gives back.
type Attempt = Pin<Box<dyn Future<Output = (Clients, Job, Result<(), Failure>)> + Send>>;

/// The connection of either kind.
#[derive(Debug, Default)]
struct Clients {
    varnish: VarnishClient,
    http: HttpClient,
}

/// What the task is at.
enum Doing {
    Attempt(Attempt),
    Waiting(Clients, Option<Instant>),
}

impl Task {
    async fn run(mut self) {
        let mut doing = Doing::Waiting(Clients::default(), None);
        let stop = self.stop.clone();
        loop {
            doing = match doing {
                Doing::Waiting(clients, _) => self.begin(clients),
                attempt @ Doing::Attempt(_) => attempt,
            };
            let due_at = match &doing {
                Doing::Waiting(_, due_at) => *due_at,
                Doing::Attempt(_) => None,
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Some(batch) = self.batches.recv() => {
                    self.queue.push(batch.number, batch.orders, Instant::now().into_std());
                    self.tell();
                }
                (clients, job, result) = attempted(&mut doing) => {
                    self.finish(job, result);
                    doing = Doing::Waiting(clients, None);
                }
                () = due(due_at) => {}
            }
        }
    }

    fn begin(&mut self, mut clients: Clients) -> Doing {
        let next = self.queue.next(Instant::now().into_std());
        self.tell_next_try(match &next {
            Next::At(at) => Some(*at),
            // An attempt that goes on is the next try itself.
            Next::Job(_) | Next::Idle => None,
        });
        match next {
            Next::Job(job) => {
                let target = Arc::clone(&self.target);
                Doing::Attempt(Box::pin(attempt(target, clients, job)))
            }
            Next::At(at) => Doing::Waiting(clients, Some(at.into())),
            Next::Idle => {
                clients.varnish.hang_up();
                clients.http.hang_up();
                Doing::Waiting(clients, None)
            }
        }
    }

    fn finish(&mut self, job: Job, result: Result<(), Failure>) {
        let (outcome, reason) = match result {
            Ok(()) => (Outcome::Done, None),
            Err(failure) => (failure.outcome, Some(failure.reason)),
        };
        let now = Instant::now().into_std();
        if let Some(given_up) = self.queue.finish(job, outcome, now) {
            let (order, reason) = (given_up.order, reason.clone().unwrap_or_default());
            let target = &self.target.name;
            let site = order.site.map(site_model::SiteId::get);
            tracing::error!(
                target,
                site,
                reason,
                "a purge was given up; stale pages may remain"
            );
            self.standing.send_modify(|standing| standing.dead += 1);
            (self.report)(Report::Dead { order, reason });
        }
        self.tell_attempt(reason);
        self.tell();
    }

    /// Tells how the last attempt failed, where it did.
    fn tell_attempt(&self, failing: Option<String>) {
        let target = &self.target.name;
        self.standing.send_if_modified(|standing| {
            match (&standing.failing, &failing) {
                (None, Some(reason)) => {
                    tracing::warn!(target, reason, "a purge target fails; it is tried again");
                }
                (Some(_), None) => tracing::info!(target, "a purge target works again"),
                (Some(_), Some(_)) | (None, None) => {}
            }
            let differs = standing.failing != failing;
            standing.failing = failing;
            differs
        });
    }

    fn tell_next_try(&self, next_try: Option<std::time::Instant>) {
        self.standing.send_if_modified(|standing| {
            let differs = standing.next_try != next_try;
            standing.next_try = next_try;
            differs
        });
    }

    /// Tells how much waits, and what is done.
    fn tell(&mut self) {
        let queued = self.queue.len();
        self.standing.send_if_modified(|standing| {
            let differs = standing.queued != queued;
            standing.queued = queued;
            differs
        });
        let done = self.queue.done();
        if done != self.told {
            self.told = done;
            if let Some(done) = done {
                (self.report)(Report::Done(done));
            }
        }
    }
}

async fn attempted(doing: &mut Doing) -> (Clients, Job, Result<(), Failure>) {
    match doing {
        Doing::Attempt(attempt) => attempt.await,
        Doing::Waiting(..) => std::future::pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn attempt(
    target: Arc<Target>,
    mut clients: Clients,
    job: Job,
) -> (Clients, Job, Result<(), Failure>) {
    let result = try_order(&target, &mut clients, &job.order).await;
    if result.is_err() {
        clients.varnish.hang_up();
        clients.http.hang_up();
    }
    (clients, job, result)
}

async fn try_order(target: &Target, clients: &mut Clients, order: &Order) -> Result<(), Failure> {
    for ask in plan(&target.kind, order)? {
        let trying = try_one(&target.kind, clients, ask);
        let in_time = tokio::time::timeout(target.timeout, trying).await;
        in_time.unwrap_or_else(|_| {
            let reason = format!("no answer within {:?}", target.timeout);
            Err(Failure::away(reason))
        })?;
    }
    Ok(())
}

async fn try_one(kind: &Kind, clients: &mut Clients, ask: Ask) -> Result<(), Failure> {
    match (kind, ask) {
        (Kind::Varnish(varnish), Ask::Ban(ban)) => clients.varnish.ban(varnish, &ban).await,
        (Kind::Nginx(_) | Kind::Http(_), Ask::Request(asked)) => clients.http.ask(&asked).await,
        (Kind::Directory(folder), Ask::Empty) => {
            let folder = folder.clone();
            let emptied = tokio::task::spawn_blocking(move || directory::empty(&folder)).await;
            emptied.map_err(|error| Failure::away(error.to_string()))?
        }
        // A plan asks in its target's own terms.
        (Kind::Varnish(_), Ask::Request(_) | Ask::Empty)
        | (Kind::Nginx(_) | Kind::Http(_), Ask::Ban(_) | Ask::Empty)
        | (Kind::Directory(_), Ask::Ban(_) | Ask::Request(_)) => Err(Failure::refused(
            "it was asked in another target's terms".into(),
        )),
    }
}
