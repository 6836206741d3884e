//! News of sites: who waits on one thread for a table that says something else.
//!
//! Tables come to each thread in its own time, so each keeps its own list. The order in which
//! requests get their turn is that of the site's [`queue`](crate::queue).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use site_model::{RouteTable, SiteId, SiteRoute};

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

    use site_model::{Generation, QueueBounds, RouteChange, RouteSettings, Service, Unavailable};

    use super::*;

    fn route(id: i64, service: Service) -> SiteRoute {
        SiteRoute {
            id: SiteId::new(id).unwrap(),
            slug: format!("site-{id}").parse().unwrap(),
            canonical: format!("site-{id}.example").parse().unwrap(),
            hosts: Box::default(),
            service,
            settings: Arc::new(RouteSettings {
                queue: QueueBounds {
                    depth: 2,
                    timeout: Duration::from_secs(1),
                },
                check_paths: [].into(),
                cache: None,
            }),
        }
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
        assert_eq!(waiting.sites.borrow().len(), 1);
        drop((changed, same));
        assert!(waiting.sites.borrow().is_empty());
    }
}
