//! The hosts that a vassal subscribes to, or names.

use site_model::{HostPattern, Hostname};

/// Hosts in the order in which they stand, each once.
#[derive(Debug, Default)]
pub(super) struct Hosts(Vec<HostPattern>);

impl Hosts {
    /// Takes a list of hosts, parted by commas and spaces.
    pub(super) fn name(&mut self, list: &str) -> Result<(), String> {
        let parts = list.split([',', ' ', '\t']);
        let mut hosts = parts.filter(|part| !part.is_empty()).peekable();
        if hosts.peek().is_none() {
            return Err("it names no host".to_owned());
        }
        hosts.try_for_each(|host| self.add(host))
    }

    /// Takes what a vassal says to a fastrouter, in either form.
    pub(super) fn subscribe(&mut self, key: &str, value: &str) -> Result<(), String> {
        let host = if key.ends_with("subscribe2") {
            let pairs = value.split(',');
            let mut keys = pairs.filter_map(|pair| pair.trim().strip_prefix("key="));
            keys.next()
        } else {
            subscribed(value)
        };
        let host = host.ok_or("it names no host")?;
        if host.starts_with('@') {
            return Err("hosts from a file are not read; give them to emperor.domains".to_owned());
        }
        if host.contains('/') {
            return Err("hosts are told apart by name alone, not by path".to_owned());
        }
        self.add(host)
    }

    fn add(&mut self, host: &str) -> Result<(), String> {
        let host = HostPattern::parse(host).map_err(|error| error.to_string())?;
        if !self.0.contains(&host) {
            self.0.push(host);
        }
        Ok(())
    }

    /// The first that is a whole name, and the others.
    pub(super) fn split(mut self) -> (Option<Hostname>, Vec<HostPattern>) {
        let whole = |host: &HostPattern| matches!(host, HostPattern::Exact(_));
        match self.0.iter().position(whole).map(|at| self.0.remove(at)) {
            Some(HostPattern::Exact(host)) => (Some(host), self.0),
            Some(HostPattern::Wildcard(_)) | None => (None, self.0),
        }
    }
}

/// The host in `/run/router.sock:HOST` and `127.0.0.1:4040:HOST`, both with an optional `,SIGNATURE`.
fn subscribed(value: &str) -> Option<&str> {
    let value = value.split(',').next()?;
    // `address=host` is the form of the oldest versions.
    let behind_address = match value.strip_prefix('[') {
        Some(ipv6) => ipv6.split_once("]:")?.1,
        None if value.starts_with(['/', '@', '.']) => return Some(value.split_once(':')?.1),
        None => value.split_once(':')?.1,
    };
    Some(behind_address.split_once(':')?.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(key: &str, value: &str) -> Result<String, String> {
        let mut hosts = Hosts::default();
        hosts.subscribe(key, value)?;
        Ok(hosts.0[0].to_string())
    }

    #[test]
    fn a_subscription_names_its_host_in_several_forms() {
        for (key, value) in [
            ("subscribe-to", "/run/router.sock:www.Example.com"),
            (
                "subscribe-to",
                "127.0.0.1:4040:www.example.com,SHA1:/etc/key.pem",
            ),
            ("subscribe", "[::1]:4040:www.example.com:80"),
            (
                "subscribe2",
                "server=127.0.0.1:4040, key=www.example.com,weight=2",
            ),
            ("fastrouter-subscribe", "@router:www.example.com"),
        ] {
            assert_eq!(
                subscription(key, value).unwrap(),
                "www.example.com",
                "{value}"
            );
        }
        for value in [
            "/run/router.sock",
            "/r.sock:@/hosts",
            "/r.sock:a.b/c",
            "/r.sock:a b",
        ] {
            assert!(subscription("subscribe-to", value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_first_whole_name_is_the_domain() {
        let mut hosts = Hosts::default();
        hosts.name("*.a.example, b.example B.example.").unwrap();
        hosts.name("c.example").unwrap();
        assert!(hosts.name(" ").is_err());
        let (domain, others) = hosts.split();
        assert_eq!(domain.unwrap().as_str(), "b.example");
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        assert_eq!(others, ["*.a.example", "c.example"]);
    }
}
