//! `emperor.toml` after it was read: every value present, in its own unit.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use purge_targets::Target;
use site_model::{Hostname, RunAs, SiteId, Slug, TemplateName};
use site_registry::RowSource;
use vassal_core::diagnostic::Place;

use super::rollout::Rollout;
use super::values::{Listen, Network};

/// The daemon's configuration.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The file it was read from; `None`: none was found, and the defaults stand.
    pub(crate) file: Option<PathBuf>,
    /// This machine's name among several on one database.
    pub(crate) node: String,
    /// What survives a reboot.
    pub(crate) state_dir: PathBuf,
    /// What doesn't: sockets, instances' folders.
    pub(crate) runtime_dir: PathBuf,
    /// Where templates are sought, in this order, before the built-in ones.
    pub(crate) template_dirs: Vec<PathBuf>,
    /// `[database]`
    pub(crate) database: Database,
    /// `[router]`
    pub(crate) router: Router,
    /// `[domains]`
    pub(crate) domains: Domains,
    /// `[vassal]`: laid over every template, as its TOML text with its place in the file.
    pub(crate) vassal: OverlaySource,
    /// `[templates.NAME]`
    pub(crate) templates: BTreeMap<TemplateName, OverlaySource>,
    /// `[vassal] template`: for rows whose template is `''`.
    pub(crate) default_template: Option<TemplateName>,
    /// Where the file names templates.
    pub(crate) mentions: BTreeMap<TemplateName, Place>,
    /// `[vassal] run_as`: for rows whose `run_as` is `''`.
    pub(crate) default_run_as: Option<RunAs>,
    /// `[policy]`
    pub(crate) policy: Policy,
    /// `[spawn]`
    pub(crate) spawn: Spawn,
    /// `[rollout]`
    pub(crate) rollout: Rollout,
    /// `reload.settle`: how long counts of reloads have to be still before sites are replaced.
    pub(crate) reload_settle: Duration,
    /// `[logs]`
    pub(crate) logs: Logs,
    /// `[[purge.target]]`
    pub(crate) purge_targets: Vec<Target>,
    /// `[[site]]`
    pub(crate) sites: Vec<ConfiguredSite>,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Database {
    /// The connection URL, a secret; `None`: a private cluster in `state_dir/postgres`.
    pub(crate) url: Option<Secret>,
    /// Which tables sites are in.
    pub(crate) source: RowSource,
    /// Create or upgrade the schema at start.
    pub(crate) migrate: bool,
    /// Time between two full comparisons.
    pub(crate) resync_interval: Duration,
    /// Share of the sites, in percent, whose disappearance in one reading is believed.
    pub(crate) max_removals_percent: u8,
}

/// A value that is never shown: its `Debug` is three dots.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

/// `[router]`
#[derive(Debug, Clone)]
pub(crate) struct Router {
    /// Where it accepts requests.
    pub(crate) listen: Vec<Listen>,
    /// How many threads; 0: one per usable core.
    pub(crate) threads: usize,
    /// Who answers for unknown hosts.
    pub(crate) default_site: Option<Slug>,
    /// Whose `X-Forwarded-*` headers are believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The user it runs as; `None`: `emperor-router` if there is one, else a uid of the range.
    pub(crate) run_as: Option<RunAs>,
    /// `access_log`: `off`, `json` or `combined`.
    pub(crate) access_log: AccessLog,
    /// `drain_timeout`: how long requests may take to end once it ends.
    pub(crate) drain_timeout: Duration,
    /// Bounds of a request.
    pub(crate) limits: RequestLimits,
    /// Whose `PURGE` requests are obeyed.
    pub(crate) purge_allow: Vec<Network>,
    /// `cache.memory`: how many bytes the page cache may hold; 0: there is none.
    pub(crate) cache_memory_bytes: u64,
}

/// How requests are logged, in `state_dir/logs/access.log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccessLog {
    /// Not at all.
    Off,
    /// A JSON object a line.
    Json,
    /// The combined format.
    Combined,
}

/// Bounds of a request.
#[derive(Debug, Clone)]
pub(crate) struct RequestLimits {
    /// `max_head`, in bytes.
    pub(crate) max_head_bytes: u32,
    /// `max_target`, in bytes.
    pub(crate) max_target_bytes: u32,
    /// `max_body`, in bytes; 0: no bound.
    pub(crate) max_body_bytes: u64,
    /// `head_timeout`
    pub(crate) head_timeout: Duration,
    /// `keep_alive_timeout`
    pub(crate) keep_alive_timeout: Duration,
    /// `response_timeout`
    pub(crate) response_timeout: Duration,
    /// `connect_timeout`
    pub(crate) connect_timeout: Duration,
    /// `max_connections`
    pub(crate) max_connections: u32,
}

/// `[domains]`
#[derive(Debug, Clone)]
pub(crate) struct Domains {
    /// The real domain is ignored.
    pub(crate) rewrite: bool,
    /// With `{slug}` in it.
    pub(crate) rewrite_format: String,
}

/// A table of the file that holds a template overlay.
#[derive(Debug, Clone, Default)]
pub(crate) struct OverlaySource {
    /// The table's TOML, in place: all other lines of the file are blank, so that lines and columns
    /// of a diagnostic are the file's own. Empty: there is no such table.
    pub(crate) text: String,
    /// The file and the table, for diagnostics: `emperor.toml [vassal]`.
    pub(crate) origin: String,
}

/// `[policy]`
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    /// Tables that a row's `extra_config` may set.
    pub(crate) site_may_set: Vec<String>,
    /// Where `run_as = "auto"` finds uids.
    pub(crate) uid_range: RangeInclusive<u32>,
    /// `run_as = "root"` is permitted.
    pub(crate) allow_root: bool,
}

/// `[spawn]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spawn {
    /// `max_starting`: how many instances may be on their way at once, those that replace others
    /// apart; 0: twice the cores.
    pub(crate) max_starting: usize,
    /// `nice`: how much is added to the nice value of what starts, until it is ready.
    pub(crate) nice: i32,
}

/// `[logs]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Logs {
    /// `max_size`: a site's log is rotated above that many bytes.
    pub(crate) max_size_bytes: u64,
    /// `keep`: how many rotated files are kept.
    pub(crate) keep: usize,
}

/// `[[site]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfiguredSite {
    /// Its slug.
    pub(crate) slug: Slug,
    /// Its id, if it is to have a given one.
    pub(crate) id: Option<SiteId>,
    /// Its domain.
    pub(crate) domain: Option<Hostname>,
    /// Its template.
    pub(crate) template: Option<TemplateName>,
    /// Its overlay.
    pub(crate) extra_config: Option<String>,
    /// The user it runs as.
    pub(crate) run_as: Option<RunAs>,
    /// The pool it shares a vassal with.
    pub(crate) pool: Option<String>,
    /// Whether it is to run.
    pub(crate) enabled: Option<bool>,
}

impl Config {
    /// Whether somebody here keeps pages, so that purges have to be followed.
    pub(crate) fn keeps_pages(&self) -> bool {
        self.router.cache_memory_bytes > 0 || !self.purge_targets.is_empty()
    }
}

impl Secret {
    /// Wraps a value.
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The value, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("...")
    }
}
