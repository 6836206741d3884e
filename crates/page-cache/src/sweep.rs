//! The walk that keeps the books of purges short.
//!
//! Every page is compared once; those that were purged give their memory back. Then no page is left
//! that the purges from before the walk could name, and their lines are dropped. What was stored beside
//! the walk and not compared in time counts as purged afterwards, so no order of steps does harm.

use std::sync::Arc;

use crate::purge::PurgeSequence;
use crate::site::SiteCache;
use crate::store::{Store, Walk};

/// A sweep under way. It holds no lock between steps and may be dropped at any time.
#[derive(Debug)]
pub struct Sweep<'a> {
    store: &'a Store,
    walk: Walk<'a>,
    floors: Vec<(Arc<SiteCache>, PurgeSequence)>,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(store: &'a Store, sites: Vec<Arc<SiteCache>>) -> Self {
        let floors = sites.into_iter().map(|site| {
            let number = site.purged_up_to();
            (site, number)
        });
        Self {
            store,
            walk: store.walk(),
            floors: floors.collect(),
        }
    }

    /// Compares so many pages. `false`: that was all, and the books are short again.
    pub fn step(&mut self, pages: usize) -> bool {
        for _ in 0..pages {
            let Some(page) = self.walk.next() else {
                for (site, number) in self.floors.drain(..) {
                    site.raise_floor(number);
                }
                return false;
            };
            if !page.is_current() {
                self.store.remove(&page);
            }
        }
        true
    }
}
