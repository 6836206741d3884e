//! What a request finds in the cache, and what is to be done then.

use std::sync::Arc;

use http::header::RANGE;

use crate::cache_status::Forwarded;
use crate::moment::Moment;
use crate::page::{Kind, Page};
use crate::policy::Mode;
use crate::reason::BypassReason;
use crate::request::CacheRequest;
use crate::serving::Hit;

/// What is to be done with a request.
#[derive(Debug)]
pub enum Lookup {
    /// Serve it.
    Fresh(Hit),
    /// Serve it, though it has expired. With an [`Ask`], somebody is to refresh it meanwhile.
    StaleServable {
        /// What is served.
        hit: Hit,
        /// What is to be refreshed; `None` where the client alone accepted the expired page.
        refresh: Option<Ask>,
    },
    /// Ask the worker whether what is stored is still good.
    Revalidate(Ask),
    /// Ask the worker for a page.
    Miss(Ask),
    /// The client wants nothing but a stored page, and there is none: 504 (RFC 9111 §5.2.1.7).
    OnlyIfCached,
    /// The cache has no part in it.
    Bypass(BypassReason),
}

/// A question for the worker, before it is known who asks it.
#[derive(Debug)]
pub struct Ask {
    /// Why, for `Cache-Status`.
    pub why: Forwarded,
    pub(crate) key: Vec<u8>,
    pub(crate) previous: Option<Arc<Page>>,
    /// Served while another asks.
    pub(crate) stale: Option<Hit>,
    /// Whether the answer is likely to be good for others, so that they wait for it.
    pub(crate) shared: bool,
}

impl Ask {
    /// Asked without others waiting for the answer, and without waiting for another's.
    #[must_use]
    pub fn alone(self) -> Self {
        Self {
            shared: false,
            ..self
        }
    }
}

/// What is stored for a request.
#[derive(Debug)]
pub(crate) enum Found {
    Page(Arc<Page>),
    Uncacheable(BypassReason),
    /// Other variants, but not this one.
    OtherVariants,
    Nothing,
}

/// Decides by what was found under `key`.
pub(crate) fn decide(
    request: &CacheRequest<'_>,
    key: Vec<u8>,
    found: Found,
    now: Moment,
) -> Lookup {
    let page = match found {
        Found::Page(page) => page,
        Found::Uncacheable(reason) => {
            return miss(request, key, Forwarded::Uncacheable(reason), false);
        }
        Found::OtherVariants => return miss(request, key, Forwarded::VaryMiss, true),
        Found::Nothing => return miss(request, key, Forwarded::UriMiss, true),
    };
    if request.authorized && !page.marks().shareable {
        return Lookup::Bypass(BypassReason::Authorization);
    }
    match assess(request, &page, now) {
        Use::Serve => Lookup::Fresh(Hit::new(page, now)),
        Use::Accepted => Lookup::StaleServable {
            hit: Hit::new(page, now),
            refresh: None,
        },
        Use::WhileRevalidate => {
            let hit = Hit::new(Arc::clone(&page), now);
            let refresh = Ask {
                why: Forwarded::Stale,
                key,
                previous: Some(page),
                stale: Some(hit.clone()),
                shared: true,
            };
            Lookup::StaleServable {
                hit,
                refresh: Some(refresh),
            }
        }
        Use::Ask(_) if request.directives.only_if_cached => Lookup::OnlyIfCached,
        Use::Ask(why) => Lookup::Revalidate(Ask {
            why,
            key,
            shared: is_shared(request, &page, why),
            previous: Some(page),
            stale: None,
        }),
    }
}

fn miss(request: &CacheRequest<'_>, key: Vec<u8>, why: Forwarded, shared: bool) -> Lookup {
    if request.directives.only_if_cached {
        return Lookup::OnlyIfCached;
    }
    // The whole of a large file, for the sake of one part of it, would be no service to anyone.
    if request.headers.contains_key(RANGE) {
        return Lookup::Bypass(BypassReason::Range);
    }
    Lookup::Miss(Ask {
        why,
        key,
        previous: None,
        stale: None,
        shared: shared && !request.authorized && !request.head_only,
    })
}

/// Whether others may wait for this request's answer. What has to be asked each time, or is good for
/// no time, would make them ask one after the other.
fn is_shared(request: &CacheRequest<'_>, page: &Page, why: Forwarded) -> bool {
    let lasts = page.freshness().lifetime > 0 && !page.marks().always_validate;
    lasts && why == Forwarded::Stale && !request.authorized && !request.head_only
}

/// Whether a page is served to whoever says nothing to caches and has no credentials.
pub(crate) fn is_for_all(page: &Page, now: Moment) -> bool {
    page.kind() == Kind::Whole && !page.marks().always_validate && page.freshness().is_fresh(now)
}

/// What may be done with a stored page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Serve,
    /// Expired, and the client said that it may be.
    Accepted,
    WhileRevalidate,
    Ask(Forwarded),
}

/// RFC 9111 §4: what both sides permit. A site that keeps pages until they are purged doesn't let
/// clients decide: a browser's reload would ask the worker each time.
fn assess(request: &CacheRequest<'_>, page: &Page, now: Moment) -> Use {
    let freshness = page.freshness();
    if page.marks().always_validate {
        return Use::Ask(Forwarded::Stale);
    }
    if request.mode == Mode::Http && !satisfies_client(request, page, now) {
        return Use::Ask(Forwarded::Request);
    }
    if freshness.is_fresh(now) {
        return Use::Serve;
    }
    if freshness.is_within(freshness.while_revalidate, now) {
        return Use::WhileRevalidate;
    }
    let accepted = request.directives.max_stale.unwrap_or(0);
    if request.mode == Mode::Http && !page.marks().strict && freshness.is_within(accepted, now) {
        return Use::Accepted;
    }
    Use::Ask(Forwarded::Stale)
}

/// §5.2.1: whether the client's own bounds hold.
fn satisfies_client(request: &CacheRequest<'_>, page: &Page, now: Moment) -> bool {
    let (asked, freshness) = (&request.directives, page.freshness());
    let young = asked.max_age.is_none_or(|most| {
        // §5.2.1.1 has no number for "accepts expired" but that of `max-stale`.
        let most = u64::from(most) + u64::from(asked.max_stale.unwrap_or(0));
        freshness.age(now) <= most
    });
    let lasting = asked
        .min_fresh
        .is_none_or(|least| freshness.ttl(now) >= i64::from(least));
    !asked.no_cache && young && lasting
}

/// What stands at a place, as it bears on a request.
pub(crate) fn found(page: Arc<Page>, now: Moment) -> Found {
    match page.kind() {
        Kind::Whole => Found::Page(page),
        Kind::Uncacheable(reason) if page.freshness().is_fresh(now) => Found::Uncacheable(reason),
        Kind::Uncacheable(_) => Found::Nothing,
        // A variant's place never holds another list of variants.
        Kind::Variants => Found::OtherVariants,
    }
}
