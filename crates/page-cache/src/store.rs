//! The store: pages by their full keys, bounded by bytes, shared by the router's threads.
//!
//! Admission and eviction are `quick_cache`'s: a page that is asked for once leaves before those that
//! are asked for again, so a crawler that walks through a site doesn't empty the cache.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use quick_cache::sync::{Cache, Iter};
use quick_cache::{DefaultHashBuilder, Equivalent, Lifecycle, OptionsBuilder, Weighter};

use crate::counters::count;
use crate::page::{Kind, Page};

/// What a page is thought to weigh on average, to size what remembers pages that were let go.
const TYPICAL_BYTES: u64 = 16 << 10;

/// A shard that is smaller than this could hold no large page.
const LEAST_SHARD_BYTES: u64 = 32 << 20;

/// More shards than this bring nothing to the threads of one machine.
const MOST_SHARDS: u64 = 16;

/// A page as its own key, so that the key is in memory once.
#[derive(Clone)]
struct Keyed(Arc<Page>);

impl Hash for Keyed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Keyed {}

/// A key that no page has yet.
struct Sought<'a>(&'a [u8]);

impl Hash for Sought<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Equivalent<Keyed> for Sought<'_> {
    fn equivalent(&self, page: &Keyed) -> bool {
        self.0 == page.0.key()
    }
}

#[derive(Debug, Clone, Copy)]
struct ByBytes;

impl Weighter<Keyed, Arc<Page>> for ByBytes {
    fn weight(&self, _key: &Keyed, page: &Arc<Page>) -> u64 {
        page.weight()
    }
}

/// Counts what made room, and lets it go once the shard's lock is free again.
#[derive(Debug, Clone, Copy)]
struct Evictions;

impl Lifecycle<Keyed, Arc<Page>> for Evictions {
    type RequestState = Vec<Keyed>;

    fn on_evict(&self, evicted: &mut Vec<Keyed>, key: Keyed, page: Arc<Page>) {
        if page.kind() == Kind::Whole {
            count(&page.site().counters().evictions);
        }
        evicted.push(key);
    }
}

type Pages = Cache<Keyed, Arc<Page>, ByBytes, DefaultHashBuilder, Evictions>;

/// All pages of all sites.
pub(crate) struct Store {
    pages: Pages,
}

impl Store {
    /// A store of so many bytes.
    pub(crate) fn new(memory_bytes: u64) -> Self {
        let items = usize::try_from(memory_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        let shards = (memory_bytes / LEAST_SHARD_BYTES).clamp(1, MOST_SHARDS);
        let options = OptionsBuilder::new()
            .weight_capacity(memory_bytes)
            .estimated_items_capacity(items.max(1))
            .shards(usize::try_from(shards).unwrap_or(1))
            .build();
        let pages = match options {
            Ok(options) => {
                Cache::with_options(options, ByBytes, DefaultHashBuilder::default(), Evictions)
            }
            // Both capacities are given, which is all that the builder asks for.
            Err(error) => unreachable!("{error}"),
        };
        Self { pages }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<Page>> {
        self.pages.get(&Sought(key))
    }

    /// Without counting as a use.
    pub(crate) fn peek(&self, key: &[u8]) -> Option<Arc<Page>> {
        self.pages.peek(&Sought(key))
    }

    pub(crate) fn insert(&self, page: &Arc<Page>) {
        self.pages.insert(Keyed(Arc::clone(page)), Arc::clone(page));
    }

    /// Removes this very page, and not one that took its place meanwhile.
    pub(crate) fn remove(&self, page: &Arc<Page>) {
        let is_same = |other: &Arc<Page>| Arc::ptr_eq(other, page);
        self.pages.remove_if(&Sought(page.key()), is_same);
    }

    /// The most that one page may weigh.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.pages.shard_capacity()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.pages.weight()
    }

    pub(crate) fn len(&self) -> usize {
        self.pages.len()
    }

    /// All pages, one lock for each: whoever walks may pause anywhere.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk(self.pages.iter())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("pages", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// A walk over all pages that are there from its beginning to its end.
pub(crate) struct Walk<'a>(Iter<'a, Keyed, Arc<Page>, ByBytes, DefaultHashBuilder, Evictions>);

impl Iterator for Walk<'_> {
    type Item = Arc<Page>;

    fn next(&mut self) -> Option<Arc<Page>> {
        self.0.next().map(|(_, page)| page)
    }
}

impl fmt::Debug for Walk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Walk")
    }
}
