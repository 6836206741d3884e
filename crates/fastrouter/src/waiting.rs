//! The queues of sites that nothing is ready for yet.
//!
//! A request waits on the thread that accepted it, in the order of arrival, until the table says
//! something else about its site. How many may wait is counted per site over all threads, under a
//! lock that only waiting requests ever take.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use site_model::{RouteTable, SiteId, SiteRoute};

use crate::order::QueueFigures;

/// How many wait per site, over all threads.
#[derive(Debug, Default)]
pub(crate) struct Depths(Mutex<HashMap<SiteId, u32>>);

/// A site has as many waiting requests as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueFull;

/// A place in a site's queue; dropping it leaves the queue.
#[derive(Debug)]
pub(crate) struct Place {
    depths: Arc<Depths>,
    site: SiteId,
}

impl Depths {
    /// Takes a place in a site's queue.
    pub(crate) fn enter(self: &Arc<Self>, route: &SiteRoute) -> Result<Place, QueueFull> {
        let mut sites = self.lock();
        let depth = sites.get(&route.id).copied().unwrap_or(0);
        if depth >= route.queue.depth {
            return Err(QueueFull);
        }
        sites.insert(route.id, depth + 1);
        Ok(Place {
            depths: Arc::clone(self),
            site: route.id,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SiteId, u32>> {
        // Nothing that holds the lock can leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sites = self.depths.lock();
        match sites.get_mut(&self.site) {
            Some(depth) if *depth > 1 => *depth -= 1,
            Some(_) | None => drop(sites.remove(&self.site)),
        }
    }
}

/// Who waits on one thread for news of a site, in the order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    sites: RefCell<HashMap<SiteId, BTreeMap<u64, Waiter>>>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct Waiter {
    /// What it knows of the site.
    known: Arc<SiteRoute>,
    since: Instant,
    waker: Option<Waker>,
}

/// Ready once the table says something else about a site; dropping it ends the wait.
#[derive(Debug)]
pub(crate) struct News {
    waiting: Rc<Waiting>,
    site: SiteId,
    id: u64,
}

impl Waiting {
    /// Waits for a table in which the site's route isn't this one.
    pub(crate) fn news_of(self: &Rc<Self>, route: &Arc<SiteRoute>) -> News {
        let id = self.next.get();
        self.next.set(id + 1);
        let waiter = Waiter {
            known: Arc::clone(route),
            since: Instant::now(),
            waker: None,
        };
        let mut sites = self.sites.borrow_mut();
        sites.entry(route.id).or_default().insert(id, waiter);
        News {
            waiting: Rc::clone(self),
            site: route.id,
            id,
        }
    }

    /// Wakes, in the order of arrival, all whose site has another route in this table.
    pub(crate) fn tell(&self, table: &RouteTable) {
        let mut woken = Vec::new();
        self.sites.borrow_mut().retain(|site, waiters| {
            let now = table.site(*site);
            waiters.retain(|_, waiter| {
                let same = now.is_some_and(|now| Arc::ptr_eq(now, &waiter.known));
                if !same {
                    woken.extend(waiter.waker.take());
                }
                same
            });
            !waiters.is_empty()
        });
        woken.into_iter().for_each(Waker::wake);
    }
}

impl Waiting {
    /// All queues that aren't empty.
    pub(crate) fn figures(&self) -> BTreeMap<SiteId, QueueFigures> {
        let sites = self.sites.borrow();
        let queues = sites.iter().filter_map(|(site, waiters)| {
            let (_, first) = waiters.first_key_value()?;
            let figures = QueueFigures {
                waiting: waiters.len() as u64,
                oldest: first.since.elapsed(),
            };
            Some((*site, figures))
        });
        queues.collect()
    }
}

impl News {
    /// Ready once there is news. The task of the last poll is woken.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut sites = self.waiting.sites.borrow_mut();
        let waiter = sites
            .get_mut(&self.site)
            .and_then(|waiters| waiters.get_mut(&self.id));
        match waiter {
            Some(waiter) => {
                waiter.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            None => Poll::Ready(()),
        }
    }
}

impl Drop for News {
    fn drop(&mut self) {
        let mut sites = self.waiting.sites.borrow_mut();
        if let Some(waiters) = sites.get_mut(&self.site) {
            waiters.remove(&self.id);
            if waiters.is_empty() {
                sites.remove(&self.site);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use site_model::{Generation, QueueBounds, RouteChange, Service, Unavailable};

    use super::*;

    fn route(id: i64, service: Service) -> SiteRoute {
        SiteRoute {
            id: SiteId::new(id).unwrap(),
            slug: format!("site-{id}").parse().unwrap(),
            canonical: format!("site-{id}.example").parse().unwrap(),
            hosts: vec![],
            service,
            queue: QueueBounds {
                depth: 2,
                timeout: Duration::from_secs(1),
            },
        }
    }

    #[test]
    fn a_queue_takes_its_depth_and_a_place_that_is_left_is_free_again() {
        let depths = Arc::new(Depths::default());
        let (one, other) = (route(1, Service::Waiting), route(2, Service::Waiting));
        let first = depths.enter(&one).unwrap();
        let second = depths.enter(&one).unwrap();
        assert_eq!(depths.enter(&one).unwrap_err(), QueueFull);
        assert!(
            depths.enter(&other).is_ok(),
            "each site has a queue of its own"
        );
        drop(first);
        drop(depths.enter(&one).unwrap());
        drop(second);
        assert!(depths.lock().is_empty());
    }

    #[test]
    fn only_news_of_its_own_site_ends_a_wait() {
        let routes = [route(1, Service::Waiting), route(2, Service::Waiting)];
        let before = RouteTable::new(Generation::new(1), routes).unwrap();
        let after = before
            .changed(RouteChange {
                generation: Generation::new(2),
                upserts: vec![route(1, Service::Unavailable(Unavailable::Failed))],
                removals: vec![],
            })
            .unwrap();
        let waiting = Rc::new(Waiting::default());
        let of = |id| waiting.news_of(before.site(SiteId::new(id).unwrap()).unwrap());
        let (changed, same) = (of(1), of(2));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(changed.poll(&mut cx).is_pending());
        waiting.tell(&after);
        assert!(changed.poll(&mut cx).is_ready());
        assert!(same.poll(&mut cx).is_pending());
        assert_eq!(waiting.figures().len(), 1);
        drop((changed, same));
        assert!(waiting.sites.borrow().is_empty());
    }
}
