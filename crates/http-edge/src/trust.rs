//! Whose word about its own client is taken: the networks of `router.trusted_proxies`.

use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderMap;
use thiserror::Error;

use crate::forward::{Trust, X_FORWARDED_FOR, tokens};

/// The trusted networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// An address or a network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: u128,
    /// Leading bits that don't count, of 128.
    ignored_bits: u32,
}

/// A text is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no address and no network such as 10.0.0.0/8")]
pub struct NoNetwork(pub String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| wrong())?,
            None => width,
        };
        Ok(Self {
            address: as_v6(address),
            ignored_bits: u32::checked_sub(width, prefix).ok_or_else(wrong)?,
        })
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let differing = self.address ^ as_v6(address);
        differing.checked_shr(self.ignored_bits).unwrap_or(0) == 0
    }
}

/// IPv4 as it stands within IPv6: a listener for both sees IPv4 clients in that form.
fn as_v6(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl TrustedProxies {
    /// These networks.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NoNetwork> {
        let networks = texts.into_iter().map(Network::from_str);
        networks.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a peer is believed. One on a unix socket has no address and is: whoever may open the
    /// socket's file was let in by the operator.
    pub fn trust(&self, peer: Option<IpAddr>) -> Trust {
        let believed = match peer {
            Some(peer) => self.0.iter().any(|network| network.contains(peer)),
            None => true,
        };
        if believed {
            Trust::Proxy
        } else {
            Trust::Stranger
        }
    }

    /// The client as far as it is believed: going back from the peer, the first address that isn't
    /// a trusted proxy's. `None` where there is no address at all.
    pub fn client(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<IpAddr> {
        let mut believed = peer;
        let lines = headers.get_all(X_FORWARDED_FOR).into_iter();
        let named: Vec<&str> = lines.flat_map(tokens).collect();
        for text in named.into_iter().rev() {
            if self.trust(believed) == Trust::Stranger {
                break;
            }
            let Ok(address) = text.parse() else {
                break;
            };
            believed = Some(address);
        }
        believed
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn proxies(texts: &[&str]) -> TrustedProxies {
        TrustedProxies::parse(texts.iter().copied()).unwrap()
    }

    fn check(networks: &[&str], peer: &str, expected: Trust) {
        let found = proxies(networks).trust(Some(peer.parse().unwrap()));
        assert_eq!(found, expected, "{peer} in {networks:?}");
    }

    #[test]
    fn networks_hold_their_addresses_in_both_forms_of_ipv4() {
        check(&[], "127.0.0.1", Trust::Stranger);
        check(&["10.0.0.0/8"], "10.255.0.1", Trust::Proxy);
        check(&["10.0.0.0/8"], "11.0.0.1", Trust::Stranger);
        check(&["10.0.0.0/8"], "::ffff:10.1.1.1", Trust::Proxy);
        check(&["127.0.0.1"], "127.0.0.2", Trust::Stranger);
        check(&["fd00::/8", "::1"], "fd12::1", Trust::Proxy);
        check(&["0.0.0.0/0"], "8.8.8.8", Trust::Proxy);
        check(&["0.0.0.0/0"], "2001:db8::1", Trust::Stranger);
        check(&["::/0"], "8.8.8.8", Trust::Proxy);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for wrong in ["", "a", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0/8", "::/129"] {
            assert!(
                wrong.parse::<Network>().is_err(),
                "{wrong:?} was taken for a network"
            );
        }
    }

    fn client(named: &'static str, peer: Option<&str>) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(X_FORWARDED_FOR, HeaderValue::from_static(named));
        let peer = peer.map(|peer| peer.parse().unwrap());
        let found = proxies(&["10.0.0.0/8"]).client(&headers, peer);
        found.map(|address| address.to_string())
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let of = |named, peer| client(named, Some(peer)).unwrap();
        assert_eq!(of("1.1.1.1, 2.2.2.2, 10.0.0.2", "10.0.0.1"), "2.2.2.2");
        assert_eq!(
            of("1.1.1.1", "9.9.9.9"),
            "9.9.9.9",
            "a stranger names nobody"
        );
        assert_eq!(of("10.0.0.3", "10.0.0.1"), "10.0.0.3");
        assert_eq!(of("nonsense", "10.0.0.1"), "10.0.0.1");
        assert_eq!(client("1.1.1.1", None).as_deref(), Some("1.1.1.1"));
        assert_eq!(client("", None), None);
    }
}
