//! All serving threads together, as the control thread addresses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use site_model::{Incarnation, RouteTable, SiteId};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use wire::cache::CacheStats;
use wire::route::{InstanceStats, QueueStats, RouterStats};

use crate::order::{Backlog, Order, ThreadStats};
use crate::pages::SitesPages;
use crate::settings::Settings;
use crate::shared::Shared;
use crate::tally::ThreadLoad;

/// A serving thread has ended although nobody told it to. The router can't keep what it promised
/// of all its threads; it ends, and the emperor starts another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a serving thread is gone")]
pub(crate) struct ThreadLost;

/// The serving threads.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    threads: Vec<mpsc::Sender<Order>>,
    pub(crate) shared: Arc<Shared>,
    /// Threads were told to drain, and end as they have nothing left.
    draining: Arc<AtomicBool>,
}

impl Fleet {
    /// Addresses these threads.
    pub(crate) fn new(threads: Vec<mpsc::Sender<Order>>, shared: Arc<Shared>) -> Self {
        Self {
            threads,
            shared,
            draining: Arc::default(),
        }
    }

    /// Gives every thread a table, and returns once all have it in force.
    pub(crate) async fn put_in_force(
        &self,
        table: &Arc<RouteTable>,
        pages: &SitesPages,
    ) -> Result<(), ThreadLost> {
        let order = |in_force| Order::Table {
            table: Arc::clone(table),
            pages: pages.clone(),
            in_force,
        };
        self.ask_all(order).await.map(drop)
    }

    /// Gives every thread settings.
    pub(crate) async fn set(&self, settings: &Arc<Settings>) -> Result<(), ThreadLost> {
        self.tell_all(|| Order::Settings(Arc::clone(settings)))
            .await
    }

    /// Returns once no thread leads to an instance or has a request there.
    pub(crate) async fn idle(
        &self,
        site: SiteId,
        incarnation: Incarnation,
    ) -> Result<(), ThreadLost> {
        self.ask_all(|idle| Order::AwaitIdle {
            site,
            incarnation,
            idle,
        })
        .await
        .map(drop)
    }

    /// What each thread has noted since it was last asked.
    pub(crate) async fn load(&self) -> Result<Vec<ThreadLoad>, ThreadLost> {
        let whole = false;
        self.ask_all(|load| Order::Load { whole, load }).await
    }

    /// The same, with all instances that have requests.
    pub(crate) async fn whole_load(&self) -> Result<Vec<ThreadLoad>, ThreadLost> {
        let whole = true;
        self.ask_all(|load| Order::Load { whole, load }).await
    }

    /// The figures of all threads, summed.
    pub(crate) async fn stats(&self) -> Result<RouterStats, ThreadLost> {
        // First who waits, then who is in flight: so those who wait are among them.
        let queues = self.queues();
        let stats = sum(self.ask_all(Order::Stats).await?);
        Ok(RouterStats { queues, ..stats })
    }

    fn queues(&self) -> Vec<QueueStats> {
        let queues = self.shared.queues.figures().into_iter();
        let stats = queues.map(|(site, figures)| QueueStats {
            site_id: site.get(),
            waiting: figures.waiting,
            oldest_ms: u64::try_from(figures.oldest.as_millis()).unwrap_or(u64::MAX),
        });
        stats.collect()
    }

    /// Has every thread end what it has and return.
    pub(crate) async fn drain(&self, backlog: Backlog) -> Result<(), ThreadLost> {
        self.draining.store(true, Ordering::Relaxed);
        self.tell_all(|| Order::Drain(backlog)).await
    }

    /// Waits until every thread has ended, as all were told to.
    pub(crate) async fn ended(&self) -> Result<(), ThreadLost> {
        let ends = self.threads.iter().map(mpsc::Sender::closed);
        let mut ends: FuturesUnordered<_> = ends.collect();
        while ends.next().await.is_some() {
            self.may_be_gone()?;
        }
        Ok(())
    }

    /// A thread is gone. One that has drained has no request, so there is nothing to ask it.
    fn may_be_gone(&self) -> Result<(), ThreadLost> {
        if self.draining.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(ThreadLost)
        }
    }

    async fn tell_all(&self, order: impl Fn() -> Order) -> Result<(), ThreadLost> {
        for thread in &self.threads {
            if thread.send(order()).await.is_err() {
                self.may_be_gone()?;
            }
        }
        Ok(())
    }

    /// Asks all before it waits for any, so that they answer side by side. Threads that have drained
    /// have no answer.
    async fn ask_all<T>(
        &self,
        order: impl Fn(oneshot::Sender<T>) -> Order,
    ) -> Result<Vec<T>, ThreadLost> {
        let mut answers = Vec::with_capacity(self.threads.len());
        for thread in &self.threads {
            let (answer, answered) = oneshot::channel();
            match thread.send(order(answer)).await {
                Ok(()) => answers.push(answered),
                Err(_) => self.may_be_gone()?,
            }
        }
        let mut given = Vec::with_capacity(answers.len());
        for answered in answers {
            match answered.await {
                Ok(answer) => given.push(answer),
                Err(_) => self.may_be_gone()?,
            }
        }
        Ok(given)
    }
}

/// The generation, the queues and the cache are filled in by those who know them.
fn sum(threads: Vec<ThreadStats>) -> RouterStats {
    let mut all = ThreadStats::default();
    for thread in threads {
        all.connections += thread.connections;
        all.requests += thread.requests;
        all.in_flight += thread.in_flight;
        for (incarnation, figures) in thread.instances {
            let known = all.instances.entry(incarnation).or_default();
            known.requests += figures.requests;
            known.in_flight += figures.in_flight;
        }
    }
    on_the_wire(all)
}

fn on_the_wire(all: ThreadStats) -> RouterStats {
    let instances = all
        .instances
        .into_iter()
        .map(|(incarnation, figures)| InstanceStats {
            incarnation: incarnation.get(),
            requests: figures.requests,
            in_flight: figures.in_flight,
        });
    RouterStats {
        connections: all.connections,
        requests: all.requests,
        in_flight: all.in_flight,
        generation: 0,
        instances: instances.collect(),
        queues: Vec::new(),
        cache: CacheStats::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::gauge::InstanceFigures;

    #[test]
    fn figures_of_threads_add_up() {
        let thread = |requests, in_flight| ThreadStats {
            requests,
            instances: BTreeMap::from([(
                Incarnation::new(7),
                InstanceFigures {
                    requests,
                    in_flight,
                },
            )]),
            ..ThreadStats::default()
        };
        let all = sum(vec![thread(2, 1), thread(3, 4)]);
        assert_eq!(all.requests, 5);
        let expected = InstanceStats {
            incarnation: 7,
            requests: 5,
            in_flight: 5,
        };
        assert_eq!(all.instances, [expected]);
    }

    #[tokio::test]
    async fn a_thread_that_is_gone_is_noticed() {
        let (thread, orders) = mpsc::channel(1);
        drop(orders);
        let fleet = Fleet::new(vec![thread], Arc::new(Shared::new(1)));
        assert_eq!(fleet.stats().await, Err(ThreadLost));
        assert_eq!(fleet.ended().await, Err(ThreadLost));
    }

    #[tokio::test]
    async fn threads_that_have_drained_are_missed_by_nobody() {
        let (done, orders) = mpsc::channel(1);
        let (busy, mut orders_of_busy) = mpsc::channel(1);
        let fleet = Fleet::new(vec![done, busy], Arc::new(Shared::new(2)));
        fleet.drain(Backlog::Leave).await.unwrap();
        drop(orders);
        assert!(matches!(orders_of_busy.recv().await, Some(Order::Drain(_))));
        let answers = async {
            let Some(Order::Stats(answer)) = orders_of_busy.recv().await else {
                panic!("no question")
            };
            let requests = 2;
            answer
                .send(ThreadStats {
                    requests,
                    ..ThreadStats::default()
                })
                .unwrap();
        };
        let (stats, ()) = tokio::join!(fleet.stats(), answers);
        assert_eq!(stats.map(|stats| stats.requests), Ok(2));
        drop(orders_of_busy);
        assert_eq!(fleet.ended().await, Ok(()));
    }
}
