//! The page cache as it travels: what sites want of it, purges, and what is stored.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use site_model::{CacheMode, CacheSettings};

/// How many pages of a site are shown at most, so that a frame stays far below its bound.
pub const PAGES_PER_ANSWER: usize = 500;

/// For how long a [`ToRouter::ResumeCache`](crate::route::ToRouter::ResumeCache) lets a router use its cache.
///
/// Together with [`OLDEST_RENEWAL`] it is `emperor.purge_lease()`, after which `emperor.purge_wait()` no
/// longer waits for this machine.
pub const CACHE_LEASE: Duration = Duration::from_secs(10);

/// The emperor resumes a cache on the strength of a sign of life in the database that is no older.
pub const OLDEST_RENEWAL: Duration = Duration::from_secs(5);

/// What is to be forgotten of one site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePurge {
    /// The site.
    pub site_id: i64,
    /// All that is to be forgotten of it.
    pub purges: Vec<PurgeFrame>,
}

/// One thing to forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PurgeFrame {
    /// A path with all its queries, variants, hosts and schemes.
    Path(String),
    /// All paths that begin so.
    Prefix(String),
    /// All pages with this tag.
    Tag(String),
    /// Everything.
    Site,
}

/// A [`CacheSettings`] as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheFrame {
    /// [`CacheSettings::mode`].
    pub mode: CacheModeFrame,
    /// [`CacheSettings::paths`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<(String, CacheModeFrame)>,
    /// [`CacheSettings::ignore`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// [`CacheSettings::max_age`], in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age_ms: Option<u64>,
    /// [`CacheSettings::ignore_query`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_query: Vec<String>,
    /// [`CacheSettings::sort_query`].
    #[serde(default)]
    pub sort_query: bool,
    /// [`CacheSettings::cookies`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cookies: Vec<String>,
    /// [`CacheSettings::ignore_cookies`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore_cookies: Vec<String>,
    /// [`CacheSettings::stale_while_revalidate`], in milliseconds.
    #[serde(default)]
    pub stale_while_revalidate_ms: u64,
    /// [`CacheSettings::stale_if_error`], in milliseconds.
    #[serde(default)]
    pub stale_if_error_ms: u64,
    /// [`CacheSettings::max_page`].
    pub max_page_bytes: usize,
}

/// A [`CacheMode`] as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheModeFrame {
    /// [`CacheMode::Off`].
    Off,
    /// [`CacheMode::Http`].
    Http,
    /// [`CacheMode::UntilPurged`].
    UntilPurged,
}

/// What stands at one place of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageFrame {
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
    /// When it was stored, in milliseconds since the beginning of 1970.
    pub stored_ms: u64,
    /// Its age, in seconds.
    pub age: u64,
    /// Seconds until it expires, negative since when; absent: without an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// What it weighs, in bytes.
    pub bytes: u64,
    /// Its tags.
    pub tags: Vec<String>,
    /// The name of the reason why nothing is kept here, where that is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// How the page cache does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Pages stored, and markers that stand for variants or for what can't be kept.
    pub entries: u64,
    /// What they weigh.
    pub bytes: u64,
    /// Fills under way.
    pub fills: u64,
    /// Whether purges can't be heard, so that nothing is served from it.
    pub away: bool,
    /// The sites whose pages were asked for.
    pub sites: Vec<SiteCacheStats>,
}

/// Counters of one site since the router knows it, and gauges of this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteCacheStats {
    /// The site.
    pub site_id: i64,
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
    /// Pages in memory now.
    pub pages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Requests that the cache had no part in, by the name of the reason.
    pub bypasses: Vec<(String, u64)>,
    /// Answers that were not kept, by the name of the reason.
    pub refusals: Vec<(String, u64)>,
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<&CacheSettings> for CacheFrame {
    fn from(settings: &CacheSettings) -> Self {
        let paths = settings.paths.iter();
        Self {
            mode: settings.mode.into(),
            paths: paths
                .map(|(pattern, mode)| (pattern.clone(), (*mode).into()))
                .collect(),
            ignore: settings.ignore.clone(),
            max_age_ms: settings.max_age.map(milliseconds),
            ignore_query: settings.ignore_query.clone(),
            sort_query: settings.sort_query,
            cookies: settings.cookies.clone(),
            ignore_cookies: settings.ignore_cookies.clone(),
            stale_while_revalidate_ms: milliseconds(settings.stale_while_revalidate),
            stale_if_error_ms: milliseconds(settings.stale_if_error),
            max_page_bytes: settings.max_page,
        }
    }
}

impl From<CacheFrame> for CacheSettings {
    fn from(frame: CacheFrame) -> Self {
        let paths = frame.paths.into_iter();
        Self {
            mode: frame.mode.into(),
            paths: paths
                .map(|(pattern, mode)| (pattern, mode.into()))
                .collect(),
            ignore: frame.ignore,
            max_age: frame.max_age_ms.map(Duration::from_millis),
            ignore_query: frame.ignore_query,
            sort_query: frame.sort_query,
            cookies: frame.cookies,
            ignore_cookies: frame.ignore_cookies,
            stale_while_revalidate: Duration::from_millis(frame.stale_while_revalidate_ms),
            stale_if_error: Duration::from_millis(frame.stale_if_error_ms),
            max_page: frame.max_page_bytes,
        }
    }
}

impl From<CacheMode> for CacheModeFrame {
    fn from(mode: CacheMode) -> Self {
        match mode {
            CacheMode::Off => Self::Off,
            CacheMode::Http => Self::Http,
            CacheMode::UntilPurged => Self::UntilPurged,
        }
    }
}

impl From<CacheModeFrame> for CacheMode {
    fn from(frame: CacheModeFrame) -> Self {
        match frame {
            CacheModeFrame::Off => Self::Off,
            CacheModeFrame::Http => Self::Http,
            CacheModeFrame::UntilPurged => Self::UntilPurged,
        }
    }
}
