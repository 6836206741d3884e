//! Values of `emperor.toml` that are written as text: what each accepts, and what it says about
//! what it doesn't. No file and no clock.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use site_model::{Hostname, Slug};
use thiserror::Error;

use crate::socket_path::MAX_SOCKET_PATH;

/// A place to accept requests at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listen {
    /// `host:port`, resolved when it is bound.
    Tcp(String),
    /// `unix:/path`
    Unix(PathBuf),
    /// `systemd:NAME`
    Systemd(String),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(text) => f.pad(text),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// An address or a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its first address.
    pub(crate) address: IpAddr,
    /// How many leading bits count.
    pub(crate) prefix: u8,
}

/// A text that is not of the form its key wants.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum ValueError {
    /// No address to listen at.
    #[error("an address is \"host:port\", \"unix:/path\" or \"systemd:NAME\"")]
    Listen,
    /// No port.
    #[error("{0:?} is no port; ports are 0 (any that is free) to 65535")]
    Port(String),
    /// A path that the kernel doesn't take for a socket.
    #[error(
        "the path of a unix socket has at most {MAX_SOCKET_PATH} bytes, this one has {0}; choose a shorter one"
    )]
    LongSocket(usize),
    /// No address and no network.
    #[error("an address (\"10.0.0.1\") or a network (\"10.0.0.0/8\") is due")]
    Network,
    /// No percentage.
    #[error("a share is written as \"0%\" to \"100%\"")]
    Percentage,
    /// No range of uids.
    #[error("a range of uids is written as \"FIRST-LAST\", above 0, the first not after the last")]
    UidRange,
    /// A format that gives every site one host.
    #[error("\"{{slug}}\" must stand in it, else every site would have the same host")]
    NoSlug,
    /// A format that gives no host name.
    #[error("it makes no host name of the slug \"a\": {0}")]
    NoHost(site_model::HostnameError),
}

/// `host:port`, `unix:/path` or `systemd:NAME`.
pub(crate) fn listen(text: &str, base: &Path) -> Result<Listen, ValueError> {
    if let Some(path) = text.strip_prefix("unix:") {
        return unix_socket(&base.join(path));
    }
    if let Some(name) = text.strip_prefix("systemd:") {
        let named = !name.is_empty() && !name.contains(':');
        return named
            .then(|| Listen::Systemd(name.to_owned()))
            .ok_or(ValueError::Listen);
    }
    let (host, port) = text.rsplit_once(':').ok_or(ValueError::Listen)?;
    if port.parse::<u16>().is_err() {
        return Err(ValueError::Port(port.to_owned()));
    }
    Hostname::parse(host)
        .map(|_| Listen::Tcp(text.to_owned()))
        .map_err(|_| ValueError::Listen)
}

fn unix_socket(path: &Path) -> Result<Listen, ValueError> {
    match path.as_os_str().len() {
        ..=MAX_SOCKET_PATH => Ok(Listen::Unix(path.to_owned())),
        bytes => Err(ValueError::LongSocket(bytes)),
    }
}

/// `10.0.0.1` or `10.0.0.0/8`.
pub(crate) fn network(text: &str) -> Result<Network, ValueError> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| ValueError::Network)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(longest), str::parse);
    match prefix {
        Ok(prefix) if prefix <= longest => Ok(Network { address, prefix }),
        Ok(_) | Err(_) => Err(ValueError::Network),
    }
}

/// Whoever asks from this machine.
pub(crate) fn loopback() -> Vec<Network> {
    let network = |address: IpAddr, prefix| Network { address, prefix };
    vec![
        network(Ipv4Addr::new(127, 0, 0, 0).into(), 8),
        network(Ipv6Addr::LOCALHOST.into(), 128),
    ]
}

/// `50%`.
pub(crate) fn percentage(text: &str) -> Result<u8, ValueError> {
    text.strip_suffix('%')
        .and_then(|digits| digits.trim_end().parse().ok())
        .filter(|percent| *percent <= 100)
        .ok_or(ValueError::Percentage)
}

/// `200000-299999`.
pub(crate) fn uid_range(text: &str) -> Result<RangeInclusive<u32>, ValueError> {
    // The last uid, all ones, means "none" to the kernel (`chown(2)`).
    let uid = |text: &str| {
        text.trim()
            .parse::<u32>()
            .ok()
            .filter(|uid| *uid < u32::MAX)
    };
    let (first, last) = text.split_once('-').ok_or(ValueError::UidRange)?;
    match (uid(first), uid(last)) {
        (Some(first @ 1..), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(ValueError::UidRange),
    }
}

/// A format with `{slug}` in it that makes host names.
pub(crate) fn rewrite_format(text: &str) -> Result<String, ValueError> {
    if !text.contains("{slug}") {
        return Err(ValueError::NoSlug);
    }
    Hostname::parse(&text.replace("{slug}", "a")).map_err(ValueError::NoHost)?;
    Ok(text.to_owned())
}

/// A slug, or `None` for `""`.
pub(crate) fn optional_slug(text: &str) -> Result<Option<Slug>, site_model::SlugError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_addresses() {
        let check = |text: &str, expected: Result<Listen, ValueError>| {
            assert_eq!(listen(text, Path::new("/base")), expected, "{text:?}");
        };
        check("127.0.0.1:80", Ok(Listen::Tcp("127.0.0.1:80".into())));
        check("[::]:8080", Ok(Listen::Tcp("[::]:8080".into())));
        check("localhost:8080", Ok(Listen::Tcp("localhost:8080".into())));
        check("unix:/run/x", Ok(Listen::Unix("/run/x".into())));
        check("systemd:http", Ok(Listen::Systemd("http".into())));
        check("8080", Err(ValueError::Listen));
        check(":8080", Err(ValueError::Listen));
        check("systemd:", Err(ValueError::Listen));
        check("localhost:http", Err(ValueError::Port("http".into())));
        check("localhost:99999", Err(ValueError::Port("99999".into())));
        check("unix:run/x", Ok(Listen::Unix("/base/run/x".into())));
        let long = format!("unix:/{}", "x".repeat(MAX_SOCKET_PATH));
        check(&long, Err(ValueError::LongSocket(MAX_SOCKET_PATH + 1)));
    }

    #[test]
    fn networks() {
        let check = |text: &str, expected: Option<u8>| {
            assert_eq!(network(text).ok().map(|n| n.prefix), expected, "{text:?}");
        };
        check("10.0.0.0/8", Some(8));
        check("10.0.0.1", Some(32));
        check("::1", Some(128));
        check("10.0.0.0/33", None);
        check("10.0.0.0/", None);
        check("example.com", None);
    }

    #[test]
    fn shares_and_ranges() {
        assert_eq!(percentage("50%"), Ok(50));
        for wrong in ["50", "101%", "-1%", "%", ""] {
            assert_eq!(percentage(wrong), Err(ValueError::Percentage), "{wrong:?}");
        }
        assert_eq!(uid_range("200000-299999"), Ok(200_000..=299_999));
        for wrong in ["0-9", "9-1", "7", "a-b", "1-4294967295", "1--2"] {
            assert_eq!(uid_range(wrong), Err(ValueError::UidRange), "{wrong:?}");
        }
    }

    #[test]
    fn a_rewrite_format_gives_each_site_a_host_of_its_own() {
        assert!(rewrite_format("{slug}.localhost").is_ok());
        assert_eq!(rewrite_format("all.localhost"), Err(ValueError::NoSlug));
        assert!(matches!(
            rewrite_format("{slug}..x"),
            Err(ValueError::NoHost(_))
        ));
    }
}
