//! One purge in three languages: the database's, the routers', the targets'. No I/O.

use std::collections::BTreeMap;

use purge_targets::{Order, What};
use site_model::{HostPattern, SiteId};
use site_registry::purges::{Batch, Purge, PurgeEvent};
use wire::cache::{PurgeFrame, SitePurge};

use crate::daemon::router::caches::Forget;

/// Names of every site's pages go out once for each site. Beyond so many, everything is forgotten.
const MAX_FOR_EVERY_SITE: usize = 10_000;

/// What the routers have to forget. `caching` are the sites that may have pages.
pub(super) fn forget(batch: &Batch, caching: impl Fn() -> Vec<SiteId>) -> Forget {
    if batch.missed {
        return Forget::Everything;
    }
    let mut sites = BTreeMap::<i64, Vec<PurgeFrame>>::new();
    for event in &batch.events {
        let purges = frames(&event.what);
        match (event.site, &event.what) {
            // No page of one site answers for another: a cache of ours keeps them apart.
            (_, Purge::Hosts(_)) => {}
            (Some(site), _) => sites.entry(site.get()).or_default().extend(purges),
            (None, Purge::Everything) => return Forget::Everything,
            (None, Purge::Paths(_) | Purge::Prefixes(_) | Purge::Tags(_)) => {
                let caching = caching();
                if caching.len() * purges.len() > MAX_FOR_EVERY_SITE {
                    return Forget::Everything;
                }
                for site in caching {
                    let all = sites.entry(site.get()).or_default();
                    all.extend(purges.iter().cloned());
                }
            }
        }
    }
    let sites = sites.into_iter();
    let sites = sites.map(|(site_id, purges)| SitePurge { site_id, purges });
    Forget::Pages(sites.collect())
}

/// What a target has to purge.
pub(super) fn orders(batch: &Batch, hosts_of: impl Fn(SiteId) -> Vec<HostPattern>) -> Vec<Order> {
    if batch.missed {
        return vec![Order::everything()];
    }
    let order = |event: &PurgeEvent| Order {
        site: event.site,
        hosts: match &event.what {
            Purge::Hosts(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
            Purge::Paths(_) | Purge::Prefixes(_) | Purge::Tags(_) | Purge::Everything => {
                event.site.map(&hosts_of).unwrap_or_default()
            }
        },
        what: what(&event.what),
    };
    batch.events.iter().map(order).collect()
}

/// What a target had to purge, as the database has it.
pub(super) fn recorded(order: Order) -> Purge {
    match order.what {
        What::Paths(names) => Purge::Paths(names),
        What::Prefixes(names) => Purge::Prefixes(names),
        What::Tags(names) => Purge::Tags(names),
        What::Hosts => Purge::Hosts(order.hosts.iter().map(ToString::to_string).collect()),
        What::Everything => Purge::Everything,
    }
}

fn what(purge: &Purge) -> What {
    match purge.clone() {
        Purge::Paths(names) => What::Paths(names),
        Purge::Prefixes(names) => What::Prefixes(names),
        Purge::Tags(names) => What::Tags(names),
        Purge::Hosts(_) => What::Hosts,
        Purge::Everything => What::Everything,
    }
}

fn frames(purge: &Purge) -> Vec<PurgeFrame> {
    let (names, frame): (_, fn(String) -> PurgeFrame) = match purge {
        Purge::Paths(names) => (names, PurgeFrame::Path),
        Purge::Prefixes(names) => (names, PurgeFrame::Prefix),
        Purge::Tags(names) => (names, PurgeFrame::Tag),
        Purge::Hosts(_) => return vec![],
        Purge::Everything => return vec![PurgeFrame::Site],
    };
    names.iter().cloned().map(frame).collect()
}
