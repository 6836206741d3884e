//! Documents about cached pages and their purges.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be purged: body of `POST /v1/purge`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PurgeDocument {
    /// Whose pages, by slug or id; left out: those of every site.
    pub site: Option<String>,
    /// Pages with these paths.
    pub paths: Vec<String>,
    /// Pages whose paths begin with one of these.
    pub prefixes: Vec<String>,
    /// Pages with one of these tags.
    pub tags: Vec<String>,
    /// All pages.
    pub all: bool,
}

/// What was recorded: answer of `POST /v1/purge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgedDocument {
    /// The purges' ids, for `emperor.purge_wait()`.
    pub purges: Vec<i64>,
}

/// What is stored of a site: answer of `GET /v1/sites/{site}/cache`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CachedDocument {
    /// The site's id.
    pub site: i64,
    /// Whether the cache is out of use because purges can't be heard.
    pub suspended: bool,
    /// What was counted of the site; `null`: nothing so far, or it has no cache.
    pub counters: Option<SiteCacheDocument>,
    /// At most 500 of its pages.
    pub pages: Vec<PageDocument>,
}

/// What stands at one place of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PageDocument {
    /// The host it was asked for.
    pub host: String,
    /// Its path.
    pub path: String,
    /// Its query, with `?`.
    pub query: String,
    /// The headers that it was chosen by, with their values.
    pub variant: Vec<String>,
    /// The status of the answer.
    pub status: u16,
    /// When it was stored (RFC 3339).
    pub stored_at: String,
    /// Its age, in seconds.
    pub age: u64,
    /// Seconds until it expires, negative since when; `null`: without an end.
    pub ttl: Option<i64>,
    /// What it takes, in bytes.
    pub bytes: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// Why nothing is kept here, by the name of the reason; `null`: it is.
    pub refused: Option<String>,
}

/// The page cache of all sites.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CacheStatus {
    /// Whether it is out of use because purges can't be heard.
    pub suspended: bool,
    /// Pages stored.
    #[serde(default)]
    pub pages: u64,
    /// Pages, and markers that stand for variants or for what can't be kept.
    pub entries: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Workers that are being asked for pages.
    pub fills: u64,
}

/// What the page cache counted of one site since its router knows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SiteCacheDocument {
    /// The share of cacheable requests that were answered from the cache, 0 to 1; `null`: there were none.
    pub hit_ratio: Option<f64>,
    /// Requests answered by a fresh page.
    pub hits: u64,
    /// Requests answered by an expired page.
    pub stale: u64,
    /// Requests for which nothing usable was stored.
    pub misses: u64,
    /// Pages stored.
    pub fills: u64,
    /// Pages found unchanged by asking.
    pub revalidations: u64,
    /// Requests that waited for another's fill.
    pub waits: u64,
    /// Pages that made room for others.
    pub evictions: u64,
    /// Purges heard.
    pub purges: u64,
    /// Pages now.
    pub pages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests that the cache had no part in.
    pub bypasses: Vec<ReasonDocument>,
    /// Answers that were not kept.
    pub refusals: Vec<ReasonDocument>,
}

/// How often something had this reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonDocument {
    /// Its name.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// How purges are followed, and carried out in front of the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgesStatus {
    /// Whether purges arrive. While they don't, no page is answered from a cache.
    pub following: bool,
    /// Why they don't.
    pub detail: String,
    /// The targets, as the configuration has them.
    pub targets: Vec<PurgeTargetStatus>,
}

/// One `[[purge.target]]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeTargetStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Purges that wait.
    pub queued: usize,
    /// Why the last attempt failed; `null`: it didn't.
    pub failing: Option<String>,
    /// In how many milliseconds it is tried again; `null`: it doesn't wait for that.
    pub next_try_in_ms: Option<u64>,
    /// Purges given up since the emperor started; `emperor.purge_dead_letters` has them.
    pub dead: u64,
}
