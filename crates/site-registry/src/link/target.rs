//! Where the database is: a connection URL, parsed once, whose secret is never shown.
//!
//! The URL is libpq's. The client library knows fewer values of `sslmode` than libpq and no
//! `sslrootcert`, and tries several hosts without a bound on the time each takes; so this module
//! takes those parameters out, and yields one configuration per host.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Time for one address to take the connection, where the URL has no `connect_timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead network is noticed this long after the last byte: the idle time, then probes, which
/// `TCP_USER_TIMEOUT` bounds together with any unacknowledged data.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(20);
/// Where Debian, Red Hat and their kin put the socket of the machine's own server.
const DEFAULT_SOCKET_DIR: &str = "/var/run/postgresql";
const DEFAULT_PORT: u16 = 5432;

/// A parsed connection URL. `Debug` and `Display` show hosts and database, never user or password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseTarget {
    pub(crate) hosts: Vec<HostTarget>,
    pub(crate) tls: TlsPolicy,
    database: String,
}

/// One of the hosts of a URL.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct HostTarget {
    /// How messages call it.
    pub(crate) label: String,
    pub(crate) config: Config,
    /// For one whole attempt: a name may have an address that is dead and one that isn't, and then
    /// there are TLS and the log-in.
    pub(crate) timeout: Duration,
    pub(crate) is_unix: bool,
}

/// `sslmode` and `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsPolicy {
    /// `disable`
    Off,
    /// `prefer` and `allow`: TLS where the server offers it, unverified.
    IfOffered,
    /// `require` without `sslrootcert`: TLS, unverified.
    Unverified,
    /// `verify-ca`, and `require` with `sslrootcert`: the chain is verified, the name isn't.
    Chain(Roots),
    /// `verify-full`: chain and name.
    Full(Roots),
}

/// Which certificates are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Roots {
    /// Those of the machine.
    System,
    /// Those in a PEM file.
    File(PathBuf),
}

/// A connection URL that can't be used. No part of the URL is repeated that might be a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Not a URL.
    #[error("a database URL begins with postgresql:// or postgres://")]
    Scheme,
    /// A `?` or a second `@` where none can be: most likely part of a password.
    #[error(
        "the URL has a '?', '/' or '@' out of place; in a password, write '?' as %3F, '/' as %2F \
         and '@' as %40"
    )]
    Ambiguous,
    /// A parameter without `=`, or a percent escape that is none.
    #[error("the URL is malformed: {0}")]
    Malformed(&'static str),
    /// A parameter that is not known.
    #[error("the URL has the unknown parameter {0:?}; known are {KNOWN_PARAMETERS}")]
    UnknownParameter(String),
    /// A parameter's value can't be used.
    #[error("the URL's {parameter} has a value that can't be used; {expected}")]
    Value {
        /// The parameter.
        parameter: &'static str,
        /// What it may be.
        expected: &'static str,
    },
}

const KNOWN_PARAMETERS: &str = "host, hostaddr, port, user, password, dbname, sslmode, \
     sslrootcert, target_session_attrs, connect_timeout, application_name, options, keepalives, \
     keepalives_idle, keepalives_interval, keepalives_retries, tcp_user_timeout, channel_binding, \
     load_balance_hosts";

impl DatabaseTarget {
    /// Parses `postgresql://user:password@host1:port1,host2/database?sslmode=verify-full`.
    ///
    /// Without a host, the machine's own server is meant (`/var/run/postgresql`); without a
    /// database, the one named like the user.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let parts = UrlParts::split(url)?;
        let mut config: Config = parts
            .rest
            .parse()
            .map_err(|_| TargetError::Malformed("a host, a port or a parameter"))?;
        let tls = parts.tls_policy()?;
        apply_defaults(&mut config);
        let hosts = per_host(&config, &tls);
        let database = config.get_dbname().or(config.get_user());
        Ok(Self {
            database: database.unwrap_or("(the user's own)").to_owned(),
            hosts,
            tls,
        })
    }

    /// The server of a private cluster: its socket folder, with a user and a database of no secret.
    pub(crate) fn unix(socket_dir: &std::path::Path, user: &str, database: &str) -> Self {
        let mut config = Config::new();
        config.host_path(socket_dir).user(user).dbname(database);
        apply_defaults(&mut config);
        Self {
            hosts: per_host(&config, &TlsPolicy::Off),
            tls: TlsPolicy::Off,
            database: database.to_owned(),
        }
    }

    /// Gives every session this name in `pg_stat_activity`, where the URL names none.
    pub(crate) fn set_application_name(&mut self, name: &str) {
        for host in &mut self.hosts {
            if host.config.get_application_name().is_none() {
                host.config.application_name(name);
            }
        }
    }
}

impl fmt::Display for DatabaseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, host) in self.hosts.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{}", host.label)?;
        }
        write!(f, "/{}", self.database)
    }
}

impl fmt::Debug for DatabaseTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseTarget({self})")
    }
}

/// A URL without the parameters that the client library doesn't know.
struct UrlParts {
    rest: String,
    ssl_mode: Option<String>,
    ssl_root_cert: Option<String>,
}

impl UrlParts {
    fn split(url: &str) -> Result<Self, TargetError> {
        let body = url
            .strip_prefix("postgresql://")
            .or_else(|| url.strip_prefix("postgres://"))
            .ok_or(TargetError::Scheme)?;
        let (base, query) = body.split_once('?').unwrap_or((body, ""));
        let authority = base.split('/').next().unwrap_or(base);
        if query.contains('@') || base.matches('@').count() > 1 || !at_is_in(authority, base) {
            return Err(TargetError::Ambiguous);
        }
        let mut parts = Self {
            rest: format!("postgresql://{base}"),
            ssl_mode: None,
            ssl_root_cert: None,
        };
        let mut separator = '?';
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or(TargetError::Malformed("a parameter without '='"))?;
            if parts.takes(key, value)? {
                parts.rest.push(separator);
                parts.rest.push_str(pair);
                separator = '&';
            }
        }
        Ok(parts)
    }

    /// Keeps what is this module's own; `true` for what the client library is to parse.
    fn takes(&mut self, key: &str, value: &str) -> Result<bool, TargetError> {
        let decoded = || {
            let text = percent_decode_str(value).decode_utf8();
            text.map(std::borrow::Cow::into_owned)
                .map_err(|_| TargetError::Malformed("a percent escape"))
        };
        match key {
            "sslmode" => self.ssl_mode = Some(decoded()?),
            "sslrootcert" => self.ssl_root_cert = Some(decoded()?),
            "target_session_attrs" => check_session_attrs(&decoded()?)?,
            "host"
            | "hostaddr"
            | "port"
            | "user"
            | "password"
            | "dbname"
            | "connect_timeout"
            | "application_name"
            | "options"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_retries"
            | "tcp_user_timeout"
            | "channel_binding"
            | "load_balance_hosts" => return Ok(true),
            other => return Err(TargetError::UnknownParameter(other.to_owned())),
        }
        Ok(false)
    }

    fn tls_policy(&self) -> Result<TlsPolicy, TargetError> {
        let roots = self.ssl_root_cert.as_deref().map(|path| match path {
            "system" => Roots::System,
            path => Roots::File(path.into()),
        });
        let policy = match (self.ssl_mode.as_deref(), roots) {
            (Some("disable"), _) => TlsPolicy::Off,
            (None | Some("prefer" | "allow"), _) => TlsPolicy::IfOffered,
            (Some("require"), None) => TlsPolicy::Unverified,
            (Some("require"), Some(roots)) => TlsPolicy::Chain(roots),
            (Some("verify-ca"), roots) => TlsPolicy::Chain(roots.unwrap_or(Roots::System)),
            (Some("verify-full"), roots) => TlsPolicy::Full(roots.unwrap_or(Roots::System)),
            (Some(_), _) => {
                return Err(TargetError::Value {
                    parameter: "sslmode",
                    expected: "one of disable, prefer, require, verify-ca, verify-full",
                });
            }
        };
        Ok(policy)
    }
}

/// An `@` after the first slash would be taken for the end of the credentials.
fn at_is_in(authority: &str, base: &str) -> bool {
    base.contains('@') == authority.contains('@')
}

/// Notifications and status rows need a server that takes writes, whatever the URL says; a URL that
/// asks for something else was written for another program.
fn check_session_attrs(value: &str) -> Result<(), TargetError> {
    match value {
        "any" | "read-write" | "primary" => Ok(()),
        _ => Err(TargetError::Value {
            parameter: "target_session_attrs",
            expected: "the emperor writes, so read-write is the one that fits",
        }),
    }
}

fn apply_defaults(config: &mut Config) {
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host(DEFAULT_SOCKET_DIR);
    }
    config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
}

/// One configuration per host, so that the time each may take is bounded on its own.
fn per_host(config: &Config, tls: &TlsPolicy) -> Vec<HostTarget> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    (0..hosts.len().max(addresses.len()))
        .map(|place| {
            let ports = config.get_ports();
            let port = ports.get(place).or(ports.first()).copied();
            let host = hosts.get(place).cloned();
            let address = addresses.get(place).copied();
            let name = host
                .unwrap_or_else(|| Host::Tcp(address.map(|a| a.to_string()).unwrap_or_default()));
            let mut alone = without_hosts(config);
            alone.port(port.unwrap_or(DEFAULT_PORT));
            if let Some(address) = address {
                alone.hostaddr(address);
            }
            host_target(alone, &name, port.unwrap_or(DEFAULT_PORT), tls)
        })
        .collect()
}

fn host_target(mut config: Config, host: &Host, port: u16, tls: &TlsPolicy) -> HostTarget {
    let (label, is_unix) = match host {
        Host::Tcp(name) => {
            config.host(name.as_str());
            (format!("{name}:{port}"), false)
        }
        Host::Unix(path) => {
            config.host_path(path);
            (format!("[{}]", path.display()), true)
        }
    };
    // As in libpq, sslmode means nothing on a unix socket.
    config.ssl_mode(match tls {
        _ if is_unix => SslMode::Disable,
        TlsPolicy::Off => SslMode::Disable,
        TlsPolicy::IfOffered => SslMode::Prefer,
        TlsPolicy::Unverified | TlsPolicy::Chain(_) | TlsPolicy::Full(_) => SslMode::Require,
    });
    let timeout = config.get_connect_timeout().copied();
    HostTarget {
        label,
        timeout: timeout.unwrap_or(CONNECT_TIMEOUT) * 2,
        config,
        is_unix,
    }
}

/// The client library can add hosts to a configuration but not take them out.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(database) = config.get_dbname() {
        copy.dbname(database);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        copy.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy.keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    copy
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(url: &str, shown: &str, tls: &TlsPolicy) {
        let target = DatabaseTarget::parse(url).unwrap();
        assert_eq!(
            (target.to_string().as_str(), &target.tls),
            (shown, tls),
            "{url}"
        );
        assert!(format!("{target:?}").contains(shown));
    }

    #[test]
    fn a_url_is_shown_by_host_and_database_alone() {
        check(
            "postgresql://emperor:hunter2@db/sites",
            "db:5432/sites",
            &TlsPolicy::IfOffered,
        );
        check(
            "postgres://u:p@a:1,b:2/s?sslmode=require&target_session_attrs=read-write",
            "a:1,b:2/s",
            &TlsPolicy::Unverified,
        );
        check(
            "postgresql://u:p@[::1]:7/s?sslmode=disable",
            "::1:7/s",
            &TlsPolicy::Off,
        );
        check(
            "postgresql://u@%2Frun%2Fpg/s",
            "[/run/pg]/s",
            &TlsPolicy::IfOffered,
        );
        check(
            "postgresql:///s?user=u",
            "[/var/run/postgresql]/s",
            &TlsPolicy::IfOffered,
        );
    }

    #[test]
    fn verification_follows_sslmode_and_sslrootcert_as_in_libpq() {
        let file = || Roots::File("/etc/ca.pem".into());
        for (query, tls) in [
            ("sslmode=verify-full", TlsPolicy::Full(Roots::System)),
            (
                "sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
                TlsPolicy::Full(file()),
            ),
            (
                "sslmode=verify-ca&sslrootcert=/etc/ca.pem",
                TlsPolicy::Chain(file()),
            ),
            (
                "sslmode=require&sslrootcert=/etc/ca.pem",
                TlsPolicy::Chain(file()),
            ),
            (
                "sslmode=verify-full&sslrootcert=system",
                TlsPolicy::Full(Roots::System),
            ),
        ] {
            check(&format!("postgresql://u@h/d?{query}"), "h:5432/d", &tls);
        }
    }

    #[test]
    fn a_refused_url_never_repeats_its_password() {
        for url in [
            "mysql://u:hunter2@h/d",
            "postgresql://u:hunter2?x=1@h/d",
            "postgresql://u:hun/ter2@h/d",
            "postgresql://u:hun@ter2@h/d",
            "postgresql://u:hunter2@h:port/d",
            "postgresql://u:hunter2@h/d?sslmode=on",
            "postgresql://u:hunter2@h/d?sslmod=require",
            "postgresql://u:hunter2@h/d?target_session_attrs=standby",
            "postgresql://u:hunter2@h/d?connect_timeout",
        ] {
            let error = DatabaseTarget::parse(url).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(
                !text.contains("hun") && !text.contains("ter2"),
                "{url}: {text}"
            );
        }
    }

    #[test]
    fn each_host_has_its_own_configuration_and_time() {
        let url = "postgresql://u:p@a,b:6432/d?connect_timeout=2&options=-cwork_mem%3D1MB";
        let target = DatabaseTarget::parse(url).unwrap();
        let ports: Vec<_> = target.hosts.iter().map(|h| h.config.get_ports()).collect();
        assert_eq!(ports, [[5432], [6432]]);
        for host in &target.hosts {
            assert_eq!(host.config.get_hosts().len(), 1);
            assert_eq!(host.timeout, Duration::from_secs(4));
            assert_eq!(host.config.get_options(), Some("-cwork_mem=1MB"));
            assert_eq!(host.config.get_password(), Some(&b"p"[..]));
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_password_is_shown(
            password in "[a-z]{12}", tail in "\\PC{0,30}"
        ) {
            let url = format!("postgresql://user:{password}@{tail}");
            let shown = match DatabaseTarget::parse(&url) {
                Ok(target) => format!("{target} {target:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains(&password));
        }
    }
}
