//! What a request gets, and of whom.

use http_edge::upstream::AnswerHead;
use site_model::{Service, SiteId, SiteRoute};

use super::feed::Fed;
use super::filling::Recording;
use crate::worker::Exchange;

/// What a request gets.
pub(super) enum Outcome {
    /// The worker's answer, and who takes it down.
    Worker(AnswerHead, Box<Exchange>, Option<Recording>),
    /// The worker's answer, as a fill reads it.
    Filled(AnswerHead, Fed),
    /// A page of the cache.
    Stored(Box<page_cache::Answer>),
    /// 200: a path was purged.
    Purged,
    /// 301 to another URL.
    Redirect(String),
    /// 204 in place of a site that sleeps.
    Asleep,
}

/// What answers for a site: who is counted, waited for and woken.
pub(super) fn vassal_of(route: &SiteRoute) -> SiteId {
    match route.service {
        Service::Pooled(pool) => pool,
        Service::Ready(_) | Service::Waiting | Service::Asleep | Service::Unavailable(_) => {
            route.id
        }
    }
}
