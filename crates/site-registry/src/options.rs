//! What the registry is started with.

use std::path::PathBuf;
use std::time::Duration;

use site_model::{Hostname, RunAs, SiteId, Slug, TemplateName};
use tokio::sync::watch;

use crate::cluster::ClusterState;
use crate::link::DatabaseTarget;
use crate::source::RowSource;

/// What the registry is started with.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// The database.
    pub target: DatabaseTarget,
    /// How the private cluster is, where the database is in one: no connection is tried while it
    /// doesn't run.
    pub cluster: Option<watch::Receiver<ClusterState>>,
    /// Which tables the rows are in.
    pub source: RowSource,
    /// This machine's name in `emperor.site_status`.
    pub node: String,
    /// Create or upgrade the schema at the first connection.
    pub migrate: bool,
    /// Time between two full readings, besides those after a connection.
    pub resync_interval: Duration,
    /// Share of the sites, in percent, whose disappearance in one reading is believed.
    pub max_removals_percent: u8,
    /// Where the last good reading is kept.
    pub snapshot_path: PathBuf,
    /// The `[[site]]` rows of the configuration.
    pub configured: Vec<ConfiguredRow>,
}

/// A `[[site]]` of the configuration: `None` leaves what the row has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredRow {
    /// `slug`
    pub slug: Slug,
    /// `id`; the row is found by it where it is given, else by the slug.
    pub id: Option<SiteId>,
    /// `domain`
    pub domain: Option<Hostname>,
    /// `template`
    pub template: Option<TemplateName>,
    /// `extra_config`
    pub extra_config: Option<String>,
    /// `run_as`
    pub run_as: Option<RunAs>,
    /// `pool`
    pub pool: Option<String>,
    /// `enabled`; `false` is for a row that is made, and turns off none that is there.
    pub enabled: Option<bool>,
}
