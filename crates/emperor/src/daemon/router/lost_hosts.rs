//! Hosts by which no route leads to a site any more, or another way: what caches in front hold of them is
//! to be purged, since their pages were the site's and nothing else would ever name them again.
//!
//! A level: what is not purged yet is at most each host of each site once, however long the router is away.

use std::collections::{BTreeMap, BTreeSet};

use site_model::{Generation, HostPattern, HostRole, SiteId, SiteRoute};
use tokio::sync::watch;

/// What sites have lost.
#[derive(Debug, Default)]
pub(in crate::daemon) struct LostHosts(watch::Sender<Losses>);

/// By the site that had them.
type Losses = BTreeMap<SiteId, Loss>;

/// What one site has lost.
#[derive(Debug, Default)]
struct Loss {
    hosts: BTreeSet<HostPattern>,
    /// The last generation that took one from it: a page that is asked for before may still be the site's.
    generation: Generation,
}

/// Follows what sites lose.
#[derive(Debug)]
pub(in crate::daemon) struct LostHostsFollower(watch::Receiver<Losses>);

impl LostHosts {
    /// From now on losses are noted, for as long as the follower is there.
    pub(in crate::daemon) fn follow(&self) -> LostHostsFollower {
        LostHostsFollower(self.0.subscribe())
    }

    /// Whether anybody wants to know.
    pub(in crate::daemon) fn are_followed(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// A site's route became another in this generation; `None`: it has none any more.
    pub(in crate::daemon) fn note(
        &self,
        before: &SiteRoute,
        after: Option<&SiteRoute>,
        generation: Generation,
    ) {
        let gone: Vec<_> = lost(before, after).cloned().collect();
        if !gone.is_empty() {
            self.0.send_modify(|losses| {
                let loss = losses.entry(before.id).or_default();
                loss.hosts.extend(gone);
                loss.generation = generation;
            });
        }
    }

    /// Takes what was lost in this generation or before.
    pub(in crate::daemon) fn take(
        &self,
        generation: Generation,
    ) -> Vec<(SiteId, Vec<HostPattern>)> {
        let mut taken = Vec::new();
        self.0.send_if_modified(|losses| {
            losses.retain(|site, loss| {
                if loss.generation > generation {
                    return true;
                }
                let hosts = std::mem::take(&mut loss.hosts);
                taken.push((*site, hosts.into_iter().collect()));
                false
            });
            false
        });
        taken
    }
}

impl LostHostsFollower {
    /// Waits until hosts were lost, and returns the last generation that took one. Cancel safe.
    pub(in crate::daemon) async fn newest(&mut self) -> Generation {
        let lost = self.0.wait_for(|losses| !losses.is_empty()).await;
        let newest = lost.map(|losses| losses.values().map(|loss| loss.generation).max());
        match newest {
            Ok(newest) => newest.unwrap_or_default(),
            // The board itself is gone.
            Err(_) => std::future::pending().await,
        }
    }
}

/// The hosts of a route that lead nowhere else but there, and don't in the other. A redirect leads
/// elsewhere where the canonical host is another.
fn lost<'a>(
    before: &'a SiteRoute,
    after: Option<&'a SiteRoute>,
) -> impl Iterator<Item = &'a HostPattern> {
    let leads_on = move |host: &(HostPattern, HostRole)| {
        after.is_some_and(|after| {
            let as_before = match host.1 {
                HostRole::Serve => true,
                HostRole::Redirect => after.canonical == before.canonical,
            };
            as_before && after.hosts.contains(host)
        })
    };
    let hosts = before.hosts.iter();
    hosts
        .filter(move |&host| !leads_on(host))
        .map(|(host, _)| host)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use site_model::{QueueBounds, RouteSettings, Service};

    use super::*;

    fn route(canonical: &str, aliases: &[(&str, HostRole)]) -> SiteRoute {
        let own = (canonical, HostRole::Serve);
        let hosts = [own].into_iter().chain(aliases.iter().copied());
        SiteRoute {
            id: SiteId::new(1).unwrap(),
            slug: "one".parse().unwrap(),
            canonical: canonical.parse().unwrap(),
            hosts: hosts
                .map(|(host, role)| (host.parse().unwrap(), role))
                .collect(),
            service: Service::Waiting,
            settings: Arc::new(RouteSettings {
                queue: QueueBounds {
                    depth: 1,
                    timeout: std::time::Duration::ZERO,
                },
                check_paths: Arc::default(),
                cache: None,
            }),
        }
    }

    fn check(after: Option<&SiteRoute>, expected: &[&str]) {
        let (serve, redirect) = (HostRole::Serve, HostRole::Redirect);
        let before = route(
            "a.example",
            &[("b.example", serve), ("c.example", redirect)],
        );
        let lost = LostHosts::default();
        lost.note(&before, after, Generation::new(3));
        assert!(lost.take(Generation::new(2)).is_empty(), "a router may lag");
        let taken = lost.take(Generation::new(3));
        let hosts = taken.iter().flat_map(|(_, hosts)| hosts);
        let hosts: Vec<_> = hosts.map(ToString::to_string).collect();
        assert_eq!(hosts, expected);
        assert!(lost.take(Generation::new(9)).is_empty(), "taken once");
    }

    #[test]
    fn what_no_longer_leads_to_the_same_pages_is_lost() {
        let (serve, redirect) = (HostRole::Serve, HostRole::Redirect);
        let aliases = [("b.example", serve), ("c.example", redirect)];
        check(Some(&route("a.example", &aliases)), &[]);
        check(None, &["a.example", "b.example", "c.example"]);
        check(Some(&route("a.example", &aliases[..1])), &["c.example"]);
        let renamed = route("new.example", &aliases);
        check(Some(&renamed), &["a.example", "c.example"]);
        let redirected = route("a.example", &[("b.example", redirect), aliases[1]]);
        check(Some(&redirected), &["b.example"]);
    }
}
