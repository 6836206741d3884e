//! A request's way through the page cache: answered from it, or on to the worker, with the cache as a
//! witness of the answer.
//!
//! A hit touches neither an instance nor the site's queue, and wakes nobody. A fill belongs to the
//! request that began it: it is read and written down as its client takes it, and a client that leaves
//! takes it along; those who wait for it then begin again.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Method;
use http_edge::forward;
use http_edge::upstream::{AnswerBody, AnswerHead, RequestBody};
use page_cache::{
    Answered, Ask, Asked, Begin, BypassReason, CacheRequest, CacheStatus, FillPermit, Forwarded,
    Hit, Lookup, Moment, Outcome as Filled, Recorder, Scheme, Ticket,
};
use site_model::{Hostname, Service, SiteRoute};
use tokio::time::Instant;

use super::{Cause, Outcome, Record, delivery};
use crate::gauge::Purpose;
use crate::pages::SitePages;
use crate::worker::{Exchange, Upload};

/// What a request asks of the cache, apart from its own head.
pub(super) struct Way<'a> {
    pub(super) route: &'a Arc<SiteRoute>,
    pub(super) pages: &'a Arc<SitePages>,
    pub(super) host: &'a Hostname,
}

/// What is to be done next.
enum Step {
    Serve(Box<page_cache::Answer>, CacheStatus),
    Fill(FillPermit, Forwarded),
    Wait(Ticket, Forwarded),
    Pass(BypassReason),
    NotStored,
}

/// Whether a request waits for others, and how it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Company {
    /// It has not waited yet.
    Any,
    /// It waited, for this reason, and looks again.
    Waited(Forwarded),
    /// It asks for itself: what the other got can't be shared, or took too long.
    Alone,
}

/// Answers a request of a site that has a cache.
pub(super) async fn answer(
    record: &mut Record,
    way: Way<'_>,
    upload: Upload,
) -> Result<Outcome, Cause> {
    if upload.framing() != RequestBody::None {
        return way.pass(record, upload, BypassReason::RequestBody).await;
    }
    let mut company = Company::Any;
    loop {
        match way.step(record, company) {
            Step::Serve(answer, status) => {
                record.cached(status);
                return Ok(Outcome::Stored(answer));
            }
            Step::Fill(permit, why) => return way.fill(record, permit, why).await,
            Step::Wait(ticket, why) => company = way.wait(record, ticket, why).await,
            Step::Pass(reason) => return way.pass(record, upload, reason).await,
            Step::NotStored => return Err(Cause::NotStored),
        }
    }
}

impl Way<'_> {
    /// Looks the request up, and takes the fill where there is nothing.
    fn step(&self, record: &Record, company: Company) -> Step {
        let SitePages {
            cache,
            site,
            policy,
            ..
        } = &**self.pages;
        let host = host_told(record);
        let request = match CacheRequest::read(policy, self.asked(record, &host)) {
            Ok(request) => request,
            Err(reason) => {
                site.counters().bypassed(reason);
                return Step::Pass(reason);
            }
        };
        let now = match company {
            Company::Any => record.begun_at(),
            Company::Waited(_) | Company::Alone => record.now(),
        };
        let serve = |hit: &Hit| {
            let status = match company {
                Company::Waited(why) => collapsed(why),
                Company::Any | Company::Alone => hit.status(),
            };
            Step::Serve(Box::new(hit.answer(&request)), status)
        };
        let ask = match cache.look_up(site, &request, now) {
            Lookup::Fresh(hit) | Lookup::StaleServable { hit, refresh: None } => {
                return serve(&hit);
            }
            Lookup::StaleServable {
                refresh: Some(ask), ..
            }
            | Lookup::Revalidate(ask)
            | Lookup::Miss(ask) => ask,
            Lookup::OnlyIfCached => return Step::NotStored,
            Lookup::Bypass(reason) => return Step::Pass(reason),
        };
        let (ask, why) = (in_company(ask, company), ask_reason(company));
        let why = why.unwrap_or(ask.why);
        match cache.begin(site, ask, now) {
            Begin::Fill(permit) => match self.asleep(&permit, &request, now) {
                Some(hit) => serve(&hit),
                None => Step::Fill(permit, why),
            },
            Begin::Wait(ticket) => Step::Wait(ticket, why),
            Begin::ServeStale(hit) => serve(&hit),
        }
    }

    /// What may be served in place of waking a site.
    fn asleep(&self, permit: &FillPermit, request: &CacheRequest<'_>, now: Moment) -> Option<Hit> {
        match self.route.service {
            Service::Asleep => permit.without_asking(request, now),
            Service::Ready(_) | Service::Waiting | Service::Unavailable(_) => None,
        }
    }

    /// Waits for another's fill, no longer than the site's queue would let it.
    async fn wait(&self, record: &mut Record, mut ticket: Ticket, why: Forwarded) -> Company {
        let since = Instant::now();
        let left = self.route.queue.timeout.saturating_sub(record.queued());
        let alarm = &record.connection.worker_alarm;
        alarm.set(left);
        let filled = poll_fn(|cx| {
            if let Poll::Ready(filled) = Pin::new(&mut ticket).poll(cx) {
                return Poll::Ready(Some(filled));
            }
            alarm.poll(cx).map(|()| None)
        });
        let filled = if left > Duration::ZERO {
            filled.await
        } else {
            None
        };
        alarm.clear();
        record.waited(since.elapsed());
        match filled {
            Some(Filled::Stored | Filled::Abandoned) => Company::Waited(why),
            Some(Filled::NotShared) | None => Company::Alone,
        }
    }

    /// Asks the worker for a page, or whether the stored one is still good.
    async fn fill(
        &self,
        record: &mut Record,
        mut permit: FillPermit,
        why: Forwarded,
    ) -> Result<Outcome, Cause> {
        record.connection.thread.tallies.came(self.route.id);
        record.cached(CacheStatus::forward(why));
        loop {
            let client = record.head.headers.clone();
            permit.prepare(&mut record.head.headers);
            let delivered =
                delivery::deliver(record, self.route.id, Purpose::Visit, Upload::none()).await;
            record.head.headers = client;
            let (head, exchange) = match delivered {
                Ok(Outcome::Worker(head, exchange, _)) => (head, exchange),
                Ok(other) => return Ok(other),
                Err(cause) => return self.failed(record, permit, cause),
            };
            match self.judge(record, permit, why, head, exchange) {
                Judged::Done(outcome) => return Ok(outcome),
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
        let SitePages { cache, policy, .. } = &**self.pages;
        let now = record.now();
        let host = host_told(record).into_owned();
        let (status, answer) = {
            let Ok(request) = CacheRequest::read(policy, self.asked(record, &host)) else {
                // It was one before, and nothing of it has changed.
                return Judged::Done(Outcome::Worker(head, exchange, None));
            };
            if head.body == AnswerBody::UntilClose {
                permit.decline(cache, BypassReason::NoLength, now);
                record.cached(refused(why, BypassReason::NoLength));
                return Judged::Done(Outcome::Worker(head, exchange, None));
            }
            match permit.answer(cache, policy, &request, head.status, &head.headers, now) {
                Answered::Record(recorder) => {
                    record.cached(stored(why, None));
                    let recording = Recording {
                        recorder,
                        pages: Arc::clone(self.pages),
                    };
                    return Judged::Done(Outcome::Worker(head, exchange, Some(recording)));
                }
                Answered::Refused(reason) => {
                    record.cached(refused(why, reason));
                    return Judged::Done(Outcome::Worker(head, exchange, None));
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
        Judged::Done(Outcome::Stored(Box::new(answer)))
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

    /// A request that the cache has no part in, but to hear what it changes.
    async fn pass(
        &self,
        record: &mut Record,
        upload: Upload,
        reason: BypassReason,
    ) -> Result<Outcome, Cause> {
        record.connection.thread.tallies.came(self.route.id);
        record.cached(CacheStatus::bypass(reason));
        let outcome = delivery::deliver(record, self.route.id, Purpose::Visit, upload).await?;
        if let Outcome::Worker(head, ..) = &outcome
            && record.head.method != Method::GET
        {
            let SitePages {
                cache,
                site,
                policy,
                ..
            } = &**self.pages;
            let asked = self.asked(record, self.host.as_str());
            cache.invalidate(site, policy, asked, head.status, &head.headers);
        }
        Ok(outcome)
    }

    fn asked<'r>(&self, record: &'r Record, host: &'r str) -> Asked<'r> {
        let headers = &record.head.headers;
        let proto = forward::proto(headers, record.connection.peer.trust);
        Asked {
            site: self.route.id,
            scheme: if proto == "https" {
                Scheme::Https
            } else {
                Scheme::Http
            },
            host,
            method: &record.head.method,
            path: record.head.uri.path(),
            query: record.head.uri.query(),
            headers,
        }
    }
}

/// The host that the worker is told, since applications write it into their pages: with its port,
/// and as a trusted proxy says.
fn host_told(record: &Record) -> Cow<'_, str> {
    let trust = record.connection.peer.trust;
    let host = forward::host(&record.head.headers, record.host(), trust);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// What became of a worker's answer.
enum Judged {
    Done(Outcome),
    AskAgain(FillPermit),
}

fn in_company(ask: Ask, company: Company) -> Ask {
    match company {
        Company::Any | Company::Waited(_) => ask,
        Company::Alone => ask.alone(),
    }
}

/// Why it was forwarded at first: that is what the client is told, however often it looked again.
fn ask_reason(company: Company) -> Option<Forwarded> {
    match company {
        Company::Waited(why) => Some(why),
        Company::Any | Company::Alone => None,
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

fn collapsed(why: Forwarded) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status: None,
        stored: true,
        collapsed: true,
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

/// The body of an answer on its way to the client, as the cache takes it down. Dropped before its end,
/// nothing is kept.
#[derive(Debug)]
pub(super) struct Recording {
    recorder: Box<Recorder>,
    pages: Arc<SitePages>,
}

impl Recording {
    /// Takes the next bytes. `None`: they are too many.
    pub(super) fn push(self, bytes: &[u8], now: Moment) -> Option<Self> {
        let recorder = self.recorder.push(&self.pages.cache, bytes, now)?;
        Some(Self { recorder, ..self })
    }

    /// The answer was whole.
    pub(super) fn finish(self, now: Moment) {
        // Why a page was not kept is counted for its site, and told by `emperor cache show`.
        drop(self.recorder.finish(&self.pages.cache, now));
    }
}
