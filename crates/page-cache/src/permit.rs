//! A fill up to its body: the right to ask, and what becomes of the head of the answer.
//!
//! A permit carries the number of the site's last purge from before the worker was asked. The page
//! that comes of it counts as compared up to that number, so a purge that was heard meanwhile and names
//! the page keeps it out, however the steps of both fall together.

use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue, SET_COOKIE};

use crate::cache::PageCache;
use crate::cookies;
use crate::counters::count;
use crate::directives::Fields;
use crate::fill::{Claim, Outcome};
use crate::freshness::{Freshness, Timing};
use crate::head;
use crate::key;
use crate::moment::Moment;
use crate::page::{Page, Place};
use crate::policy::Policy;
use crate::purge::PurgeSequence;
use crate::reason::BypassReason;
use crate::recorder::Recorder;
use crate::request::CacheRequest;
use crate::revalidation::{confirms, is_head_of, prepare};
use crate::serving::Hit;
use crate::site::SiteCache;
use crate::storing::{Storable, dated};

/// How long it is remembered that an answer could not be kept. Nobody waits for others meanwhile, and
/// an answer that can be kept is, so a long time harms nobody.
const UNCACHEABLE_SECONDS: u32 = 120;

/// The right, and the duty, to ask the worker. Dropped, it lets those who wait begin again.
#[derive(Debug)]
pub struct FillPermit {
    pub(crate) site: Arc<SiteCache>,
    pub(crate) key: Vec<u8>,
    pub(crate) claim: Option<Claim>,
    pub(crate) began: PurgeSequence,
    pub(crate) asked: Moment,
    pub(crate) previous: Option<Arc<Page>>,
}

/// The head of a worker's answer, and when it was asked for and came.
#[derive(Debug, Clone, Copy)]
struct Told<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    timing: Timing,
}

/// What becomes of a worker's answer.
#[derive(Debug)]
pub enum Answered {
    /// Pass it on, and its body to the recorder too.
    Record(Box<Recorder>),
    /// Pass it on; it is not kept.
    Refused(BypassReason),
    /// The stored page is still good: serve it, and drop the answer.
    Validated(Hit),
    /// The worker fails, and the stored page may be served instead (RFC 5861 §4).
    Rescued(Hit),
    /// A 304 that means nothing here: ask again with this permit, which asks for no validation.
    AskAgain(FillPermit),
}

impl FillPermit {
    /// The number of the site's last purge before this fill.
    pub fn began(&self) -> PurgeSequence {
        self.began
    }

    /// Whether others wait for this fill, or may come to.
    pub fn is_shared(&self) -> bool {
        self.claim.is_some()
    }

    /// Makes of the client's headers those that the worker gets.
    pub fn prepare(&self, policy: &Policy, headers: &mut HeaderMap) {
        cookies::leave_out_ignored(policy, headers);
        prepare(headers, self.previous.as_deref());
    }

    /// Takes the head of the worker's answer.
    pub fn answer(
        self,
        cache: &PageCache,
        policy: &Policy,
        request: &CacheRequest<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        now: Moment,
    ) -> Answered {
        let timing = Timing {
            asked: self.asked,
            received: now,
        };
        let told = Told {
            status,
            headers,
            timing,
        };
        if status == StatusCode::NOT_MODIFIED {
            return self.not_modified(cache, policy, request, told);
        }
        let failed = [500, 502, 503, 504].contains(&status.as_u16());
        if failed && let Some(hit) = self.rescue(request, now) {
            return Answered::Rescued(hit);
        }
        if request.head_only {
            self.compare_head(cache, policy, request, told);
            return Answered::Refused(BypassReason::Method);
        }
        let storable = Storable::judge(request, policy.settings(), status, headers, timing);
        match storable {
            Ok(storable) => self.record(cache, policy, request, storable, told),
            Err(reason) => self.refuse(cache, reason, now),
        }
    }

    /// What is served though the worker could not be asked or broke off, if something may be.
    pub fn failed(self, request: &CacheRequest<'_>, now: Moment) -> Option<Hit> {
        self.rescue(request, now)
    }

    /// The same while nobody was asked yet: where the worker sleeps, say. The permit goes on.
    pub fn without_asking(&self, request: &CacheRequest<'_>, now: Moment) -> Option<Hit> {
        self.rescue(request, now)
    }

    /// Doesn't keep the answer, for a reason that the cache itself can't see.
    pub fn decline(self, cache: &PageCache, reason: BypassReason, now: Moment) {
        self.forgo(cache, reason, now);
    }

    fn rescue(&self, request: &CacheRequest<'_>, now: Moment) -> Option<Hit> {
        let page = self.previous.as_ref()?;
        let freshness = page.freshness();
        let permitted = match request.directives.stale_if_error {
            Some(asked) if !page.marks().strict => freshness.if_error.max(asked),
            Some(_) | None => freshness.if_error,
        };
        let usable = freshness.is_within(permitted, now) && page.is_current();
        usable.then(|| {
            count(&self.site.counters().stale);
            Hit::new(Arc::clone(page), now)
        })
    }

    /// RFC 9111 §4.3.4.
    fn not_modified(
        self,
        cache: &PageCache,
        policy: &Policy,
        request: &CacheRequest<'_>,
        told: Told<'_>,
    ) -> Answered {
        let Told {
            headers, timing, ..
        } = told;
        let Some(page) = self.previous.clone() else {
            // Nobody asked for it, so there is nothing to be done but to pass it on.
            return self.refuse(cache, BypassReason::Status, timing.received);
        };
        let usable =
            page.is_current() && confirms(&page, headers) && !headers.contains_key(SET_COOKIE);
        let freshened = usable.then(|| self.freshened(policy, request, &page, told));
        let Some(Ok(freshened)) = freshened else {
            cache.store().remove(&page);
            return Answered::AskAgain(Self {
                previous: None,
                ..self
            });
        };
        count(&self.site.counters().revalidations);
        let fresh = Arc::new(freshened);
        // A purge that came meanwhile keeps it out; to this request, which came before, it is true.
        let outcome = match keep(cache, &fresh) {
            Ok(()) => Outcome::Stored,
            Err(_) => Outcome::Abandoned,
        };
        self.end(outcome);
        Answered::Validated(Hit::new(fresh, timing.received))
    }

    fn freshened(
        &self,
        policy: &Policy,
        request: &CacheRequest<'_>,
        page: &Arc<Page>,
        told: Told<'_>,
    ) -> Result<Page, BypassReason> {
        let Told {
            headers, timing, ..
        } = told;
        let mut merged = page.headers();
        head::update(&mut merged, &dated(headers, &Fields::None, timing));
        // `Age` isn't stored; the newer head's counts for the newer times.
        let age = headers.get(http::header::AGE);
        merged.extend(age.map(|age| (http::header::AGE, age.clone())));
        let mut storable =
            Storable::judge(request, policy.settings(), page.status(), &merged, timing)?;
        storable.shareable &= page.marks().shareable || !request.authorized;
        Ok(page.freshened(&storable, self.began.get()))
    }

    /// RFC 9111 §4.3.5: what HEAD says of the page that GET stored.
    fn compare_head(
        &self,
        cache: &PageCache,
        policy: &Policy,
        request: &CacheRequest<'_>,
        told: Told<'_>,
    ) {
        let Some(page) = self
            .previous
            .as_ref()
            .filter(|page| page.status() == told.status)
        else {
            return;
        };
        if !is_head_of(page, told.headers) {
            cache.store().remove(page);
            return;
        }
        if let Ok(freshened) = self.freshened(policy, request, page, told) {
            // Refused where a purge came meanwhile, and then nothing is to be updated.
            let _refused = keep(cache, &Arc::new(freshened)).err();
        }
    }

    fn record(
        self,
        cache: &PageCache,
        policy: &Policy,
        request: &CacheRequest<'_>,
        storable: Storable,
        told: Told<'_>,
    ) -> Answered {
        let announced = told.headers.get(CONTENT_LENGTH).and_then(length_of);
        let room = cache
            .most_page_bytes()
            .min(policy.settings().max_page as u64);
        if announced.is_some_and(|length| length > room) {
            return self.refuse(cache, BypassReason::TooLarge, told.timing.received);
        }
        let names = storable.vary.iter().map(|name| name.as_str().as_bytes());
        let variant = key::secondary(self.primary(), names, || head::lines(request.headers));
        let recorder = Recorder::new(self, storable, variant, announced, room);
        Answered::Record(Box::new(recorder))
    }

    /// Where what comes of this fill is to stand, under this key.
    pub(crate) fn place<'a>(&'a self, key: &'a [u8]) -> Place<'a> {
        Place {
            site: &self.site,
            key,
            verified: self.began.get(),
        }
    }

    /// The key without what an earlier answer's `Vary` added.
    pub(crate) fn primary(&self) -> &[u8] {
        key::primary_of(&self.key)
    }

    /// Lets those who wait go, and remembers why nothing was kept where that is likely to last.
    fn refuse(self, cache: &PageCache, reason: BypassReason, now: Moment) -> Answered {
        self.forgo(cache, reason, now);
        Answered::Refused(reason)
    }

    pub(crate) fn forgo(self, cache: &PageCache, reason: BypassReason, now: Moment) {
        self.site.counters().refused(reason);
        if lasts(reason) && self.claim.is_some() {
            let freshness = place_times(now, UNCACHEABLE_SECONDS);
            let page = Page::uncacheable(self.place(&self.key), reason, freshness);
            cache.store().insert(&Arc::new(page));
        }
        self.end(Outcome::NotShared);
    }

    pub(crate) fn end(self, outcome: Outcome) {
        if let Some(claim) = self.claim {
            claim.end(outcome);
        }
    }
}

/// Stores a page, unless a purge named it since this fill began.
pub(crate) fn keep(cache: &PageCache, page: &Arc<Page>) -> Result<(), BypassReason> {
    if cache.is_away() {
        return Err(BypassReason::InvalidationAway);
    }
    if !page.is_current() {
        return Err(BypassReason::PurgedMeanwhile);
    }
    cache.store().insert(page);
    Ok(())
}

/// Whether the next answer is likely to be refused for the same reason.
fn lasts(reason: BypassReason) -> bool {
    match reason {
        BypassReason::SetCookie
        | BypassReason::NoStore
        | BypassReason::Private
        | BypassReason::NoCache
        | BypassReason::Vary
        | BypassReason::Status
        | BypassReason::PartialContent
        | BypassReason::NoFreshness
        | BypassReason::TooLarge
        | BypassReason::NoLength => true,
        BypassReason::Off
        | BypassReason::Ignored
        | BypassReason::InvalidationAway
        | BypassReason::Method
        | BypassReason::Authorization
        | BypassReason::RequestCookie
        | BypassReason::RequestNoStore
        | BypassReason::Range
        | BypassReason::Precondition
        | BypassReason::Upgrade
        | BypassReason::KeyTooLong
        | BypassReason::RequestBody
        | BypassReason::WorkerError
        | BypassReason::Incomplete
        | BypassReason::PurgedMeanwhile => false,
    }
}

pub(crate) fn place_times(now: Moment, lifetime: u32) -> Freshness {
    Freshness {
        received: now,
        initial_age: 0,
        lifetime,
        while_revalidate: 0,
        if_error: 0,
    }
}

fn length_of(value: &HeaderValue) -> Option<u64> {
    value.to_str().ok()?.parse().ok()
}
