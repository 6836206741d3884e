//! Asking a worker for a page that may be kept.
//!
//! A fill that others may wait for runs on a task of its own, so that they don't depend on the client
//! that began it: one that reads slowly is read ahead of, within the bounds of [`feed`](super::feed), and
//! one that leaves leaves the fill behind. So it is with a refresh, which has no client at all. A fill that
//! nobody else can wait for goes at its client's pace, and ends with it.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_edge::upstream::{AnswerBody, AnswerHead};
use page_cache::{
    Answered, BypassReason, CacheRequest, CacheStatus, FillPermit, Forwarded, Moment, Recorder,
};
use tokio::sync::oneshot;

use super::caching::{Way, host_told};
use super::feed::{Feeder, feed};
use super::outcome::{Outcome, vassal_of};
use super::{Record, delivery};
use crate::cause::Cause;
use crate::gauge::Purpose;
use crate::pages::SitePages;
use crate::worker::{Exchange, Upload};

/// What asking for a page came to.
enum Fetched {
    /// To be passed on, and taken down meanwhile.
    Kept(AnswerHead, Box<Exchange>, Box<Recorder>),
    /// To be passed on.
    Passed(Outcome),
}

/// What became of a worker's answer.
enum Judged {
    Done(Fetched),
    AskAgain(FillPermit),
}

/// What a fill has for its client, and the fill's record, which knows how it came about.
type Handed = Box<(Result<Outcome, Cause>, Record)>;

/// Asks for newer than what was served, beside all else.
pub(super) fn refresh(record: &Record, way: Way, permit: FillPermit, why: Forwarded) {
    way.tell_of_visit(record);
    let fill = record.of_fill();
    let fills = &record.connection.thread.fills;
    fills.spawn_local(async move { way.run(fill, permit, why, None).await });
}

impl Way {
    /// Asks the worker for a page, or whether the stored one is still good.
    pub(super) async fn fill(
        self,
        record: &mut Record,
        permit: FillPermit,
        why: Forwarded,
    ) -> Result<Outcome, Cause> {
        self.tell_of_visit(record);
        if !permit.is_shared() {
            return Ok(match self.fetch(record, permit, why).await? {
                Fetched::Kept(head, exchange, recorder) => {
                    let recording = Recording::new(recorder, &self.pages);
                    Outcome::Worker(head, exchange, Some(recording))
                }
                Fetched::Passed(outcome) => outcome,
            });
        }
        let (hand, handed) = oneshot::channel();
        let fill = record.of_fill();
        let fills = &record.connection.thread.fills;
        fills.spawn_local(async move { self.run(fill, permit, why, Some(hand)).await });
        // A fill that is gone without a word ended with its thread.
        let (outcome, fill) = *handed.await.map_err(|_| Cause::WorkerGone)?;
        record.learn(&fill);
        outcome
    }

    fn tell_of_visit(&self, record: &Record) {
        record
            .connection
            .thread
            .tallies
            .came(vassal_of(&self.route));
    }

    /// A whole fill. It goes on though nobody waits for its answer.
    async fn run(
        self,
        mut record: Record,
        permit: FillPermit,
        why: Forwarded,
        hand: Option<oneshot::Sender<Handed>>,
    ) {
        let fetched = self.fetch(&mut record, permit, why).await;
        let (outcome, rest) = match fetched {
            Ok(Fetched::Kept(head, exchange, recorder)) => {
                let (feeder, fed) = feed(&record.connection.thread);
                let recording = Recording::new(recorder, &self.pages);
                let rest = (exchange, recording, feeder, Rc::clone(&record.connection));
                (Ok(Outcome::Filled(head, fed)), Some(rest))
            }
            Ok(Fetched::Passed(outcome)) => (Ok(outcome), None),
            Err(cause) => (Err(cause), None),
        };
        // A client that left drops what it was handed.
        drop(hand.map(|hand| hand.send(Box::new((outcome, record)))));
        if let Some((exchange, recording, feeder, connection)) = rest {
            let now = || connection.thread.shared.clock.now();
            pump(exchange, recording, feeder, now).await;
        }
    }

    async fn fetch(
        &self,
        record: &mut Record,
        mut permit: FillPermit,
        why: Forwarded,
    ) -> Result<Fetched, Cause> {
        record.cached(CacheStatus::forward(why));
        loop {
            let client = record.head.headers.clone();
            permit.prepare(&self.pages.policy, &mut record.head.headers);
            let (site, visit) = (self.route.id, Purpose::Visit);
            let delivered = delivery::deliver(record, site, visit, Upload::none()).await;
            record.head.headers = client;
            let (head, exchange) = match delivered {
                Ok(Outcome::Worker(head, exchange, _)) => (head, exchange),
                Ok(other) => return Ok(Fetched::Passed(other)),
                Err(cause) => {
                    let failed = self.failed(record, permit, cause);
                    return failed.map(Fetched::Passed);
                }
            };
            match self.judge(record, permit, why, head, exchange) {
                Judged::Done(fetched) => return Ok(fetched),
                Judged::AskAgain(again) => permit = again,
            }
        }
    }

    /// What the cache makes of a worker's answer.
    fn judge(
        &self,
        record: &mut Record,
        permit: FillPermit,
        why: Forwarded,
        head: AnswerHead,
        exchange: Box<Exchange>,
    ) -> Judged {
        let SitePages { cache, policy, .. } = &*self.pages;
        let now = record.now();
        let host = host_told(record).into_owned();
        let (status, answer) = {
            let Ok(request) = CacheRequest::read(policy, self.asked(record, &host)) else {
                // It was one before, and nothing of it has changed.
                return Judged::Done(Fetched::Passed(Outcome::Worker(head, exchange, None)));
            };
            if head.body == AnswerBody::UntilClose {
                permit.decline(cache, BypassReason::NoLength, now);
                record.cached(refused(why, BypassReason::NoLength));
                return Judged::Done(Fetched::Passed(Outcome::Worker(head, exchange, None)));
            }
            match permit.answer(cache, policy, &request, head.status, &head.headers, now) {
                Answered::Record(recorder) => {
                    record.cached(stored(why, None));
                    return Judged::Done(Fetched::Kept(head, exchange, recorder));
                }
                Answered::Refused(reason) => {
                    record.cached(refused(why, reason));
                    return Judged::Done(Fetched::Passed(Outcome::Worker(head, exchange, None)));
                }
                Answered::AskAgain(again) => return Judged::AskAgain(again),
                Answered::Validated(hit) => (
                    stored(why, Some(head.status.as_u16())),
                    hit.answer(&request),
                ),
                Answered::Rescued(hit) => (hit.status(), hit.answer(&request)),
            }
        };
        record.cached(status);
        Judged::Done(Fetched::Passed(Outcome::Stored(Box::new(answer))))
    }

    /// The worker could not be asked.
    fn failed(
        &self,
        record: &mut Record,
        permit: FillPermit,
        cause: Cause,
    ) -> Result<Outcome, Cause> {
        let host = host_told(record).into_owned();
        let now = record.now();
        let rescued = {
            let request = CacheRequest::read(&self.pages.policy, self.asked(record, &host));
            let request = request.map_err(|_| cause.clone())?;
            let hit = permit.failed(&request, now);
            hit.map(|hit| (hit.status(), hit.answer(&request)))
        };
        let Some((status, answer)) = rescued else {
            return Err(cause);
        };
        record.cached(status);
        Ok(Outcome::Stored(Box::new(answer)))
    }
}

/// Reads an answer to its end: for the cache, and for the client as long as there is one.
async fn pump(
    mut exchange: Box<Exchange>,
    recording: Recording,
    feeder: Feeder,
    now: impl Fn() -> Moment,
) {
    let mut recording = Some(recording);
    loop {
        let part = poll_fn(|cx| {
            // What is kept for nobody is read for its client alone.
            if recording.is_none() && feeder.poll_left(cx).is_ready() {
                return Poll::Ready(None);
            }
            if feeder.poll_room(cx, recording.is_some()).is_pending() {
                return Poll::Pending;
            }
            exchange.poll_data(cx)
        });
        match part.await {
            Some(Ok(part)) => {
                recording = recording.and_then(|it| it.push(&part, now()));
                feeder.push(part);
            }
            Some(Err(cause)) => return feeder.end(Err(cause)),
            None => {
                if let Some(recording) = recording {
                    recording.finish(now());
                }
                return feeder.end(Ok(()));
            }
        }
    }
}

fn stored(why: Forwarded, status: Option<u16>) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status,
        stored: true,
        collapsed: false,
        refused: None,
    }
}

fn refused(why: Forwarded, reason: BypassReason) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status: None,
        stored: false,
        collapsed: false,
        refused: Some(reason),
    }
}

/// The body of an answer on its way, as the cache takes it down. Dropped before its end, nothing is kept.
#[derive(Debug)]
pub(super) struct Recording {
    recorder: Box<Recorder>,
    pages: Arc<SitePages>,
}

impl Recording {
    fn new(recorder: Box<Recorder>, pages: &Arc<SitePages>) -> Self {
        Self {
            recorder,
            pages: Arc::clone(pages),
        }
    }

    /// Takes the next bytes. `None`: they are too many.
    pub(super) fn push(self, bytes: &Bytes, now: Moment) -> Option<Self> {
        let recorder = self.recorder.push(&self.pages.cache, bytes, now)?;
        Some(Self { recorder, ..self })
    }

    /// The answer was whole.
    pub(super) fn finish(self, now: Moment) {
        // Why a page was not kept is counted for its site, and told by `emperor cache show`.
        drop(self.recorder.finish(&self.pages.cache, now));
    }
}
