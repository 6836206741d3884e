//! Cached pages and their purges: figures of the router and of the targets become documents.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use site_registry::purges::FeedState;
use wire::cache::{CacheStats, PageFrame, SiteCacheStats};
use wire::control::{
    CacheStatus, PageDocument, PurgeTargetStatus, PurgesStatus, ReasonDocument, SiteCacheDocument,
};

use super::story::rfc3339;
use crate::daemon::{FrontView, Purges, RouterOverview};

/// What the router counted of the sites' pages, by site.
pub(super) type SitesCaches<'a> = BTreeMap<i64, &'a SiteCacheStats>;

pub(super) fn by_site(router: &RouterOverview) -> SitesCaches<'_> {
    let stats = router.stats.as_ref();
    let sites = stats.iter().flat_map(|stats| &stats.cache.sites);
    sites.map(|stats| (stats.site_id, stats)).collect()
}

pub(super) fn whole(router: &RouterOverview) -> Option<CacheStatus> {
    let stats: &CacheStats = &router.stats.as_ref()?.cache;
    Some(CacheStatus {
        suspended: stats.away,
        pages: stats.sites.iter().map(|site| site.pages).sum(),
        entries: stats.entries,
        bytes: stats.bytes,
        fills: stats.fills,
    })
}

pub(super) fn site(stats: &SiteCacheStats) -> SiteCacheDocument {
    let reasons = |counts: &[(String, u64)]| {
        let counts = counts.iter().cloned();
        let counts = counts.map(|(reason, count)| ReasonDocument { reason, count });
        counts.collect()
    };
    SiteCacheDocument {
        hit_ratio: hit_ratio(stats),
        hits: stats.hits,
        stale: stats.stale,
        misses: stats.misses,
        fills: stats.fills,
        revalidations: stats.revalidations,
        waits: stats.waits,
        evictions: stats.evictions,
        purges: stats.purges,
        pages: stats.pages,
        bytes: stats.bytes,
        bypasses: reasons(&stats.bypasses),
        refusals: reasons(&stats.refusals),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share that is shown in whole percents"
)]
fn hit_ratio(stats: &SiteCacheStats) -> Option<f64> {
    let answered = stats.hits + stats.stale;
    let all = answered + stats.misses;
    (all > 0).then(|| answered as f64 / all as f64)
}

pub(super) fn page(page: PageFrame) -> PageDocument {
    PageDocument {
        stored_at: rfc3339(UNIX_EPOCH + Duration::from_millis(page.stored_ms)),
        host: page.host,
        path: page.path,
        query: page.query,
        variant: page.variant,
        status: page.status,
        age: page.age,
        ttl: page.ttl,
        bytes: page.bytes,
        tags: page.tags,
        refused: page.refused,
    }
}

pub(super) fn purges(purges: &Purges) -> PurgesStatus {
    let detail = match purges.state() {
        FeedState::Following => None,
        FeedState::Lost(cause) => Some(cause.to_string()),
    };
    PurgesStatus {
        following: detail.is_none(),
        detail: detail.unwrap_or_default(),
        targets: purges.fronts.iter().map(target).collect(),
    }
}

fn target(front: &FrontView) -> PurgeTargetStatus {
    let standing = front.standing.borrow().clone();
    let wait = standing.next_try;
    let wait = wait.map(|at| at.saturating_duration_since(Instant::now()));
    PurgeTargetStatus {
        name: front.name.clone(),
        kind: front.kind.to_owned(),
        queued: standing.queued,
        failing: standing.failing,
        next_try_in_ms: wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        dead: standing.dead,
    }
}
