//! What is told about a vassal: its status, for people, and its route, for the router. Both are
//! functions of the state and of nothing else.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use site_model::{
    Backend, HostPattern, Incarnation, InstanceState, InstanceStatus, RejectionReason, Revision,
    RouteSettings, Service, SiteRoute, SiteState, SiteStatus, Unavailable,
};

use super::Lifecycle;
use super::goal::Goal;
use super::instance::{Fate, Instance, Phase, Role};
use super::reason::StopReason;
use super::rollout::{NextTry, Rollout, Trouble};
use crate::Address;
use crate::units::Humane;

impl Lifecycle {
    /// What is told about the site.
    pub fn status(&self) -> SiteStatus {
        let (state, detail) = self.state();
        let address = self.address();
        let mut instances: Vec<_> = self.instances.iter().map(Instance::status).collect();
        instances.sort_by_key(|instance| instance.number);
        SiteStatus {
            id: self.id,
            state,
            detail,
            hosts: address.as_deref().map(hosts).unwrap_or_default(),
            revision: self.serving_revision(),
            wanted: self.goal.wanted_revision(),
            restarts: self.restarts,
            instances,
        }
    }

    /// When an instance is started again after a failure; `None`: no pause runs.
    pub fn next_try(&self) -> Option<Instant> {
        let (wanted, fallback) = self.goal.rollouts();
        let rollouts = wanted.into_iter().chain(fallback);
        rollouts.filter_map(Rollout::deadline).min()
    }

    /// Why an instance drains; `None`: it doesn't.
    pub fn draining(&self, incarnation: Incarnation) -> Option<StopReason> {
        self.instances[self.find(incarnation)?].draining()
    }

    /// How the router is to treat the site; `None`: it isn't to know it.
    pub fn route(&self) -> Option<SiteRoute> {
        if matches!(self.goal, Goal::Removed) {
            return None;
        }
        let address = self.address()?;
        Some(SiteRoute {
            id: self.id,
            slug: address.slug.clone(),
            canonical: address.canonical.clone(),
            hosts: address.hosts.clone(),
            service: self.service(),
            settings: Arc::new(RouteSettings {
                queue: address.queue,
                check_paths: self.check_paths(),
                cache: self.goal.cache(),
            }),
        })
    }

    /// As is wanted now, like all that decides on sleep.
    fn check_paths(&self) -> Arc<[String]> {
        match &self.goal {
            Goal::Run { rollout, .. } => Arc::clone(&rollout.spec.settings.idle.answered),
            Goal::Pooled(membership) => Arc::clone(&membership.check_paths),
            Goal::Rejected { .. } | Goal::Disabled(_) | Goal::Removed | Goal::Shutdown { .. } => {
                Arc::default()
            }
        }
    }

    /// Where the site is reached: as the newest revision that serves has it, else as is wanted. The two
    /// differ only where a worker was told its hosts: then they move at the moment its successor answers,
    /// and not while the router may still ask the one that knows others.
    pub(super) fn address(&self) -> Option<Arc<Address>> {
        if let Some(instance) = self.newest_serving() {
            return Some(Address::from(&*instance.spec).into());
        }
        match &self.goal {
            Goal::Run { rollout, .. } => Some(Address::from(&*rollout.spec).into()),
            Goal::Disabled(address) => Some(address.clone()),
            Goal::Pooled(membership) => Some(Arc::clone(&membership.address)),
            Goal::Rejected {
                fallback: Some(fallback),
                ..
            } => Some(Address::from(&*fallback.spec).into()),
            Goal::Rejected { rejection, .. } => rejection.address.clone(),
            Goal::Shutdown { address, .. } => address.clone(),
            Goal::Removed => None,
        }
    }

    fn service(&self) -> Service {
        let mut serving: Vec<_> = self
            .instances
            .iter()
            .filter_map(Instance::backend)
            .collect();
        serving.sort_by_key(|backend| backend.number);
        if !serving.is_empty() {
            return Service::Ready(serving);
        }
        match &self.goal {
            Goal::Run { .. } if self.is_asleep() => Service::Asleep,
            Goal::Run { .. } if self.is_hopeless() => Service::Unavailable(Unavailable::Failed),
            Goal::Rejected { fallback: None, .. } => Service::Unavailable(Unavailable::Rejected),
            Goal::Rejected { .. } if self.is_hopeless() => {
                Service::Unavailable(Unavailable::Rejected)
            }
            Goal::Disabled(_) => Service::Unavailable(Unavailable::Disabled),
            Goal::Pooled(membership) => Service::Pooled(membership.pool),
            Goal::Run { .. } | Goal::Rejected { .. } | Goal::Removed | Goal::Shutdown { .. } => {
                Service::Waiting
            }
        }
    }

    /// Nothing that could serve will start.
    fn is_hopeless(&self) -> bool {
        let (wanted, fallback) = self.goal.rollouts();
        let mut rollouts = wanted.into_iter().chain(fallback);
        rollouts.all(Rollout::is_hopeless)
    }

    fn newest_serving(&self) -> Option<&Instance> {
        let serving = self.instances.iter();
        let serving = serving.filter(|instance| instance.role() == Role::Serving);
        serving.max_by_key(|instance| (instance.is_ready(), instance.rollout))
    }

    fn serving_revision(&self) -> Option<Revision> {
        self.newest_serving().map(|instance| instance.spec.revision)
    }

    fn state(&self) -> (SiteState, String) {
        match &self.goal {
            Goal::Run { .. } if self.is_asleep() && self.instances.is_empty() => {
                (SiteState::Sleeping, String::new())
            }
            Goal::Run { .. } if self.is_asleep() => {
                (SiteState::Sleeping, "its worker is ending".to_owned())
            }
            Goal::Run { rollout, .. } => self.running_state(rollout),
            Goal::Rejected { rejection, .. } => self.rejected_state(&rejection.reason),
            Goal::Disabled(_) if self.instances.is_empty() => (SiteState::Disabled, String::new()),
            Goal::Disabled(_) => (SiteState::Stopping, "disabled".to_owned()),
            Goal::Pooled(_) => (SiteState::Ready, String::new()),
            Goal::Removed => (SiteState::Stopping, "its row is gone".to_owned()),
            Goal::Shutdown { .. } => (SiteState::Stopping, "the emperor ends".to_owned()),
        }
    }

    fn rejected_state(&self, reason: &RejectionReason) -> (SiteState, String) {
        let cause = reason.to_string();
        let Some(revision) = self.serving_revision() else {
            return (SiteState::Rejected, cause);
        };
        // A diagnostic ends with its marks, below which nothing may be written on.
        let separator = if cause.contains('\n') { "\n" } else { "; " };
        let revision = revision.short();
        let serves = format!("revision {revision}, the last one that could be run, serves on");
        (SiteState::Rejected, cause + separator + &serves)
    }

    fn running_state(&self, rollout: &Rollout) -> (SiteState, String) {
        let ready = self.instances.iter().filter(|instance| instance.is_ready());
        let new = ready
            .clone()
            .filter(|i| i.rollout == rollout.number)
            .count();
        let wanted = rollout.instances_needed();
        if ready.count() == 0 {
            return self.unready_state(rollout);
        }
        let old_serves = self
            .instances
            .iter()
            .any(|instance| instance.role() == Role::Serving && instance.rollout != rollout.number);
        match (old_serves, rollout.trouble()) {
            (true, Some(trouble)) if trouble.is_pausing() => {
                let revision = rollout.spec.revision.short();
                let detail =
                    format!("revision {revision} failed: {trouble}; the one before serves on");
                (SiteState::Ready, detail)
            }
            (true, trouble) => {
                let revision = rollout.spec.revision.short();
                let last = Last(trouble);
                let step = if self.waits_to_replace() {
                    "waits for its turn to take over"
                } else {
                    "takes over"
                };
                let detail = format!("revision {revision} {step}{last}");
                (SiteState::Reloading, detail)
            }
            (false, trouble) if new < wanted => {
                let last = Last(trouble);
                (
                    SiteState::Ready,
                    format!("{new} of {wanted} instances are ready{last}"),
                )
            }
            (false, _) => (
                SiteState::Ready,
                self.unwell().unwrap_or_else(|| self.without()),
            ),
        }
    }

    fn unwell(&self) -> Option<String> {
        let mut instances = self.instances.iter();
        let (number, cause) = instances.find_map(|i| Some((i.number, i.unwell()?)))?;
        Some(format!(
            "instance {number} is unwell and is being replaced: {cause}"
        ))
    }

    /// The limits and walls that instances run without, although they were asked for.
    fn without(&self) -> String {
        let processes = self.instances.iter().filter_map(Instance::process);
        let missing: BTreeSet<_> = processes.flat_map(|process| &process.missing).collect();
        if missing.is_empty() {
            return String::new();
        }
        let missing: Vec<_> = missing.into_iter().map(String::as_str).collect();
        format!("runs without {}", missing.join("; "))
    }

    fn unready_state(&self, rollout: &Rollout) -> (SiteState, String) {
        let trouble = rollout.trouble();
        if let Some(trouble) = trouble.filter(|_| self.is_hopeless()) {
            return (SiteState::Failed, trouble.to_string());
        }
        let starting = if self.is_waking() {
            SiteState::Waking
        } else {
            SiteState::Starting
        };
        let furthest = self.instances.iter().filter_map(Instance::way_ahead).max();
        match (furthest, trouble) {
            (Some(stage), trouble) => (starting, format!("{stage}{}", Last(trouble))),
            (None, Some(trouble)) if trouble.is_pausing() => {
                (SiteState::BackingOff, trouble.to_string())
            }
            (None, trouble) => {
                let stage = "waits until earlier instances have ended";
                (starting, format!("{stage}{}", Last(trouble)))
            }
        }
    }
}

/// How far an instance on its way is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Queued,
    Starting,
    Publishing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Queued => "waits for its turn to start",
            Self::Starting => "its worker is starting",
            Self::Publishing => "its worker is ready, the fastrouter doesn't know yet",
        })
    }
}

/// The last failure, as the end of a sentence.
struct Last<'life>(Option<&'life Trouble>);

impl fmt::Display for Last<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(trouble) => write!(f, "; the last try failed: {}", trouble.cause),
            None => Ok(()),
        }
    }
}

impl Trouble {
    fn is_pausing(&self) -> bool {
        match self.next_try {
            NextTry::At(_) => true,
            NextTry::Due => false,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.cause)?;
        if self.failed_starts > 1 {
            write!(f, "; {} starts failed in a row", self.failed_starts)?;
        }
        let pause = Humane(self.pause);
        match self.next_try {
            NextTry::At(_) if self.is_hopeless() => write!(f, "; tried again every {pause}"),
            NextTry::At(_) => write!(f, "; tried again after {pause}"),
            NextTry::Due => Ok(()),
        }
    }
}

impl Instance {
    fn status(&self) -> InstanceStatus {
        let process = self.process();
        InstanceStatus {
            number: self.number,
            // The number 0 is no spawn's: it is shown while there was none.
            incarnation: self.incarnation().unwrap_or(Incarnation::new(0)),
            revision: self.spec.revision,
            state: self.state(),
            pid: process.map(|process| process.pid),
            socket: process.map_or_else(PathBuf::new, |process| process.socket.clone()),
            started_at: process.map(|process| process.started_at),
        }
    }

    fn state(&self) -> InstanceState {
        match &self.phase {
            Phase::Queued { .. } => InstanceState::Queued,
            Phase::Spawning {
                fate: Fate::Wanted, ..
            }
            | Phase::Probing { .. }
            | Phase::Publishing { .. } => InstanceState::Starting,
            Phase::Ready { .. } => InstanceState::Ready,
            Phase::Draining { .. } => InstanceState::Draining,
            Phase::Spawning {
                fate: Fate::Doomed(_),
                ..
            }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => InstanceState::Stopping,
        }
    }

    fn way_ahead(&self) -> Option<Stage> {
        match (&self.phase, self.role()) {
            (Phase::Queued { .. }, _) => Some(Stage::Queued),
            (Phase::Publishing { .. }, _) => Some(Stage::Publishing),
            (
                Phase::Spawning { .. }
                | Phase::Probing { .. }
                | Phase::Ready { .. }
                | Phase::Draining { .. }
                | Phase::Stopping { .. }
                | Phase::Killed { .. },
                Role::Coming,
            ) => Some(Stage::Starting),
            (
                Phase::Spawning { .. }
                | Phase::Probing { .. }
                | Phase::Ready { .. }
                | Phase::Draining { .. }
                | Phase::Stopping { .. }
                | Phase::Killed { .. },
                Role::Serving | Role::Ending,
            ) => None,
        }
    }

    fn backend(&self) -> Option<Backend> {
        let process = self.process()?;
        (self.role() == Role::Serving).then(|| Backend {
            number: self.number,
            incarnation: process.incarnation,
            socket: process.socket.clone(),
            protocol: self.spec.protocol,
            concurrency: NonZeroU32::new(self.spec.settings.instances.concurrency),
        })
    }
}

fn hosts(address: &Address) -> Vec<HostPattern> {
    address
        .hosts
        .iter()
        .map(|(pattern, _)| pattern.clone())
        .collect()
}
