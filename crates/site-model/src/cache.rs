//! What a site wants of the page cache, as it was written and as it travels to the router.

use std::time::Duration;

/// How pages of a site, or of a path of it, are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheMode {
    /// Not at all.
    Off,
    /// As RFC 9111 has it for a shared cache.
    #[default]
    Http,
    /// Until an invalidation names them.
    UntilPurged,
}

impl CacheMode {
    /// The mode of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Off, Self::Http, Self::UntilPurged]
            .into_iter()
            .find(|mode| mode.name() == name)
    }

    /// As it is written in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Http => "http",
            Self::UntilPurged => "until-purged",
        }
    }
}

/// The `[cache]` table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CacheSettings {
    /// The mode where no path says otherwise.
    pub mode: CacheMode,
    /// Modes of paths: the first pattern that matches decides.
    pub paths: Vec<(String, CacheMode)>,
    /// Patterns of paths that are never kept.
    pub ignore: Vec<String>,
    /// `until-purged`: no page is kept longer. `None`: no ceiling.
    pub max_age: Option<Duration>,
    /// Names of query parameters that don't tell pages apart; `utm_*` stands for all that begin so.
    pub ignore_query: Vec<String>,
    /// Whether `?a=1&b=2` and `?b=2&a=1` are one page.
    pub sort_query: bool,
    /// Cookies that tell pages apart. A request with any other goes to the worker.
    pub cookies: Vec<String>,
    /// Names of cookies that the application doesn't read; `_ga*` stands for all that begin so.
    pub ignore_cookies: Vec<String>,
    /// How long an expired page is served while it is refreshed, where the answer doesn't say.
    pub stale_while_revalidate: Duration,
    /// How long an expired page is served while workers fail, where the answer doesn't say.
    pub stale_if_error: Duration,
    /// The largest page, in bytes of head and body.
    pub max_page: usize,
}

impl CacheSettings {
    /// Whether no page of any path is kept.
    pub fn is_off(&self) -> bool {
        self.mode == CacheMode::Off && self.paths.iter().all(|(_, mode)| *mode == CacheMode::Off)
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            mode: CacheMode::Http,
            paths: Vec::new(),
            ignore: vec!["^/admin/".to_owned()],
            max_age: None,
            ignore_query: Vec::new(),
            sort_query: false,
            cookies: Vec::new(),
            ignore_cookies: Vec::new(),
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            max_page: 8 << 20,
        }
    }
}
