//! Fresh pages for requests that ask for a page and for nothing else.
//!
//! Most hits are of this kind, and cost what finding the page costs: the key goes into a buffer that is
//! used again, and what no such request can ask for is not looked at. Nothing is decided here that
//! [`look_up`](PageCache::look_up) wouldn't decide; where it is more than a glance, it does.

use std::sync::Arc;

use crate::cache::PageCache;
use crate::cookies;
use crate::counters::count;
use crate::key::{self, MAX_KEY_BYTES, Scheme};
use crate::lookup::is_for_all;
use crate::moment::Moment;
use crate::page::Kind;
use crate::policy::Policy;
use crate::serving::Hit;
use crate::site::SiteCache;

/// A GET or HEAD without directives, conditions, credentials, a body or a range.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    /// With or without TLS.
    pub scheme: Scheme,
    /// The host as the worker is told, in lower case.
    pub host: &'a str,
    /// The path as the client wrote it.
    pub path: &'a str,
    /// What follows the `?`, if there is one.
    pub query: Option<&'a str>,
    /// Whether there is a `Cookie` among its lines.
    pub has_cookies: bool,
}

impl PageCache {
    /// The fresh page that a plain request gets, counted as a hit. `None`, and nothing counted: it isn't
    /// there, or has no body, or there is more to decide. `lines` gives the request's headers, and `key` a buffer.
    ///
    /// The patterns of the policy aren't looked at: they speak of paths, and what is stored under a path has
    /// been stored by the policy that its site has for good.
    pub fn at_hand<'l, L: Iterator<Item = (&'l [u8], &'l [u8])>>(
        &self,
        site: &Arc<SiteCache>,
        policy: &Policy,
        asked: Plain<'_>,
        lines: impl Fn() -> L,
        key: &mut Vec<u8>,
        now: Moment,
    ) -> Option<Hit> {
        if self.is_away() {
            return None;
        }
        let path = key::normal_path(asked.path);
        let query = asked
            .query
            .and_then(|query| key::normal_query(policy, query));
        let cookies = if asked.has_cookies {
            let cookies = lines().filter(|(name, _)| name.eq_ignore_ascii_case(b"cookie"));
            cookies::that_tell_apart(policy, cookies.map(|(_, value)| value)).ok()?
        } else {
            Vec::new()
        };
        let primary = key::Primary {
            site: site.id(),
            scheme: asked.scheme,
            host: asked.host,
            path: &path,
            query: query.as_deref(),
            cookies: &cookies,
        };
        key.clear();
        primary.push_to(key);
        if key.len() > MAX_KEY_BYTES {
            return None;
        }
        let mut page = self.current(site, key)?;
        if page.kind() == Kind::Variants {
            key::push_variant(key, page.vary(), lines);
            page = self.current(site, key)?;
        }
        if !is_for_all(&page, now) || page.body_length() == 0 {
            return None;
        }
        count(&site.counters().hits);
        Some(Hit::new(page, now))
    }
}
