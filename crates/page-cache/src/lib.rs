//! Pages kept until they expire or are purged.
//!
//! Nothing here opens a socket or reads a clock: heads go in, decisions and answers come out, and
//! `now` is an argument. The fastrouter asks, waits and sends; this crate says what may be shared, with
//! whom and for how long, and keeps it.
//!
//! A request's way through the cache: [`CacheRequest::read`] → [`PageCache::look_up`] →
//! [`Hit::answer`], or [`PageCache::begin`] → [`FillPermit::prepare`] → [`FillPermit::answer`] →
//! [`Recorder::finish`]. A request that says nothing to caches may find its page without being read:
//! [`PageCache::at_hand`]. `docs/CACHE.md` has the rules as operators meet them.
//!
//! | module | what |
//! |---|---|
//! | `policy` | what a site wants of the cache |
//! | `key` | what tells one page from another |
//! | `request`, `cookies` | a request as the cache sees it |
//! | `directives` | `Cache-Control` and its like |
//! | `freshness`, `moment` | how old a page is, and how old it may become |
//! | `conditional`, `range` | 304 and parts, from a stored whole |
//! | `at_hand` | fresh pages for requests that ask for nothing else |
//! | `lookup`, `permit`, `recorder`, `fill` | what a request finds, and who asks the worker |
//! | `revalidation` | what other answers say about a stored page |
//! | `purge`, `sweep` | what is no longer true, and how pages learn of it |
//! | `storing` | whether an answer may be kept |
//! | `page`, `head`, `store` | what is kept of an answer, and where |
//! | `site`, `cache` | one site within the cache, and the whole put together |
//! | `serving` | answers made of stored pages |
//! | `reason`, `cache_status`, `counters`, `show` | what is told about all that |

mod at_hand;
mod cache;
mod cache_status;
mod conditional;
mod cookies;
mod counters;
mod directives;
mod fill;
mod freshness;
mod head;
mod key;
mod lookup;
mod moment;
mod page;
mod permit;
mod policy;
mod purge;
mod range;
mod reason;
mod recorder;
mod request;
mod revalidation;
mod serving;
mod show;
mod site;
mod store;
mod storing;
mod sweep;

pub use at_hand::Plain;
pub use cache::{Begin, Fullness, PageCache};
pub use cache_status::{CacheStatus, Forwarded};
pub use counters::Counted;
pub use fill::{Outcome, Ticket};
pub use key::Scheme;
pub use lookup::{Ask, Lookup};
pub use moment::Moment;
pub use page::{PAGE_OVERHEAD_BYTES, Page};
pub use permit::{Answered, FillPermit};
pub use policy::{Mode, Policy, PolicyError, Settings};
pub use purge::{Purge, PurgeSequence};
pub use reason::BypassReason;
pub use recorder::Recorder;
pub use request::{Asked, CacheRequest};
pub use serving::{Answer, Hit};
pub use site::SiteCache;
