//! Which instance takes a request, and for how long it has it.

use std::num::NonZeroU32;
use std::rc::Rc;

use site_model::Backend;

use super::instance::Instance;
use crate::gauge::Purpose;
use crate::queue::Place;
use crate::tally::Sign;

/// One request in flight at an instance, counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    instance: Rc<Instance>,
    purpose: Purpose,
    /// Whether it has one of the places of a bounded instance.
    has_place: bool,
    /// Whether the request has become a tunnel.
    is_tunnel: bool,
}

/// Why no instance takes a request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLease {
    /// Each has as many as it takes, or others have come before.
    Busy,
    /// There is none but the one to avoid.
    NoOther,
}

/// An instance that may be given a request.
pub(super) struct Candidate {
    instance: Rc<Instance>,
    /// How many requests it takes at a time.
    most: Option<NonZeroU32>,
    purpose: Purpose,
}

/// Takes a place at the least busy. Other threads take places too, so what was found may be gone;
/// then there is one place fewer to look for.
pub(super) fn least_busy(
    candidates: impl Iterator<Item = Candidate>,
    place: Option<&Place>,
) -> Result<Lease, NoLease> {
    let mut candidates: Vec<_> = candidates.collect();
    if candidates.is_empty() {
        return Err(NoLease::NoOther);
    }
    loop {
        candidates.retain(|candidate| candidate.has_room(place));
        let least = candidates
            .iter()
            .min_by_key(|candidate| candidate.instance.gauge.in_flight())
            .ok_or(NoLease::Busy)?;
        if let Some(lease) = least.try_take() {
            return Ok(lease);
        }
    }
}

impl Candidate {
    pub(super) fn new(instance: Rc<Instance>, backend: &Backend, purpose: Purpose) -> Self {
        Self {
            instance,
            most: backend.concurrency,
            purpose,
        }
    }

    pub(super) fn take(self, place: Option<&Place>) -> Result<Lease, NoLease> {
        let room = self.has_room(place).then(|| self.try_take()).flatten();
        room.ok_or(NoLease::Busy)
    }

    fn has_room(&self, place: Option<&Place>) -> bool {
        let is_first = || match place {
            Some(place) => place.is_first(),
            None => self.instance.queue.is_empty(),
        };
        self.most
            .is_none_or(|most| self.instance.gauge.has_room(most) && is_first())
    }

    fn try_take(&self) -> Option<Lease> {
        let taken = self
            .most
            .is_none_or(|most| self.instance.gauge.take_place(most));
        taken.then(|| self.lease())
    }

    fn lease(&self) -> Lease {
        self.instance.begin(self.purpose);
        Lease {
            instance: Rc::clone(&self.instance),
            purpose: self.purpose,
            has_place: self.most.is_some(),
            is_tunnel: false,
        }
    }
}

impl Lease {
    /// The request has become a tunnel. An open one says nothing of whether the worker answers.
    #[must_use]
    pub(crate) fn into_tunnel(mut self) -> Self {
        self.instance.open_tunnel();
        self.is_tunnel = true;
        self
    }

    /// The request went so.
    pub(super) fn sign(&self, sign: Sign) {
        self.instance.sign(sign);
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let instance = &self.instance;
        if self.is_tunnel {
            instance.close_tunnel();
        }
        instance.end(self.purpose);
        if self.has_place {
            instance.gauge.leave_place();
            instance.queue.call();
        }
    }
}
