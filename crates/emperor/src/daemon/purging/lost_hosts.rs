//! From hosts that sites have lost to purges that are committed: as soon as every router leads them otherwise,
//! so that nothing old is fetched again. Until then, and while there is no database, they wait in the journal.

use std::convert::Infallible;
use std::time::Duration;

use site_model::SiteId;
use site_registry::LinkError;
use site_registry::purges::{FeedState, PurgeHandle};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::daemon::router::board::RouteBoard;
use crate::daemon::router::lost_hosts::Lost;

/// Hosts in one statement.
const AT_ONCE: usize = 1_000;
/// Before what couldn't be recorded is tried again, at the earliest.
const PAUSE: Duration = Duration::from_secs(1);

/// Records what is lost, for as long as it is polled. Cancel safe: what is not known to be recorded is
/// recorded again.
pub(super) async fn record(board: &RouteBoard, feed: &PurgeHandle) -> Infallible {
    let (hosts, mut fails) = (board.lost_hosts(), false);
    loop {
        let newest = hosts.newest().await;
        board.acknowledged(newest).await;
        let mut recorded = Ok(());
        for lost in portions(hosts.lost(newest)) {
            recorded = feed.purge_hosts(named(&lost)).await;
            if recorded.is_err() {
                break;
            }
            hosts.purged(&lost, newest);
        }
        match recorded {
            Ok(()) => fails = false,
            Err(error) => {
                tell(&error, fails);
                fails = true;
                sleep(PAUSE).await;
                // Who sends these ends after this does.
                let following = |state: &FeedState| matches!(state, FeedState::Following);
                drop(feed.state().wait_for(following).await);
            }
        }
    }
}

fn tell(error: &LinkError, fails: bool) {
    if fails {
        debug!(%error, "lost hosts still can't be purged");
    } else {
        warn!(
            %error, hint = error.hint(),
            "the purge of hosts that sites have lost can't be recorded; it is tried until it is"
        );
    }
}

/// Portions for one statement each.
fn portions(lost: Lost) -> Vec<Lost> {
    let (mut portions, mut hosts) = (vec![Lost::new()], 0);
    for of_site in lost {
        hosts += of_site.1.len();
        if hosts > AT_ONCE {
            hosts = of_site.1.len();
            portions.push(Lost::new());
        }
        portions
            .last_mut()
            .expect("it began with one")
            .push(of_site);
    }
    portions.retain(|portion| !portion.is_empty());
    portions
}

fn named(lost: &Lost) -> Vec<(SiteId, String)> {
    let hosts = lost.iter();
    let hosts = hosts.flat_map(|(site, hosts)| hosts.iter().map(|host| (*site, host.to_string())));
    hosts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_has_so_many_hosts_and_whole_sites() {
        let sites = (1..=5).map(|id| {
            let hosts = (0..300).map(|host| format!("{host}.example").parse().unwrap());
            (SiteId::new(id).unwrap(), hosts.collect())
        });
        let portions = portions(sites.collect());
        let of_each: Vec<_> = portions.iter().map(Vec::len).collect();
        assert_eq!(of_each, [3, 2]);
        assert_eq!(named(&portions[1])[0].0.get(), 4);
        assert!(super::portions(Lost::new()).is_empty());
    }
}
