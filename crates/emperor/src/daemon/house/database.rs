//! The house's ways into the database: rows, and purges.

use std::sync::Arc;

use site_registry::cluster::{ClusterError, ClusterOptions, Durability, PrivateCluster};
use site_registry::purges::{LONGEST_LOOK, PurgeOptions};
use site_registry::{ConfiguredRow, DatabaseTarget, Registry, RegistryOptions, TargetError};
use thiserror::Error;

use super::purging::PurgingPart;
use crate::config::Config;
use crate::config::model::ConfiguredSite;
use crate::daemon::router::board::RouteBoard;

/// The database can't be had.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    /// The private cluster can't be had.
    #[error(transparent)]
    Cluster(#[from] Arc<ClusterError>),
    /// `database.url` is no URL.
    #[error("database.url: {0}")]
    Url(#[from] TargetError),
}

/// Begins to run the private cluster, where no URL is given.
pub(super) fn database(
    config: &Config,
) -> Result<(Option<PrivateCluster>, DatabaseTarget), OpenError> {
    if let Some(url) = &config.database.url {
        return Ok((None, DatabaseTarget::parse(url.expose())?));
    }
    let cluster = PrivateCluster::begin(ClusterOptions {
        dir: config.cluster_dir(),
        socket_dir: config.cluster_socket_dir(),
        fallback_owner: None,
        durability: Durability::Full,
    });
    let cluster = cluster.map_err(Arc::new)?;
    let target = cluster.target();
    Ok((Some(cluster), target))
}

/// Begins to follow rows, and purges where somebody keeps pages.
pub(super) fn follow(
    config: &Config,
    target: DatabaseTarget,
    cluster: Option<&PrivateCluster>,
    board: &Arc<RouteBoard>,
) -> (Registry, PurgingPart) {
    let purges = purge_options(config, target.clone(), cluster);
    let purging = PurgingPart::start(config, purges, board);
    let registry = Registry::start(registry_options(config, target, cluster));
    (registry, purging)
}

fn registry_options(
    config: &Config,
    target: DatabaseTarget,
    cluster: Option<&PrivateCluster>,
) -> RegistryOptions {
    RegistryOptions {
        target,
        cluster: cluster.map(PrivateCluster::state),
        source: config.database.source.clone(),
        node: config.node.clone(),
        migrate: config.database.migrate,
        resync_interval: config.database.resync_interval,
        max_removals_percent: config.database.max_removals_percent,
        snapshot_path: config.state_dir.join("snapshot.json"),
        configured: config.sites.iter().map(configured_row).collect(),
    }
}

fn configured_row(site: &ConfiguredSite) -> ConfiguredRow {
    ConfiguredRow {
        slug: site.slug.clone(),
        id: site.id,
        domain: site.domain.clone(),
        template: site.template.clone(),
        extra_config: site.extra_config.clone(),
        run_as: site.run_as.clone(),
        pool: site.pool.clone(),
        enabled: site.enabled,
    }
}

fn purge_options(
    config: &Config,
    target: DatabaseTarget,
    cluster: Option<&PrivateCluster>,
) -> PurgeOptions {
    PurgeOptions {
        target,
        cluster: cluster.map(PrivateCluster::state),
        node: config.node.clone(),
        targets: Vec::new(),
        start_over: false,
        look_interval: LONGEST_LOOK,
    }
}
