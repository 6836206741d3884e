//! What is told of a vassal: its status and what happened to the board, each transition to the log.
//!
//! A transition is one event with the same fields always (`docs/TROUBLESHOOTING.md` has them). Its
//! reason is the name of what was heard, or why an instance was told to end. This decides nothing.

use std::time::{Instant, SystemTime};

use site_model::{Incarnation, InstanceState, InstanceStatus, SiteId, SiteState, SiteStatus, Slug};
use tracing::{debug, info, warn};
use vassal_core::Lifecycle;
use vassal_core::diagnostic::headline;
use vassal_core::lifecycle::{Event, StopReason};

use super::clock::now;
use crate::daemon::statuses::{Cause, Exit, StatusBoard};

/// The reason of what a life begins with.
pub(super) const BEGUN: &str = "begun";
/// As [`BEGUN`], of a life that an earlier emperor began.
pub(super) const ADOPTED: &str = "adopted";
/// What an instance comes from and goes to.
const NOTHING: &str = "none";

/// The one who tells.
#[derive(Debug)]
pub(super) struct Witness {
    slug: String,
    /// The status that was told last.
    told: Option<SiteStatus>,
    next_try: Option<Instant>,
    /// What was heard first since then, and with it the rest followed.
    cause: Option<Cause>,
    stopped: Vec<(Incarnation, StopReason)>,
    exited: Vec<Exit>,
}

impl Witness {
    /// For a life that begins for this reason.
    pub(super) fn new(slug: Option<&Slug>, reason: &'static str) -> Self {
        Self {
            slug: slug.map(ToString::to_string).unwrap_or_default(),
            told: None,
            next_try: None,
            cause: Some(Cause::of(reason)),
            stopped: Vec::new(),
            exited: Vec::new(),
        }
    }

    /// Its site may have another slug now. One whose row is gone keeps the one it had.
    pub(super) fn rename(&mut self, slug: Option<&Slug>) {
        if let Some(slug) = slug.filter(|slug| slug.as_str() != self.slug) {
            self.slug = slug.to_string();
        }
    }

    /// This happens next.
    pub(super) fn hear(&mut self, event: &Event) {
        if self.cause.is_none() {
            self.cause = Some(Cause {
                reason: event.name(),
                incarnation: event.incarnation(),
            });
        }
        if let Event::Exited {
            incarnation,
            reason,
            stderr,
        } = event
        {
            self.exited.push(Exit {
                incarnation: *incarnation,
                at: SystemTime::now(),
                reason: *reason,
                was_asked: self.was_asked(*incarnation),
                stderr: stderr.clone(),
            });
        }
    }

    /// An instance is told to end.
    pub(super) fn stops(&mut self, incarnation: Incarnation, reason: StopReason) {
        self.stopped.push((incarnation, reason));
    }

    /// A stopped instance is let go on.
    pub(super) fn lets_go_on(&self, site: SiteId, incarnation: Incarnation) {
        let slug = self.slug.as_str();
        info!(%site, slug, %incarnation, "a stopped instance is let go on, to end what it has");
    }

    /// An instance did not end and is killed.
    pub(super) fn kills(&self, site: SiteId, incarnation: Incarnation) {
        let slug = &self.slug;
        warn!(%site, slug, %incarnation, "an instance does not end and is killed");
    }

    /// Tells what changed, and returns the incarnations that are in service since then.
    pub(super) fn report(&mut self, life: &Lifecycle, board: &StatusBoard) -> Vec<Incarnation> {
        let cause = self.cause.take().unwrap_or(Cause::of(BEGUN));
        let status = life.status();
        self.tell_next_try(life, board);
        let mut ready = Vec::new();
        if self.told.as_ref() != Some(&status) {
            ready = self.tell_instances(life, &status, cause);
            tell_site(&status, &self.slug, self.told.as_ref(), cause);
            let site = status.id;
            board.report(status.clone(), cause);
            board.call(site, &self.slug);
            self.told = Some(status);
        }
        for exit in self.exited.drain(..) {
            board.exited(life.id(), exit);
        }
        self.stopped.clear();
        ready
    }

    fn tell_next_try(&mut self, life: &Lifecycle, board: &StatusBoard) {
        let next_try = life.next_try();
        if next_try != self.next_try {
            self.next_try = next_try;
            board.tries_at(life.id(), next_try.map(wall_clock));
        }
    }

    fn tell_instances(
        &self,
        life: &Lifecycle,
        status: &SiteStatus,
        cause: Cause,
    ) -> Vec<Incarnation> {
        let before = self.told.iter().flat_map(|told| &told.instances);
        let mut before: Vec<_> = before.collect();
        let mut ready = Vec::new();
        for instance in &status.instances {
            let place = before.iter().position(|old| is_same(old, instance));
            let from = place.map(|place| before.swap_remove(place).state);
            if from == Some(instance.state) {
                continue;
            }
            if instance.state == InstanceState::Ready {
                ready.push(instance.incarnation);
            }
            let reason = self.reason(life, instance).unwrap_or(cause.reason);
            self.tell_instance(status.id, instance, from, Some(instance.state), reason);
        }
        for gone in before {
            let reason = self.reason(life, gone).unwrap_or(cause.reason);
            self.tell_instance(status.id, gone, Some(gone.state), None, reason);
        }
        ready
    }

    /// Why an instance ends or has ended; `None`: it doesn't, and what was heard is the reason.
    fn reason(&self, life: &Lifecycle, instance: &InstanceStatus) -> Option<&'static str> {
        if self.exit_of(instance.incarnation).is_some() {
            return Some(Event::EXITED);
        }
        let mut stopped = self.stopped.iter();
        let stopped = stopped.find(|(incarnation, _)| *incarnation == instance.incarnation);
        let reason = stopped.map(|(_, reason)| *reason);
        let reason = reason.or_else(|| life.draining(instance.incarnation));
        reason.map(StopReason::name)
    }

    fn tell_instance(
        &self,
        site: SiteId,
        instance: &InstanceStatus,
        from: Option<InstanceState>,
        to: Option<InstanceState>,
        reason: &str,
    ) {
        let slug = &self.slug;
        let (number, incarnation) = (instance.number, instance.incarnation);
        let from = from.map_or(NOTHING, InstanceState::as_str);
        let exit = self.exit_of(incarnation).filter(|_| to.is_none());
        let to = to.map_or(NOTHING, InstanceState::as_str);
        match (exit, to) {
            (Some(exit), _) => {
                let ended = exit.reason.to_string();
                if exit.was_asked {
                    info!(%site, slug, instance = %number, %incarnation, from, to, reason, ended, "an instance changed its state");
                } else {
                    warn!(%site, slug, instance = %number, %incarnation, from, to, reason, ended, "an instance changed its state");
                }
            }
            // The steps of a start: its end says what became of it.
            (None, "queued" | "starting") => {
                debug!(%site, slug, instance = %number, %incarnation, from, to, reason, "an instance changed its state");
            }
            (None, _) => {
                info!(%site, slug, instance = %number, %incarnation, from, to, reason, "an instance changed its state");
            }
        }
    }

    fn exit_of(&self, incarnation: Incarnation) -> Option<&Exit> {
        let mut exits = self.exited.iter();
        exits.find(|exit| exit.incarnation == incarnation)
    }

    fn was_asked(&self, incarnation: Incarnation) -> bool {
        let mut told = self.told.iter().flat_map(|told| &told.instances);
        let known = told.find(|instance| instance.incarnation == incarnation);
        known.is_some_and(|instance| match instance.state {
            InstanceState::Stopping => true,
            InstanceState::Queued
            | InstanceState::Starting
            | InstanceState::Ready
            | InstanceState::Draining => false,
        })
    }
}

/// Tells of a vassal that begins at rest.
pub(super) fn tell_of_rest(status: &SiteStatus, slug: Option<&Slug>) {
    let slug = slug.map(Slug::as_str).unwrap_or_default();
    match status.state {
        // One line for each of a hundred thousand would say nothing.
        SiteState::Sleeping => debug!(site = %status.id, slug, "a site begins asleep"),
        SiteState::Starting
        | SiteState::Ready
        | SiteState::Reloading
        | SiteState::Waking
        | SiteState::BackingOff
        | SiteState::Failed
        | SiteState::Rejected
        | SiteState::Disabled
        | SiteState::Stopping => tell_site(status, slug, None, Cause::of(BEGUN)),
    }
}

/// One line for each change that an operator would look for. The steps of a start are none.
fn tell_site(status: &SiteStatus, slug: &str, before: Option<&SiteStatus>, cause: Cause) {
    let (site, to) = (status.id, status.state);
    if before.is_some_and(|before| (before.state, &before.detail) == (to, &status.detail)) {
        return;
    }
    let from = before.map_or(NOTHING, |before| before.state.as_str());
    let reason = cause.reason;
    let incarnation = cause.incarnation.map(Incarnation::get);
    let detail = headline(&status.detail);
    match to {
        SiteState::BackingOff | SiteState::Failed | SiteState::Rejected => {
            warn!(%site, slug, from, %to, reason, incarnation, detail, "a site changed its state");
        }
        // It serves, and something about it is wrong.
        SiteState::Ready if !detail.is_empty() => {
            warn!(%site, slug, from, %to, reason, incarnation, detail, "a site changed its state");
        }
        SiteState::Starting if from == to.as_str() => {
            debug!(%site, slug, from, %to, reason, incarnation, detail, "a site changed its state");
        }
        SiteState::Starting
        | SiteState::Ready
        | SiteState::Reloading
        | SiteState::Sleeping
        | SiteState::Waking
        | SiteState::Disabled
        | SiteState::Stopping => {
            info!(%site, slug, from, %to, reason, incarnation, detail, "a site changed its state");
        }
    }
}

/// A queued instance has no incarnation before its turn comes.
fn is_same(before: &InstanceStatus, after: &InstanceStatus) -> bool {
    before.number == after.number
        && (before.incarnation == after.incarnation || before.state == InstanceState::Queued)
}

fn wall_clock(at: Instant) -> SystemTime {
    SystemTime::now() + at.saturating_duration_since(now())
}
