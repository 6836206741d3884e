//! Which headers pass the edge, and which are added there.
//!
//! A header of the client reaches a worker unless it belongs to one hop, is written by the edge
//! itself, or can be mistaken for another: names with `_` become the variables of names with `-` in
//! CGI and its heirs, and `Proxy` becomes `HTTP_PROXY`, which programs take for configuration.
//! What a client says about itself in `X-Forwarded-*` is dropped, unless it is a trusted proxy.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Whether what a peer says about its own client is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A proxy of the operator's: its `X-Forwarded-*` and `X-Request-Id` are taken.
    Proxy,
    /// Anybody.
    Stranger,
}

/// `X-Forwarded-For`
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// `X-Request-Id`
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const X_REAL_IP: &str = "x-real-ip";
const FORWARDED_PREFIX: &str = "x-forwarded-";
const PROXY_PREFIX: &str = "proxy-";

/// The headers of a request that belong to its hop because its `Connection` names them.
#[derive(Debug)]
pub struct HopHeaders<'a> {
    /// Empty but for odd messages, so nothing is allocated.
    named: Vec<&'a str>,
}

impl<'a> HopHeaders<'a> {
    /// Reads `Connection`.
    pub fn of(headers: &'a HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION).into_iter();
        let tokens = values.flat_map(tokens);
        // These three name no header, or one that never passes in any case.
        let usual = ["close", "keep-alive", "upgrade"];
        let named =
            tokens.filter(|token| usual.iter().all(|word| !word.eq_ignore_ascii_case(token)));
        Self {
            named: named.collect(),
        }
    }

    fn names(&self, name: &HeaderName) -> bool {
        let mut named = self.named.iter();
        named.any(|token| token.eq_ignore_ascii_case(name.as_str()))
    }
}

/// Whether `Connection` asks for this, `close` say.
pub fn connection_says(headers: &HeaderMap, word: &str) -> bool {
    let mut values = headers.get_all(header::CONNECTION).into_iter();
    values.any(|value| tokens(value).any(|token| token.eq_ignore_ascii_case(word)))
}

/// Whether a header of a client's request reaches the worker. `Host` and the framing don't: the
/// codecs write their own.
pub fn reaches_worker(name: &HeaderName, hop: &HopHeaders<'_>, trust: Trust) -> bool {
    if is_hop_by_hop(name) || is_written_here(name) || hop.names(name) {
        return false;
    }
    let believed = trust == Trust::Proxy || !tells_of_the_client(name);
    believed && memchr::memchr(b'_', name.as_str().as_bytes()).is_none()
}

fn tells_of_the_client(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with(FORWARDED_PREFIX) || text == X_REAL_IP || *name == header::FORWARDED
}

/// Whether a header belongs to one hop, in requests and answers alike.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    match name.as_str() {
        "connection" | "transfer-encoding" | "upgrade" | "te" | "trailer" | "keep-alive"
        | "proxy" | "http2-settings" => true,
        other => other.starts_with(PROXY_PREFIX),
    }
}

/// What the edge writes itself, from what it decided and not from what it was told.
fn is_written_here(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "expect"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-request-id"
            | "x-site-id"
    )
}

/// Who asked, as workers are told.
#[derive(Debug, Clone, Copy)]
pub struct Forwarded<'a> {
    /// The peer's address, to be appended to those it names; empty for a unix socket.
    pub peer: &'a str,
    /// Whether the peer is believed.
    pub trust: Trust,
    /// The address of the client as far as it is believed: the peer, or whom a trusted proxy names.
    pub client: &'a str,
    /// `http` or `https`.
    pub proto: &'a str,
    /// The `Host` the client asked for.
    pub host: &'a str,
    /// The request's id.
    pub request_id: &'a str,
}

impl<'a> Forwarded<'a> {
    /// The parts of `X-Forwarded-For`, oldest first.
    pub fn chain(&self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let believed = match self.trust {
            Trust::Proxy => Some(headers.get_all(X_FORWARDED_FOR)),
            Trust::Stranger => None,
        };
        let named = believed.into_iter().flatten().map(HeaderValue::as_bytes);
        let peer = Some(self.peer).filter(|peer| !peer.is_empty());
        named.chain(peer.map(str::as_bytes))
    }
}

/// The scheme the client used, as far as it is known.
pub fn proto(headers: &HeaderMap, trust: Trust) -> &'static str {
    let said = match trust {
        Trust::Proxy => headers.get(X_FORWARDED_PROTO),
        Trust::Stranger => None,
    };
    match said {
        Some(value) if value.as_bytes().eq_ignore_ascii_case(b"https") => "https",
        Some(_) | None => "http",
    }
}

/// The host the client asked for, where a trusted proxy says that it asked for another.
pub fn host<'a>(headers: &'a HeaderMap, own: &'a str, trust: Trust) -> &'a str {
    let said = match trust {
        Trust::Proxy => headers.get(X_FORWARDED_HOST),
        Trust::Stranger => None,
    };
    said.and_then(|value| value.to_str().ok()).unwrap_or(own)
}

/// The members of a comma-separated list, without the space around them.
pub fn tokens(value: &HeaderValue) -> impl Iterator<Item = &str> {
    // A value with bytes beyond ASCII has no member that anybody asks for.
    let text = value.to_str().unwrap_or_default();
    text.split(',')
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = lines.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        map
    }

    fn passing(lines: &[(&'static str, &'static str)], trust: Trust) -> Vec<String> {
        let map = headers(lines);
        let hop = HopHeaders::of(&map);
        let names = map.keys().filter(|name| reaches_worker(name, &hop, trust));
        names.map(ToString::to_string).collect()
    }

    #[test]
    fn hop_by_hop_headers_and_those_named_by_connection_stay_here() {
        let lines = [
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("proxy-authorization", "Basic x"),
            ("proxy-connection", "close"),
            ("expect", "100-continue"),
            ("cookie", "a=b"),
        ];
        assert_eq!(passing(&lines, Trust::Stranger), ["cookie"]);
    }

    #[test]
    fn names_that_could_be_taken_for_another_stay_here() {
        let lines = [("proxy", "http://x"), ("x_user", "root"), ("x-user", "me")];
        assert_eq!(passing(&lines, Trust::Proxy), ["x-user"]);
    }

    #[test]
    fn what_a_stranger_says_about_itself_is_dropped() {
        let lines = [
            ("x-forwarded-port", "443"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("x-site-id", "7"),
            ("accept", "*/*"),
        ];
        assert_eq!(passing(&lines, Trust::Stranger), ["accept"]);
        assert_eq!(passing(&lines, Trust::Proxy).len(), 4);
    }

    fn chain(trust: Trust) -> String {
        let map = headers(&[
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
            ("x-forwarded-for", "3.3.3.3"),
        ]);
        let forwarded = Forwarded {
            peer: "9.9.9.9",
            trust,
            client: "9.9.9.9",
            proto: "http",
            host: "a.example",
            request_id: "1",
        };
        let parts: Vec<_> = forwarded.chain(&map).map(String::from_utf8_lossy).collect();
        parts.join(", ")
    }

    #[test]
    fn a_trusted_proxy_is_appended_to_whom_it_names() {
        assert_eq!(chain(Trust::Proxy), "1.1.1.1, 2.2.2.2, 3.3.3.3, 9.9.9.9");
        assert_eq!(chain(Trust::Stranger), "9.9.9.9");
    }

    #[test]
    fn scheme_and_host_are_believed_from_a_trusted_proxy_alone() {
        let map = headers(&[
            ("x-forwarded-proto", "HTTPS"),
            ("x-forwarded-host", "b.example"),
        ]);
        assert_eq!(proto(&map, Trust::Proxy), "https");
        assert_eq!(proto(&map, Trust::Stranger), "http");
        assert_eq!(host(&map, "a.example", Trust::Proxy), "b.example");
        assert_eq!(host(&map, "a.example", Trust::Stranger), "a.example");
    }

    #[test]
    fn connection_is_read_as_a_list_in_any_case() {
        let map = headers(&[("connection", "Keep-Alive"), ("connection", "foo ,UPGRADE")]);
        assert!(connection_says(&map, "upgrade"));
        assert!(!connection_says(&map, "close"));
    }
}
