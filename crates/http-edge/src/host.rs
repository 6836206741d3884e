//! The host a request is for.

use http::uri::Authority;
use http::{HeaderValue, Uri};
use site_model::{Hostname, HostnameError};
use thiserror::Error;

/// Why a request is for no host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostRefusal {
    /// `Host` holds bytes that no host name has.
    #[error("a Host that is no text")]
    NoText,
    /// `Host` is no host name.
    #[error("a malformed Host: {0}")]
    Malformed(#[from] HostnameError),
    /// The target is a URL with another host than `Host`, and each is believed by somebody.
    #[error("a target with another host than Host")]
    Contradiction,
}

/// Reads the host from the one `Host` header that the guard let through. A target that is a URL has
/// to agree with it.
pub fn requested(host: &HeaderValue, target: &Uri) -> Result<Hostname, HostRefusal> {
    let text = host.to_str().map_err(|_| HostRefusal::NoText)?;
    let name = Hostname::parse(text)?;
    match target.authority() {
        Some(authority) if !agrees(authority, text, &name) => Err(HostRefusal::Contradiction),
        Some(_) | None => Ok(name),
    }
}

/// A URL may leave out a port that goes without saying; the name has to be the same.
fn agrees(authority: &Authority, host: &str, name: &Hostname) -> bool {
    let plain = !authority.as_str().contains('@');
    let same_name = Hostname::parse(authority.as_str()).is_ok_and(|other| other == *name);
    let same_port = match (authority.port_u16(), port_of(host)) {
        (Some(port), Some(other)) => port == other,
        (None, _) | (_, None) => true,
    };
    plain && same_name && same_port
}

/// The port a `Host` names; `None` where it names none.
pub fn port_of(host: &str) -> Option<u16> {
    let (_, port) = host
        .rsplit_once(':')
        .filter(|(_, port)| !port.contains(']'))?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &'static str, target: &str, expected: &Result<&str, HostRefusal>) {
        let found = requested(&HeaderValue::from_static(host), &target.parse().unwrap());
        let found = found.as_ref().map(Hostname::as_str).map_err(Clone::clone);
        assert_eq!(found, *expected, "{host:?} {target:?}");
    }

    #[test]
    fn the_host_is_normalised() {
        check("WWW.Example.com.:8080", "/", &Ok("www.example.com"));
        check("[::1]:8080", "/", &Ok("[::1]"));
    }

    #[test]
    fn a_malformed_host_is_refused() {
        check("", "/", &Err(HostnameError::Empty.into()));
        check(
            "a.example/b",
            "/",
            &Err(HostnameError::Character('/').into()),
        );
        check(
            "user@a.example",
            "/",
            &Err(HostnameError::Character('@').into()),
        );
        check(
            "a.example, b.example",
            "/",
            &Err(HostnameError::Character(',').into()),
        );
        check("../x.sock", "/", &Err(HostnameError::EmptyLabel.into()));
        check("a:b", "/", &Err(HostnameError::Port("b".into()).into()));
        let latin = HeaderValue::from_bytes(b"\xe9.example").unwrap();
        assert_eq!(
            requested(&latin, &Uri::from_static("/")),
            Err(HostRefusal::NoText)
        );
    }

    #[test]
    fn a_url_has_to_name_the_same_host() {
        check("a.example", "http://A.example/", &Ok("a.example"));
        check("a.example:8080", "http://a.example:8080/", &Ok("a.example"));
        check(
            "a.example",
            "http://b.example/",
            &Err(HostRefusal::Contradiction),
        );
        check(
            "a.example:8080",
            "http://a.example:81/",
            &Err(HostRefusal::Contradiction),
        );
        check(
            "a.example",
            "http://b.example@a.example/",
            &Err(HostRefusal::Contradiction),
        );
    }

    #[test]
    fn the_port_is_found_behind_any_host() {
        for (host, port) in [
            ("a", None),
            ("a:81", Some(81)),
            ("[::1]", None),
            ("[::1]:81", Some(81)),
            ("a:", None),
        ] {
            assert_eq!(port_of(host), port, "{host}");
        }
    }
}
