//! What must hold, whatever happens.

use std::time::Duration;

use imbl::OrdMap;
use site_model::{InstanceState, InstanceStatus, Service, SiteId, SiteState};

use super::process::{Motion, State};
use super::{House, MOST_SURGE, SITES, may_sleep, most_instances};
use crate::lifecycle::tests::fixture::site_id;
use crate::{Lifecycle, Want};

/// Processes of one site within a minute in which nobody asked for anything.
const MOST_SPAWNS: usize = 30;

impl House {
    /// What holds after each step.
    pub(super) fn check(&self) {
        self.world.check();
        for id in (1..=SITES).map(site_id) {
            let living = self.world.living(id).count();
            let most = 3 * most_instances(id) as usize;
            assert!(living <= most, "{living} processes of site {id}");
            let above = if id == site_id(1) { 1 } else { MOST_SURGE };
            let most = (most_instances(id) + above) as usize;
            let replacing = self.world.most_replacing.get(&id).copied().unwrap_or(0);
            assert!(
                replacing <= most,
                "{replacing} replacements and others of site {id}"
            );
            self.check_rate(id);
        }
        self.lives.values().for_each(check_view);
        self.check_hosts();
        for life in self.lives.values() {
            let due = life.deadline().is_some_and(|at| at <= self.world.now);
            assert!(!due, "what is due was done, and is due: {life:?}");
        }
    }

    /// Where no worker is told of its hosts, they are those of the row as soon as it is told.
    fn check_hosts(&self) {
        for (id, life) in &self.lives {
            let Some(Want::Run(spec)) = self.told.get(id) else {
                continue;
            };
            if !spec.told.hosts {
                let route = life.route().unwrap();
                assert_eq!(route.canonical, spec.hosts.canonical, "{id}: {life:?}");
            }
        }
    }

    /// Nobody asked for anything within the last minute: then only few were started in it.
    fn check_rate(&self, id: SiteId) {
        let now = self.world.now;
        let minute = Duration::from_mins(1);
        let asked = self.disturbed.get(&id);
        if asked.is_some_and(|at| now - *at < minute) {
            return;
        }
        let spawns = self.world.spawns.get(&id).into_iter().flatten().rev();
        let recent = spawns.take_while(|at| now - **at < minute).count();
        assert!(
            recent <= MOST_SPAWNS,
            "{recent} starts of site {id} in a minute"
        );
    }

    /// What holds once the faults have stopped and the house has come to rest.
    pub(super) fn check_rest(&self) {
        for (incarnation, process) in &self.world.processes {
            let serves = process.state == State::Alive;
            assert!(
                !(serves && process.motion == Motion::Stopped),
                "{incarnation} is stopped"
            );
        }
        for id in (1..=SITES).map(site_id) {
            let life = self.lives.get(&id);
            match (self.rows.get(&id), life) {
                (None, None) => {}
                (Some(Want::Run(_)), Some(life)) if may_sleep(id) => {
                    assert_eq!(life.status().state, SiteState::Sleeping);
                    assert_eq!(self.world.living(id).count(), 0);
                    assert_eq!(self.world.waiting(id), 0, "a request was lost");
                }
                (Some(Want::Run(spec)), Some(life)) => {
                    assert_eq!(self.world.waiting(id), 0, "a request was lost");
                    let status = life.status();
                    assert_eq!(status.state, SiteState::Ready, "{status:?}");
                    assert_eq!(status.detail, "");
                    assert_eq!(status.revision, Some(spec.revision));
                    let wanted = spec.settings.instances.min as usize;
                    assert_eq!(status.instances.len(), wanted, "{status:?}");
                    assert_eq!(self.world.living(id).count(), wanted);
                }
                (Some(Want::Disabled(_)), Some(life)) => {
                    assert_eq!(life.status().state, SiteState::Disabled);
                    assert_eq!(self.world.living(id).count(), 0);
                }
                (Some(Want::Rejected(_)), Some(life)) => {
                    assert_eq!(life.status().state, SiteState::Rejected);
                }
                (row, life) => panic!(
                    "site {id}: {row:?} became {:?}",
                    life.map(Lifecycle::status)
                ),
            }
        }
    }
}

/// An instance that was ready is only drained to make room where another one is ready.
pub(super) fn check_handover(
    known: &OrdMap<SiteId, Want>,
    before: &[InstanceStatus],
    life: &Lifecycle,
) {
    let after = life.status();
    let runs = match known.get(&after.id) {
        Some(Want::Run(_)) => ![SiteState::Stopping, SiteState::Sleeping].contains(&after.state),
        Some(Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_)) | None => false,
    };
    let was_ready = |incarnation| {
        let mut before = before.iter();
        before.any(|i| i.incarnation == incarnation && i.state == InstanceState::Ready)
    };
    let mut instances = after.instances.iter();
    let drained = instances.any(|i| i.state == InstanceState::Draining && was_ready(i.incarnation));
    let ready = after
        .instances
        .iter()
        .any(|i| i.state == InstanceState::Ready);
    assert!(
        !(runs && drained) || ready,
        "the last ready instance was drained: {after:?}"
    );
}

/// What is told to people and what is told to the router are of one life.
fn check_view(life: &Lifecycle) {
    let status = life.status();
    let Some(Service::Ready(backends)) = life.route().map(|route| route.service) else {
        let mut found = status.instances.iter().map(|instance| instance.state);
        assert!(
            !found.any(|state| state == InstanceState::Ready),
            "{status:?}"
        );
        return;
    };
    for backend in backends {
        let mut instances = status.instances.iter();
        let state = instances
            .find(|i| i.incarnation == backend.incarnation)
            .map(|i| i.state);
        let may_serve = [InstanceState::Starting, InstanceState::Ready];
        assert!(
            state.is_some_and(|state| may_serve.contains(&state)),
            "{backend:?} is {state:?}"
        );
    }
}
