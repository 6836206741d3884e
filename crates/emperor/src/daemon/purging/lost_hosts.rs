//! From hosts that sites have lost to purges that are committed: as soon as every router leads them otherwise,
//! so that nothing old is asked for again, and once more when what was asked for before is answered. A cache in
//! front takes an answer that comes after a purge for new. Until then, and while there is no database, they are
//! in the journal.

use std::convert::Infallible;
use std::time::Duration;

use site_model::{Generation, SiteId};
use site_registry::LinkError;
use site_registry::purges::{FeedState, PurgeHandle};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use crate::daemon::router::board::RouteBoard;
use crate::daemon::router::lost_hosts::Lost;

/// Hosts in one statement.
const AT_ONCE: usize = 1_000;
/// Before what couldn't be recorded is tried again, at the earliest.
const PAUSE: Duration = Duration::from_secs(1);
/// When most of what was asked for is answered.
const SOON: Duration = Duration::from_secs(2);
/// In a site's queue, and on its way to a worker, a request may be for so long, beside the time that its answer
/// may take to begin.
const QUEUED: Duration = Duration::from_mins(1);

/// What is to be recorded once more.
struct Round {
    due: Instant,
    lost: Lost,
    generation: Generation,
    is_last: bool,
}

/// Records what is lost, for as long as it is polled.
pub(super) async fn record(board: &RouteBoard, feed: &PurgeHandle) -> Infallible {
    let hosts = board.lost_hosts();
    hosts.begin_anew();
    // At most two for each portion of hosts that the book has.
    let mut rounds: Vec<Round> = Vec::new();
    let mut fails = false;
    loop {
        let recorded = tokio::select! {
            newest = hosts.newest() => {
                board.acknowledged(newest).await;
                first(board, feed, newest, &mut rounds).await
            }
            () = next_due(&rounds) => again(board, feed, &mut rounds).await,
        };
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

/// Records what was lost in this generation or before.
async fn first(
    board: &RouteBoard,
    feed: &PurgeHandle,
    generation: Generation,
    rounds: &mut Vec<Round>,
) -> Result<(), LinkError> {
    let hosts = board.lost_hosts();
    for lost in hosts.lost(generation).chunks(AT_ONCE) {
        let lost = lost.to_vec();
        feed.purge_hosts(named(&lost)).await?;
        hosts.recorded(&lost, generation);
        let now = Instant::now();
        let round = |due, is_last| Round {
            due,
            lost: lost.clone(),
            generation,
            is_last,
        };
        rounds.push(round(now + SOON, false));
        rounds.push(round(now + board.longest_answer() + QUEUED, true));
    }
    Ok(())
}

/// Records once more what is due.
async fn again(
    board: &RouteBoard,
    feed: &PurgeHandle,
    rounds: &mut Vec<Round>,
) -> Result<(), LinkError> {
    let now = Instant::now();
    while let Some(at) = rounds.iter().position(|round| round.due <= now) {
        feed.purge_hosts(named(&rounds[at].lost)).await?;
        let round = rounds.swap_remove(at);
        if round.is_last {
            board.lost_hosts().purged(&round.lost, round.generation);
        }
    }
    Ok(())
}

async fn next_due(rounds: &[Round]) {
    match rounds.iter().map(|round| round.due).min() {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
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

fn named(lost: &Lost) -> Vec<(SiteId, String)> {
    let named = lost.iter().map(|(site, host)| (*site, host.to_string()));
    named.collect()
}
