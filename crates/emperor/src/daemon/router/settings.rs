//! What the configuration says to the fastrouter, as it travels over the link.

use std::path::Path;
use std::time::Duration;

use wire::route::{AccessLogFormat, Settings};

use crate::config::Network;
use crate::config::model::{AccessLog, Router};

/// The file of the access log, in `state_dir/logs`.
pub(crate) const ACCESS_LOG: &str = "access.log";

/// The settings of `[router]`.
pub(crate) fn settings(router: &Router, state_dir: &Path) -> Settings {
    let limits = &router.limits;
    Settings {
        default_site: router
            .default_site
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        trusted_proxies: router.trusted_proxies.iter().map(in_cidr_form).collect(),
        max_head_bytes: limits.max_head_bytes,
        max_target_bytes: limits.max_target_bytes,
        max_body_bytes: limits.max_body_bytes,
        head_timeout_ms: milliseconds(limits.head_timeout),
        keep_alive_timeout_ms: milliseconds(limits.keep_alive_timeout),
        response_timeout_ms: milliseconds(limits.response_timeout),
        connect_timeout_ms: milliseconds(limits.connect_timeout),
        max_connections: limits.max_connections,
        drain_timeout_ms: milliseconds(router.drain_timeout),
        access_log: access_log_format(router.access_log).map(|format| wire::route::AccessLog {
            path: state_dir.join("logs").join(ACCESS_LOG),
            format,
        }),
        cache_memory_bytes: router.cache_memory_bytes,
        purge_allow: router.purge_allow.iter().map(in_cidr_form).collect(),
    }
}

fn in_cidr_form(network: &Network) -> String {
    format!("{}/{}", network.address, network.prefix)
}

fn access_log_format(log: AccessLog) -> Option<AccessLogFormat> {
    match log {
        AccessLog::Off => None,
        AccessLog::Json => Some(AccessLogFormat::Json),
        AccessLog::Combined => Some(AccessLogFormat::Combined),
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Settings for tests that need some and care about none but the default site.
#[cfg(test)]
pub(crate) mod fixture {
    use super::Settings;

    pub(crate) fn settings(default_site: &str) -> Settings {
        Settings {
            default_site: default_site.into(),
            trusted_proxies: vec![],
            max_head_bytes: 32 * 1024,
            max_target_bytes: 8 * 1024,
            max_body_bytes: 0,
            head_timeout_ms: 10_000,
            keep_alive_timeout_ms: 75_000,
            response_timeout_ms: 60_000,
            connect_timeout_ms: 5_000,
            max_connections: 1_000,
            drain_timeout_ms: 30_000,
            access_log: None,
            cache_memory_bytes: 0,
            purge_allow: vec![],
        }
    }
}
