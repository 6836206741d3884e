//! One target in front of the routers: its task, and what it has to say.

use std::sync::{Arc, Mutex, PoisonError};

use purge_targets::{Batch, Delivery, Limits, Report, Standing, Target};
use site_registry::purges::{self, DeadLetter, Mark, PurgeHandle, Reader};
use tokio::sync::watch;

use super::marks::Marks;
use super::orders;
use crate::daemon::router::board::RouteBoard;

/// A target with its task.
#[derive(Debug)]
pub(super) struct Front {
    name: String,
    kind: &'static str,
    delivery: Delivery,
    marks: Arc<Mutex<Marks<Mark>>>,
}

/// How a target is told about.
#[derive(Debug, Clone)]
pub(crate) struct FrontView {
    /// Its name.
    pub(crate) name: String,
    /// Its kind, as the configuration has it.
    pub(crate) kind: &'static str,
    /// How it stands.
    pub(crate) standing: watch::Receiver<Standing>,
}

impl Front {
    pub(super) fn start(target: Target, limits: Limits, feed: PurgeHandle) -> Self {
        let marks = Arc::new(Mutex::new(Marks::default()));
        let (name, kind) = (target.name.clone(), target.kind.as_str());
        let secretary = Secretary {
            name: name.clone(),
            marks: Arc::clone(&marks),
            feed,
        };
        let delivery = Delivery::start(target, limits, move |report| secretary.write(report));
        Self {
            name,
            kind,
            delivery,
            marks,
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn view(&self) -> FrontView {
        FrontView {
            name: self.name.clone(),
            kind: self.kind,
            standing: self.delivery.standing(),
        }
    }

    /// Queues a batch. Never waits for the target.
    pub(super) async fn take(&self, batch: &purges::Batch, board: &RouteBoard) {
        let number = batch.mark.number();
        lock(&self.marks).push(number, batch.mark.clone());
        let orders = orders::orders(batch, |site| board.hosts_of(site));
        self.delivery.send(Batch { number, orders }).await;
    }

    pub(super) async fn shutdown(self) {
        self.delivery.shutdown().await;
    }
}

/// Passes a target's reports on to the database.
struct Secretary {
    name: String,
    marks: Arc<Mutex<Marks<Mark>>>,
    feed: PurgeHandle,
}

impl Secretary {
    fn write(&self, report: Report) {
        match report {
            Report::Done(number) => {
                let reached = lock(&self.marks).reached(number);
                if let Some(mark) = reached {
                    let reader = Reader::Target(self.name.clone());
                    self.feed.acknowledge(reader, mark);
                }
            }
            Report::Dead { order, reason } => self.feed.dead_letter(DeadLetter {
                target: self.name.clone(),
                site: order.site,
                what: orders::recorded(order),
                reason,
            }),
        }
    }
}

fn lock(marks: &Mutex<Marks<Mark>>) -> std::sync::MutexGuard<'_, Marks<Mark>> {
    marks.lock().unwrap_or_else(PoisonError::into_inner)
}
