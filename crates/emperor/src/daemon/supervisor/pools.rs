//! Sites that share a vassal: what is wanted of sites becomes what is wanted of vassals, and a site that
//! moves from one vassal to another does so once the other serves.
//!
//! What a site moves to is told at once and what it leaves is let go afterwards, so nobody has to
//! remember a move: it is what differs between what is wanted and what was told.

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;
use site_model::SiteId;
use vassal_core::{Action, Want, plan};

use super::Supervisor;
use crate::daemon::statuses::Stay;
use crate::daemon::vassal::Spawner;

impl<S: Spawner> Supervisor<S> {
    /// Finds out what is wanted of vassals.
    pub(super) async fn pool(&mut self) {
        self.pooling.take_in(self.resolution.wants());
        let names = self.pooling.touched();
        let numbers = if names.is_empty() {
            Ok(BTreeMap::new())
        } else {
            self.house.spawner.number_pools(names).await
        };
        if let Ok(numbers) = &numbers {
            self.house.statuses.name_pools(numbers.clone());
        }
        self.pooling.form(self.resolution.catalog(), &numbers);
        for (pool, reloads) in self.pooling.take_to_remember() {
            self.house.spawner.remember_pool(pool, &reloads);
        }
    }

    /// What vassals are told of what is wanted, and what of it is news to them: a site that a pool is to
    /// answer for stays where it is until the pool serves, and a pool goes when it answers for nobody any
    /// more.
    pub(super) fn due(&mut self) -> (OrdMap<SiteId, Want>, Vec<(SiteId, Action)>) {
        let mut due = self.pooling.wants().clone();
        self.moving.clear();
        let mut actions = plan(&due, &self.told).actions;
        actions.retain(|(id, action)| {
            let id = *id;
            let stays = match action {
                Action::Update(Want::Pooled(membership)) => {
                    let stays = self.waits_for(id, membership.pool);
                    if stays {
                        self.moving.insert(id, membership.pool);
                    }
                    stays
                }
                Action::Remove => id.is_pool() && self.house.routes.has_guests(id),
                Action::Start(_) | Action::Update(_) => false,
            };
            if stays && let Some(told) = self.told.get(&id) {
                due.insert(id, told.clone());
            }
            !stays
        });
        (due, actions)
    }

    /// Whether a site is answered for, and would not be by this pool. One that sleeps is woken for it.
    fn waits_for(&self, site: SiteId, pool: SiteId) -> bool {
        let routes = &self.house.routes;
        let answered = match routes.pool_of(site) {
            Some(now) => now != pool,
            None => routes.serves(site),
        };
        let waits = answered && !routes.serves(pool);
        if waits && routes.sleeps(pool) {
            routes.demand().wake(pool);
        }
        waits
    }

    /// Tells which pools the statuses of sites depend on.
    pub(super) fn tell_stays(&mut self, concerned: impl IntoIterator<Item = SiteId>) {
        // Who waits to move is told nothing yet, and so is no part of what is told.
        let unsettled = self.told_stays.keys().chain(self.moving.keys()).copied();
        let unsettled: BTreeSet<_> = unsettled.chain(concerned).collect();
        for id in unsettled.into_iter().filter(|id| !id.is_pool()) {
            let stay = self.stay_of(id);
            let before = match stay {
                Some(stay) => self.told_stays.insert(id, stay),
                None => self.told_stays.remove(&id),
            };
            if before != stay {
                self.house.statuses.set_stay(id, stay);
            }
        }
    }

    fn stay_of(&self, id: SiteId) -> Option<Stay> {
        let moves_to = self.moving.get(&id).copied();
        match (self.told.get(&id)?, moves_to) {
            (Want::Pooled(membership), to) => Some(Stay::Member {
                of: membership.pool,
                moves_to: to,
            }),
            (Want::Run(_) | Want::Rejected(_), Some(to)) => Some(Stay::MovesTo(to)),
            (Want::Run(_) | Want::Rejected(_), None) => {
                self.house.routes.pool_of(id).map(Stay::Leaves)
            }
            (Want::Disabled(_), _) => None,
        }
    }

    /// The vassals that answer for sites whose instances are to be replaced.
    pub(super) fn vassals_of(&self, sites: &[SiteId]) -> BTreeSet<SiteId> {
        let vassal = |id: &SiteId| match self.told.get(id)? {
            Want::Run(_) => Some(*id),
            Want::Pooled(membership) => Some(membership.pool),
            Want::Disabled(_) | Want::Rejected(_) => None,
        };
        sites.iter().filter_map(vassal).collect()
    }
}
