//! What one thread notes of its requests until the control thread asks: plain counters, on the
//! thread that counts.
//!
//! The control thread sleeps while no request comes. The first note after it has asked wakes it;
//! all further ones only count, and an instance is listed once however much it does.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use site_model::{Incarnation, SiteId};

use crate::gauge::Gauge;
use crate::shared::Shared;
use crate::worker::Instance;

/// The notes of one thread.
#[derive(Debug)]
pub(crate) struct Tallies {
    shared: Arc<Shared>,
    /// Nothing was noted since the control thread asked.
    is_quiet: Cell<bool>,
    /// Requests that came, per site.
    came: RefCell<HashMap<SiteId, u64>>,
    /// Instances with something noted.
    noted: RefCell<Vec<Rc<Instance>>>,
}

/// How an instance met a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It began to answer.
    Answered,
    /// It didn't take the connection.
    Refused,
    /// It broke the connection off before the answer was whole.
    Broken,
    /// It didn't begin to answer in time.
    Late,
}

/// The notes on one instance.
#[derive(Debug, Default)]
pub(crate) struct InstanceTally {
    is_noted: Cell<bool>,
    signs: Cell<Signs>,
}

/// How often each sign was seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Signs {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) broken: u64,
    pub(crate) late: u64,
}

/// What a thread has noted since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct ThreadLoad {
    /// Requests that came, per site.
    pub(crate) came: HashMap<SiteId, u64>,
    /// Instances whose requests began, ended or failed.
    pub(crate) instances: Vec<NotedInstance>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct NotedInstance {
    pub(crate) site: SiteId,
    pub(crate) incarnation: Incarnation,
    /// Its requests, over all threads.
    pub(crate) gauge: Arc<Gauge>,
    /// On this thread.
    pub(crate) signs: Signs,
}

impl Tallies {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            is_quiet: Cell::new(true),
            came: RefCell::default(),
            noted: RefCell::default(),
        }
    }

    /// A request came for a site.
    pub(crate) fn came(&self, site: SiteId) {
        *self.came.borrow_mut().entry(site).or_default() += 1;
        self.stir();
    }

    /// A request at this instance begins or ends.
    pub(crate) fn note(&self, instance: &Rc<Instance>) {
        if !instance.tally.is_noted.replace(true) {
            self.noted.borrow_mut().push(Rc::clone(instance));
            self.stir();
        }
    }

    /// A request at this instance went so.
    pub(crate) fn sign(&self, instance: &Rc<Instance>, sign: Sign) {
        let mut signs = instance.tally.signs.get();
        match sign {
            Sign::Answered => signs.answered += 1,
            Sign::Refused => signs.refused += 1,
            Sign::Broken => signs.broken += 1,
            Sign::Late => signs.late += 1,
        }
        instance.tally.signs.set(signs);
        self.note(instance);
    }

    /// Hands over all notes, and begins anew.
    pub(crate) fn take(&self) -> ThreadLoad {
        self.is_quiet.set(true);
        let noted = self.noted.take().into_iter().map(|instance| {
            instance.tally.is_noted.set(false);
            NotedInstance {
                site: instance.site,
                incarnation: instance.incarnation,
                gauge: Arc::clone(&instance.gauge),
                signs: instance.tally.signs.take(),
            }
        });
        ThreadLoad {
            instances: noted.collect(),
            came: self.came.take(),
        }
    }

    fn stir(&self) {
        if self.is_quiet.replace(false) {
            self.shared.stirred.notify_one();
        }
    }
}
