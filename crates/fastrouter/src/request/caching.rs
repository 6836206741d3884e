//! A request's way through the page cache: answered from it, or on to the worker, with the cache as a
//! witness of the answer.
//!
//! A hit touches neither an instance nor the site's queue, and wakes nobody. How a worker is asked for a
//! page is the matter of [`filling`].

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, Method};
use http_edge::forward::{self, Trust};
use http_edge::upstream::RequestBody;
use page_cache::{
    Ask, Asked, Begin, BypassReason, CacheRequest, CacheStatus, FillPermit, Forwarded, Hit, Lookup,
    Moment, Outcome as Filled, Scheme, Ticket,
};
use site_model::{Hostname, Service, SiteRoute};
use tokio::time::Instant;

use super::outcome::{Outcome, vassal_of};
use super::{Record, delivery, filling};
use crate::cause::Cause;
use crate::gauge::Purpose;
use crate::pages::SitePages;
use crate::worker::Upload;

/// What a request asks of the cache, apart from its own head.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) route: Arc<SiteRoute>,
    pub(super) pages: Arc<SitePages>,
    pub(super) host: Hostname,
}

/// What is to be done next.
enum Step {
    Serve(Box<page_cache::Answer>, CacheStatus),
    Fill(FillPermit, Forwarded),
    /// Serve what has expired, and ask for newer beside it.
    Refresh(FillPermit, Forwarded, Box<page_cache::Answer>, CacheStatus),
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
    way: Way,
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
            Step::Refresh(permit, why, answer, status) => {
                filling::refresh(record, way, permit, why);
                record.cached(status);
                return Ok(Outcome::Stored(answer));
            }
            Step::Wait(ticket, why) => company = way.wait(record, ticket, why).await,
            Step::Pass(reason) => return way.pass(record, upload, reason).await,
            Step::NotStored => return Err(Cause::NotStored),
        }
    }
}

impl Way {
    /// Looks the request up, and takes the fill where there is nothing.
    fn step(&self, record: &Record, company: Company) -> Step {
        let SitePages {
            cache,
            site,
            policy,
            ..
        } = &*self.pages;
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
        let (stale, ask) = match cache.look_up(site, &request, now) {
            Lookup::Fresh(hit) | Lookup::StaleServable { hit, refresh: None } => {
                return serve(&hit);
            }
            Lookup::StaleServable {
                hit,
                refresh: Some(ask),
            } => (Some(hit), ask),
            Lookup::Revalidate(ask) | Lookup::Miss(ask) => (None, ask),
            Lookup::OnlyIfCached => return Step::NotStored,
            Lookup::Bypass(reason) => return Step::Pass(reason),
        };
        let (ask, why) = (in_company(ask, company), ask_reason(company));
        let why = why.unwrap_or(ask.why);
        let permit = match cache.begin(site, ask, now) {
            Begin::Fill(permit) => permit,
            Begin::Wait(ticket) => return Step::Wait(ticket, why),
            Begin::ServeStale(hit) => return serve(&hit),
        };
        if let Some(hit) = self.asleep(record, &permit, &request, now) {
            return serve(&hit);
        }
        match stale {
            Some(hit) => Step::Refresh(permit, why, Box::new(hit.answer(&request)), hit.status()),
            None => Step::Fill(permit, why),
        }
    }

    /// What may be served in place of waking a site.
    fn asleep(
        &self,
        record: &Record,
        permit: &FillPermit,
        request: &CacheRequest<'_>,
        now: Moment,
    ) -> Option<Hit> {
        let current = record.connection.thread.current();
        let vassal = current.table.as_ref()?.vassal_of(&self.route)?;
        match vassal.service {
            Service::Asleep => permit.without_asking(request, now),
            Service::Ready(_) | Service::Waiting | Service::Pooled(_) | Service::Unavailable(_) => {
                None
            }
        }
    }

    /// Waits for another's fill, no longer than the site's queue would let it.
    async fn wait(&self, record: &mut Record, mut ticket: Ticket, why: Forwarded) -> Company {
        let since = Instant::now();
        let left = self
            .route
            .settings
            .queue
            .timeout
            .saturating_sub(record.queued());
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

    /// A request that the cache has no part in, but to hear what it changes.
    async fn pass(
        &self,
        record: &mut Record,
        upload: Upload,
        reason: BypassReason,
    ) -> Result<Outcome, Cause> {
        record
            .connection
            .thread
            .tallies
            .came(vassal_of(&self.route));
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
            } = &*self.pages;
            let asked = self.asked(record, self.host.as_str());
            cache.invalidate(site, policy, asked, head.status, &head.headers);
        }
        Ok(outcome)
    }

    pub(super) fn asked<'r>(&self, record: &'r Record, host: &'r str) -> Asked<'r> {
        let headers = &record.head.headers;
        let proto = forward::proto(headers, record.connection.peer.trust);
        Asked {
            site: self.route.id,
            scheme: scheme(proto),
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
pub(super) fn host_told(record: &Record) -> Cow<'_, str> {
    let trust = record.connection.peer.trust;
    host_said(&record.head.headers, record.host(), trust)
}

/// The same from the headers of a request and its own `Host`.
pub(super) fn host_said<'r>(headers: &'r HeaderMap, own: &'r str, trust: Trust) -> Cow<'r, str> {
    let host = forward::host(headers, own, trust);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

pub(super) fn scheme(proto: &str) -> Scheme {
    if proto == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    }
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

fn collapsed(why: Forwarded) -> CacheStatus {
    CacheStatus::Forward {
        why,
        status: None,
        stored: true,
        collapsed: true,
        refused: None,
    }
}
