//! What an earlier emperor left, brought to the vassals that go on with it.

use std::sync::Arc;

use imbl::OrdMap;
use site_model::SiteId;
use tracing::warn;
use vassal_core::{Catalog, Want};

use super::vassals::Vassals;
use crate::daemon::process::{Left, SiteMemory};
use crate::daemon::vassal::{self, End, Estate, Heir, Spawner, Unfit, Wish};

impl<S: Spawner> Vassals<S> {
    /// Takes in what an earlier emperor left. What nothing can be made of is ended.
    pub(super) fn inherit(&mut self, left: Left, wants: &OrdMap<SiteId, Want>, catalog: &Catalog) {
        for (id, memory) in left.sites {
            self.estates.entry(id).or_default().memory = memory;
        }
        for instance in left.instances {
            let id = instance.site;
            match Heir::new(instance, wants.get(&id), catalog) {
                Ok(heir) => self.estates.entry(id).or_default().heirs.push(heir),
                Err(unfit) => self.end_unfit(id, unfit),
            }
        }
    }

    fn end_unfit(&mut self, id: SiteId, unfit: Unfit) {
        let Unfit { left, reason } = unfit;
        warn!(
            site = %id, incarnation = %left.incarnation, reason,
            "an instance that an earlier emperor left is ended"
        );
        let house = Arc::clone(&self.house);
        self.tasks.spawn(async move {
            house.spawner.end_left(*left).await;
            End::Gone
        });
    }

    /// Begins a vassal for everything that is still left.
    pub(super) fn begin_left(&mut self, wish: &Wish) {
        for (id, estate) in std::mem::take(&mut self.estates) {
            if estate.heirs.is_empty() {
                self.house.spawner.remember(id, &SiteMemory::default());
            } else {
                self.begin_with(id, wish.clone(), estate);
            }
        }
    }

    /// Waits until every vassal that began has its route published.
    pub(super) async fn begun(&self) {
        self.beginning.close();
        self.beginning.wait().await;
    }

    pub(super) fn begin_with(&mut self, id: SiteId, wish: Wish, estate: Estate) {
        let (house, seed) = (Arc::clone(&self.house), fastrand::u64(..));
        self.act(id, wish, |beginning| {
            vassal::run_left(beginning, (estate, seed), house)
        });
    }
}
