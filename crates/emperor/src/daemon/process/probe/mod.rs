//! Whether an instance is ready: asked until it is, or its time is up.
//!
//! A worker with an inherited socket is asked once: the kernel keeps the connection until the worker
//! accepts it, however long it takes to load. Only where there is nothing to wait on (a socket that
//! the worker has yet to bind, an answer that is not the wanted one) is the question repeated, with
//! growing pauses, and never again once the instance is ready.

mod exchange;
mod miss;

use std::time::Duration;

use http_edge::upstream::UnspokenProtocol;
use site_model::Protocol;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use vassal_core::Asked;
use vassal_core::settings::{Probe, Ready};
use vassal_core::units::Humane;

use super::notify::Notified;
use super::start::{Start, Step};
use super::worker_socket::WorkerSocket;
use exchange::Question;

pub(crate) use miss::ProbeMiss;

/// Pauses while a socket is not there yet: short at first, since many servers bind within
/// milliseconds.
const FOR_A_SOCKET: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// Pauses after an unwanted answer: each question is a request that the worker has to serve.
const FOR_AN_ANSWER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

const ANY_STATUS: (u16, u16) = (100, 599);

/// Why an instance was not found ready.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ProbeFailure {
    /// Its time was up.
    #[error("not ready within {}: {last}", Humane(*after))]
    TimedOut {
        /// How long it had.
        after: Duration,
        /// What stood in the way at the end.
        last: ProbeMiss,
    },
    /// Nobody here speaks its protocol.
    #[error(transparent)]
    Protocol(#[from] UnspokenProtocol),
}

/// One instance to be asked, and how.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) socket: WorkerSocket,
    pub(super) protocol: Protocol,
    pub(super) asked: Asked,
    pub(super) notified: watch::Receiver<Notified>,
    pub(super) ready: Ready,
    /// From when its time counts.
    pub(super) since: Instant,
    /// Where its steps are noted; `None`: nowhere.
    pub(super) start: Option<Start>,
}

/// The last obstacle, for the time when the whole is broken off.
type Seen = watch::Sender<ProbeMiss>;

impl Prober {
    /// Resolves once the instance is ready, or its time is up. Cancel safe.
    pub(super) async fn run(self) -> Result<(), ProbeFailure> {
        let questions = self.questions()?;
        let seen = Seen::new(self.first_miss());
        let deadline = self.since + self.ready.timeout;
        match timeout_at(deadline, self.until_ready(&questions, &seen)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(ProbeFailure::TimedOut {
                after: self.ready.timeout,
                last: seen.borrow().clone(),
            }),
        }
    }

    /// What tells that it is ready, and then what is to be warm.
    fn questions(&self) -> Result<Vec<(Step, Question)>, UnspokenProtocol> {
        let probe = match &self.ready.probe {
            Probe::Http { path, status } => Some((Step::Answer, path, status.clone())),
            Probe::Notify | Probe::Connect => None,
        };
        let warm = self.ready.warm.iter();
        let warm = warm.map(|path| (Step::Warm, path, vec![ANY_STATUS]));
        let asked = probe.into_iter().chain(warm);
        let asked = asked.map(|(step, path, accepted)| {
            let question = Question::new(self.protocol, path, &self.asked, accepted)?;
            Ok((step, question))
        });
        asked.collect()
    }

    fn first_miss(&self) -> ProbeMiss {
        match (&self.ready.probe, &self.socket) {
            (Probe::Notify, _) => ProbeMiss::NotNotified { said: None },
            (Probe::Http { .. } | Probe::Connect, WorkerSocket::Own { bound, .. }) => {
                ProbeMiss::NotBound(bound.clone())
            }
            (Probe::Http { path, .. }, WorkerSocket::Inherited(_)) => {
                ProbeMiss::NoAnswer(path.clone())
            }
            (Probe::Connect, WorkerSocket::Inherited(_)) => ProbeMiss::NotListening,
        }
    }

    async fn until_ready(&self, questions: &[(Step, Question)], seen: &Seen) {
        if self.ready.probe == Probe::Notify {
            self.note(Step::Notify);
            self.until_notified(seen).await;
        }
        self.note(Step::Connect);
        let mut stream = Some(until_connected(&self.socket, seen).await);
        for (step, question) in questions {
            self.until_answered(*step, question, stream.take(), seen)
                .await;
        }
        // A server may set its socket's mode after it was found above, and some choose 0666.
        if let Err(miss) = self.socket.let_out() {
            seen.send_replace(miss);
            std::future::pending::<()>().await;
        }
    }

    /// Asks until the answer counts, first on the connection that is there already.
    async fn until_answered(
        &self,
        step: Step,
        question: &Question,
        mut connected: Option<UnixStream>,
        seen: &Seen,
    ) {
        let mut pauses = Pauses::new(FOR_AN_ANSWER);
        loop {
            let stream = match connected.take() {
                Some(stream) => stream,
                None => until_connected(&self.socket, seen).await,
            };
            self.note(step);
            seen.send_replace(ProbeMiss::NoAnswer(question.path().to_owned()));
            match question.ask(stream).await {
                Ok(()) => return,
                Err(miss) => seen.send_replace(miss),
            };
            pauses.pause().await;
        }
    }

    fn note(&self, step: Step) {
        if let Some(start) = &self.start {
            start.enter(step);
        }
    }

    async fn until_notified(&self, seen: &Seen) {
        let mut notified = self.notified.clone();
        let heard = notified.wait_for(|told| {
            seen.send_replace(ProbeMiss::NotNotified {
                said: told.status.clone(),
            });
            told.ready
        });
        if heard.await.is_err() {
            // The task that listens is gone, and with it the process: its exit is told elsewhere.
            std::future::pending::<()>().await;
        }
    }
}

async fn until_connected(socket: &WorkerSocket, seen: &Seen) -> UnixStream {
    let mut pauses = Pauses::new(FOR_A_SOCKET);
    loop {
        match socket.connect().await {
            Ok(stream) => return stream,
            Err(miss) => seen.send_replace(miss),
        };
        pauses.pause().await;
    }
}

/// Pauses that double up to a longest one.
#[derive(Debug)]
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Pauses {
    fn new((shortest, longest): (Duration, Duration)) -> Self {
        Self {
            next: shortest,
            longest,
        }
    }

    async fn pause(&mut self) {
        sleep(self.next).await;
        self.next = (self.next * 2).min(self.longest);
    }
}
