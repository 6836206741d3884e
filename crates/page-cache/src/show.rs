//! What is stored, for operators who ask.

use site_model::SiteId;

use crate::cache::PageCache;
use crate::freshness::FOREVER;
use crate::key;
use crate::moment::Moment;
use crate::page::{Kind, Page};
use crate::reason::BypassReason;

/// One place of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The host it was asked for.
    pub host: String,
    /// Its path.
    pub path: String,
    /// Its query, with `?`; empty without one.
    pub query: String,
    /// The headers that it was chosen by, with their values.
    pub variant: Vec<String>,
    /// The status of the answer.
    pub status: u16,
    /// When it was stored.
    pub stored: Moment,
    /// Its age, in seconds.
    pub age: u64,
    /// Seconds until it expires; `None` without an end.
    pub ttl: Option<i64>,
    /// What it weighs, in bytes.
    pub bytes: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why nothing is kept here, where that is so.
    pub refused: Option<BypassReason>,
}

impl PageCache {
    /// What is stored of a site, at most so many places; of one path where it is given. It walks
    /// through the whole store, a page at a time, so it is for people and not for requests.
    pub fn show(&self, id: SiteId, path: Option<&str>, most: usize, now: Moment) -> Vec<Shown> {
        let path = path.map(key::normal_path);
        let is_wanted = |page: &Page| {
            let wanted = path
                .as_ref()
                .is_none_or(|path| key::path_of(page.key()) == path.as_bytes());
            wanted && page.kind() != Kind::Variants && page.is_current()
        };
        let pages = self.pages_of(id).filter(|page| is_wanted(page));
        pages.take(most).map(|page| shown(&page, now)).collect()
    }
}

fn shown(page: &Page, now: Moment) -> Shown {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (key, freshness) = (page.key(), page.freshness());
    Shown {
        host: text(key::host_of(key)),
        path: text(key::path_of(key)),
        query: text(key::query_of(key)),
        variant: key::variant_of(key).into_iter().map(text).collect(),
        status: page.status().as_u16(),
        stored: freshness.received,
        age: freshness.age(now),
        ttl: (freshness.lifetime != FOREVER).then(|| freshness.ttl(now)),
        bytes: page.weight(),
        tags: page.tags().map(text).collect(),
        refused: match page.kind() {
            Kind::Uncacheable(reason) => Some(reason),
            Kind::Whole | Kind::Variants => None,
        },
    }
}
