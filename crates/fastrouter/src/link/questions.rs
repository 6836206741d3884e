//! Questions of the emperor that take a while to answer.

use site_model::{Incarnation, SiteId};
use wire::route::FromRouter;

use super::{Answers, Follower};
use crate::pages;

impl Follower {
    pub(super) fn await_idle(&self, site: SiteId, incarnation: Incarnation, answers: &mut Answers) {
        let fleet = self.fleet.clone();
        answers.spawn(async move {
            fleet.idle(site, incarnation).await?;
            Ok(FromRouter::Idle {
                site_id: site.get(),
                incarnation: incarnation.get(),
            })
        });
    }

    pub(super) fn ask_stats(&self, token: u64, answers: &mut Answers) {
        let generation = self
            .table
            .as_ref()
            .map_or(0, |table| table.generation().get());
        let fleet = self.fleet.clone();
        let pages = self.pages.sites().clone();
        answers.spawn(async move {
            let stats = fleet.stats().await?;
            let stats = wire::route::RouterStats {
                generation,
                cache: pages.stats(),
                ..stats
            };
            Ok(FromRouter::Stats { token, stats })
        });
    }

    pub(super) fn ask_cache(
        &self,
        token: u64,
        site: SiteId,
        path: Option<String>,
        answers: &mut Answers,
    ) {
        let cache = self.pages.cache().cloned();
        let now = self.fleet.shared.clock.now();
        // It walks through the whole store.
        let shown = move || {
            let pages = cache.map(|cache| pages::show(&cache, site, path.as_deref(), now));
            Ok(FromRouter::CachePages {
                token,
                pages: pages.unwrap_or_default(),
            })
        };
        answers.spawn_blocking(shown);
    }
}
