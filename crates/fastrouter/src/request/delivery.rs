//! From a site to an answer: an instance or the site's queue, the exchange, and a second try where
//! the first one failed without harm.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http_edge::forward::Trust;
use http_edge::upstream::{Codec, RequestBody};
use site_model::{Incarnation, Service, SiteId, SiteRoute, Unavailable};
use tokio::time::Instant;

use super::Record;
use super::outcome::Outcome;
use crate::cause::{Cause, MAX_GATHERED_BYTES};
use crate::gauge::Purpose;
use crate::queue::{Place, QueueFull, Stance};
use crate::waiting::News;
use crate::worker::{Delivery, Exchange, Failure, Lease, NoLease, Reached, Upload};

/// How long a request waits for news of a site whose only instance has just been found dead. The
/// emperor notices the same death by itself and says so within milliseconds.
const NEWS_WAIT: Duration = Duration::from_secs(1);

/// Which try this is.
#[derive(Debug, Clone, Copy)]
enum Try {
    First,
    /// The first met a connection from the pool that was dead, or died under it. That says little
    /// about this instance, but another one is asked where there is one.
    OnFreshConnection(Incarnation),
    /// This instance was found dead.
    Elsewhere(Incarnation),
}

impl Try {
    /// Whether another one may follow. Two instances may see a request and no third one: it could
    /// be what kills them. One that is being killed may be met twice: its connections end before
    /// its socket does, and who connects between the two is not refused but broken off.
    fn may_be_followed(self, incarnation: Incarnation, failure: &Failure) -> bool {
        match self {
            Self::First => true,
            Self::OnFreshConnection(first) => {
                failure.reached == Reached::Nothing || incarnation == first
            }
            Self::Elsewhere(_) => false,
        }
    }
}

/// Has the site answer.
pub(super) async fn deliver(
    record: &mut Record,
    site: SiteId,
    purpose: Purpose,
    mut upload: Upload,
) -> Result<Outcome, Cause> {
    let mut attempt = Try::First;
    loop {
        let Some(lease) = lease(record, site, purpose, attempt).await? else {
            return Ok(Outcome::Asleep);
        };
        let told = lease.instance().site.is_pool().then_some(site);
        let incarnation = lease.instance().incarnation;
        record.goes_to(incarnation);
        upload = framed_for(&lease, record, upload).await?;
        let mut failure = match exchange(record, lease, told, upload, attempt).await {
            Ok(outcome) => return Ok(outcome),
            Err(failure) => failure,
        };
        let again = attempt.may_be_followed(incarnation, &failure);
        if !(again && failure.may_be_repeated(&record.head.method)) {
            return Err(failure.cause);
        }
        attempt = if failure.was_reused {
            Try::OnFreshConnection(incarnation)
        } else {
            Try::Elsewhere(incarnation)
        };
        failure.upload.replay();
        upload = failure.upload;
    }
}

async fn exchange(
    record: &mut Record,
    lease: Lease,
    told: Option<SiteId>,
    upload: Upload,
    attempt: Try,
) -> Result<Outcome, Failure> {
    let settings = Arc::clone(&record.connection.thread.current().settings);
    let peer = &record.connection.peer;
    // Only a trusted proxy can name anybody else.
    let named = match peer.trust {
        Trust::Proxy => settings
            .trusted_proxies
            .client(&record.head.headers, peer.address),
        Trust::Stranger => None,
    };
    let named = named.map(|address| address.to_string());
    let client = named.as_deref().unwrap_or(&peer.text);
    let head = record.request_head(client, told, upload.framing());
    let delivery = Delivery {
        connect_timeout: settings.connect_timeout,
        response_timeout: settings.response_timeout,
        fresh_only: !matches!(attempt, Try::First),
    };
    let connection = Rc::clone(&record.connection);
    match Exchange::begin(&connection, lease, &head, upload, delivery).await {
        Ok((head, exchange)) => Ok(Outcome::Worker(head, exchange, None)),
        Err(failure) => Err(failure),
    }
}

/// uwsgi has no chunks: what comes in chunks is gathered first, up to a bound.
async fn framed_for(lease: &Lease, record: &Record, upload: Upload) -> Result<Upload, Cause> {
    let uwsgi = lease.instance().codec == Ok(Codec::Uwsgi);
    if !uwsgi || upload.framing() != RequestBody::Chunked {
        return Ok(upload);
    }
    match upload.gather(MAX_GATHERED_BYTES).await {
        Ok(Some(body)) => Ok(Upload::whole(body)),
        Ok(None) => Err(Cause::LengthRequired),
        Err(error) => Err(Cause::of_upload(error, record.connection.body_refusal())),
    }
}

/// Takes an instance of the site, or of its pool, waiting in its queue where none takes it yet. `None`:
/// it sleeps, and is not woken for this.
async fn lease(
    record: &mut Record,
    site: SiteId,
    purpose: Purpose,
    attempt: Try,
) -> Result<Option<Lease>, Cause> {
    let thread = Rc::clone(&record.connection.thread);
    let mut avoid = match attempt {
        Try::First => None,
        Try::OnFreshConnection(dead) | Try::Elsewhere(dead) => Some(dead),
    };
    let mut place: Option<Place> = None;
    let mut waits_for = site;
    loop {
        let current = thread.current();
        let table = current.table.as_ref().ok_or(Cause::NoTable)?;
        let own = table.site(site).ok_or(Cause::UnknownHost)?;
        let route = table.vassal_of(own);
        let route = route.ok_or(Cause::Unavailable(Unavailable::Failed))?;
        if route.id != waits_for {
            // It moved into a pool, or out of one: there it waits behind those who wait there.
            (place, waits_for) = (None, route.id);
        }
        match &route.service {
            Service::Ready(backends) => {
                let lease = thread
                    .instances
                    .lease(route, backends, purpose, avoid, place.as_ref());
                match lease {
                    Ok(lease) => return Ok(Some(lease)),
                    Err(NoLease::Busy) => {}
                    Err(NoLease::NoOther) => {
                        avoid = None;
                        if let Try::Elsewhere(_) = attempt {
                            place = None;
                            wait_for_another(record, own, route).await?;
                        }
                        continue;
                    }
                }
            }
            // No pool is in a pool.
            Service::Waiting | Service::Pooled(_) => {}
            Service::Asleep => match purpose {
                Purpose::Check => return Ok(None),
                Purpose::Visit => thread.shared.wakes.wish(route),
            },
            Service::Unavailable(why) => return Err(Cause::Unavailable(*why)),
        }
        let place = match &mut place {
            Some(place) => place,
            none => none.insert(enter(
                record,
                route,
                Stance::InLine,
                route.settings.queue.timeout,
            )?),
        };
        match wait(record, [own, route], place).await {
            Wait::Over => {}
            Wait::TooLong => return Err(Cause::QueueTimeout),
        }
    }
}

/// Only the instance that was found dead is known. Without news it is worth one more knock.
async fn wait_for_another(
    record: &mut Record,
    own: &Arc<SiteRoute>,
    route: &Arc<SiteRoute>,
) -> Result<(), Cause> {
    let aside = enter(record, route, Stance::Aside, NEWS_WAIT)?;
    wait(record, [own, route], &aside).await;
    Ok(())
}

/// Takes a place in the site's queue, to be held for so long.
fn enter(
    record: &Record,
    route: &SiteRoute,
    stance: Stance,
    bound: Duration,
) -> Result<Place, Cause> {
    let connection = &record.connection;
    let queue = connection.thread.shared.queues.of(route.id);
    let place = queue.enter(route.settings.queue.depth, stance);
    let place = place.map_err(|QueueFull| Cause::QueueFull)?;
    connection.worker_alarm.set(bound);
    Ok(place)
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// There is another route of the site or its pool, or a turn.
    Over,
    TooLong,
}

/// Waits until it is worth looking at the site again, or until the time is up that was set on
/// entering the queue.
async fn wait(record: &mut Record, [own, route]: [&Arc<SiteRoute>; 2], place: &Place) -> Wait {
    let since = Instant::now();
    let waiting = &record.connection.thread.waiting;
    let news = waiting.news_of(route);
    let of_pooled = (own.id != route.id).then(|| waiting.news_of(own));
    let alarm = &record.connection.worker_alarm;
    let wait = poll_fn(|cx| {
        let is_news = |news: &News| news.poll(cx).is_ready();
        if of_pooled.iter().chain([&news]).any(is_news) || place.poll_call(cx).is_ready() {
            return Poll::Ready(Wait::Over);
        }
        alarm.poll(cx).map(|()| Wait::TooLong)
    });
    let wait = wait.await;
    record.waited(since.elapsed());
    wait
}
