//! What `emperor status` says about the page cache and about purges.

use std::time::Duration;

use vassal_core::units::Humane;
use wire::control::{CacheStatus, PurgeTargetStatus, PurgesStatus};

use crate::cli::text::{Tone, bytes, counted, printable, put};

/// Whether there is something to say: a cache that holds nothing and could be used is no news.
pub(super) fn matters(cache: &CacheStatus) -> bool {
    cache.entries > 0 || cache.suspended
}

/// `345 pages, 12 markers in 12 MiB, 2 being filled`
pub(super) fn cache(cache: &CacheStatus) -> String {
    let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
    let mut words = counted(number(cache.pages), "page");
    // Each takes memory too: that a page has variants, or that one can't be kept.
    let markers = cache.entries.saturating_sub(cache.pages);
    if markers > 0 {
        put!(words, ", {}", counted(number(markers), "marker"));
    }
    if cache.bytes > 0 {
        put!(words, " in {}", bytes(cache.bytes));
    }
    if cache.fills > 0 {
        put!(words, ", {} being filled", cache.fills);
    }
    if cache.suspended {
        let out = "; out of use while purges can't be heard";
        words.push_str(&Tone::Attention.paint(out));
    }
    words
}

/// A line for each thing to know: none, where purges arrive and nothing stands in front.
pub(super) fn lines(purges: &PurgesStatus) -> Vec<String> {
    let mut lines = Vec::new();
    if !purges.following {
        let cause = format!("not followed: {}", printable(&purges.detail));
        lines.push(Tone::Bad.paint(&cause));
    }
    lines.extend(purges.targets.iter().map(target));
    lines
}

/// `front (varnish): 3 wait, tried again in 12s: no connection to 127.0.0.1:6082`
fn target(target: &PurgeTargetStatus) -> String {
    let mut words = format!("{} ({}): ", printable(&target.name), target.kind);
    match (target.queued, &target.failing) {
        (0, None) => words.push_str(&Tone::Good.paint("nothing waits")),
        (waiting, failing) => {
            put!(words, "{waiting} wait");
            if let Some(wait) = target.next_try_in_ms {
                let wait = Humane(Duration::from_millis(wait));
                put!(words, ", tried again in {wait}");
            }
            if let Some(reason) = failing {
                words.push_str(": ");
                words.push_str(&Tone::Bad.paint(&printable(reason)));
            }
        }
    }
    if target.dead > 0 {
        let dead = format!(
            "; {} given up, see emperor.purge_dead_letters",
            counted(usize::try_from(target.dead).unwrap_or(usize::MAX), "purge")
        );
        words.push_str(&Tone::Bad.paint(&dead));
    }
    words
}
