//! The settings of the emperor, parsed.

use std::time::Duration;

use http_edge::guard::HeadLimits;
use http_edge::trust::{NoNetwork, TrustedProxies};
use site_model::{Slug, SlugError};
use thiserror::Error;
use wire::route::AccessLogFormat;

/// The largest head that any setting can allow: what the parser behind the guard has room for.
const HEAD_CEILING: usize = 128 * 1024;

/// How the router behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Who answers for unknown hosts.
    pub(crate) default_site: Option<Slug>,
    /// Whose forwarding headers are believed.
    pub(crate) trusted_proxies: TrustedProxies,
    /// Bounds of a request head.
    pub(crate) head: HeadLimits,
    /// Bound of a request body; `None`: no bound.
    pub(crate) max_body_bytes: Option<u64>,
    /// How long a head may take to arrive.
    pub(crate) head_timeout: Duration,
    /// How long a connection may idle between two requests, and a client within one.
    pub(crate) keep_alive_timeout: Duration,
    /// How long a worker may be silent.
    pub(crate) response_timeout: Duration,
    /// How long connecting to a worker may take.
    pub(crate) connect_timeout: Duration,
    /// How many client connections may be open over all threads.
    pub(crate) max_connections: u64,
    /// How long requests and tunnels may take to end once the router drains.
    pub(crate) drain_timeout: Duration,
    /// How requests are logged; `None`: not at all.
    pub(crate) access_log: Option<AccessLogFormat>,
    /// How many bytes the page cache may hold; 0: there is none.
    pub(crate) cache_memory_bytes: u64,
    /// Whose `PURGE` requests are obeyed.
    pub(crate) purge_allow: TrustedProxies,
}

/// Settings that make no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SettingsError {
    #[error("default_site: {0}")]
    DefaultSite(#[from] SlugError),
    #[error("trusted_proxies: {0}")]
    Network(NoNetwork),
    #[error("purge_allow: {0}")]
    PurgeAllow(NoNetwork),
}

impl TryFrom<wire::route::Settings> for Settings {
    type Error = SettingsError;

    fn try_from(wire: wire::route::Settings) -> Result<Self, SettingsError> {
        let default_site = match wire.default_site.as_str() {
            "" => None,
            slug => Some(slug.parse()?),
        };
        let proxies = wire.trusted_proxies.iter().map(String::as_str);
        Ok(Self {
            default_site,
            trusted_proxies: TrustedProxies::parse(proxies).map_err(SettingsError::Network)?,
            head: HeadLimits {
                head_bytes: (wire.max_head_bytes as usize).min(HEAD_CEILING),
                target_bytes: wire.max_target_bytes as usize,
            },
            max_body_bytes: Some(wire.max_body_bytes).filter(|bound| *bound > 0),
            head_timeout: Duration::from_millis(wire.head_timeout_ms),
            keep_alive_timeout: Duration::from_millis(wire.keep_alive_timeout_ms),
            response_timeout: Duration::from_millis(wire.response_timeout_ms),
            connect_timeout: Duration::from_millis(wire.connect_timeout_ms),
            max_connections: u64::from(wire.max_connections),
            drain_timeout: Duration::from_millis(wire.drain_timeout_ms),
            access_log: wire.access_log.map(|log| log.format),
            cache_memory_bytes: wire.cache_memory_bytes,
            purge_allow: TrustedProxies::parse(wire.purge_allow.iter().map(String::as_str))
                .map_err(SettingsError::PurgeAllow)?,
        })
    }
}

impl Settings {
    /// How the router behaves while nobody has told it: for those who come before the first table.
    pub(crate) fn before_any() -> Self {
        Self {
            default_site: None,
            trusted_proxies: TrustedProxies::default(),
            head: HeadLimits {
                head_bytes: 64 * 1024,
                target_bytes: 8 * 1024,
            },
            max_body_bytes: None,
            head_timeout: Duration::from_secs(15),
            keep_alive_timeout: Duration::from_mins(1),
            response_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(5),
            max_connections: 10_000,
            drain_timeout: Duration::from_secs(30),
            access_log: None,
            cache_memory_bytes: 0,
            purge_allow: TrustedProxies::default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn on_the_wire() -> wire::route::Settings {
        wire::route::Settings {
            default_site: String::new(),
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
            cache_memory_bytes: 64 << 20,
            purge_allow: vec![],
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_place() {
        let wrong_proxy = wire::route::Settings {
            trusted_proxies: vec!["localhost".into()],
            ..on_the_wire()
        };
        let refused = Settings::try_from(wrong_proxy).unwrap_err();
        assert!(
            refused.to_string().starts_with("trusted_proxies: "),
            "{refused}"
        );
        let wrong_slug = wire::route::Settings {
            default_site: "-".into(),
            ..on_the_wire()
        };
        let refused = Settings::try_from(wrong_slug).unwrap_err();
        assert!(
            refused.to_string().starts_with("default_site: "),
            "{refused}"
        );
    }

    #[test]
    fn no_setting_allows_a_head_that_the_parser_has_no_room_for() {
        let large = wire::route::Settings {
            max_head_bytes: u32::MAX,
            ..on_the_wire()
        };
        assert_eq!(
            Settings::try_from(large).unwrap().head.head_bytes,
            HEAD_CEILING
        );
    }
}
