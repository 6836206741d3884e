//! Specifications for tests that care about little in them.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use site_model::{Protocol, RejectionReason, Revision, RunAs, Site, SiteId};

use crate::settings::{Instances, Probe, Ready, Recycle, Restart, Settings, Stop, StopSignal};
use crate::spec::{NamesTold, Recipe};
use crate::{Address, ListenMode, Membership, Rejection, SiteHosts, VassalSpec, Want};

pub(crate) const READY_TIMEOUT: Duration = Duration::from_mins(1);
pub(crate) const GRACE: Duration = Duration::from_secs(30);
pub(crate) const STOP_AFTER: Duration = Duration::from_mins(1);
pub(crate) const BACKOFF_INITIAL: Duration = Duration::from_millis(500);
pub(crate) const BACKOFF_MAX: Duration = Duration::from_mins(3);

pub(crate) fn site_id(id: i64) -> SiteId {
    SiteId::new(id).unwrap()
}

/// Revision `revision` of a site, with so many instances.
pub(crate) fn spec(id: i64, revision: u8, instances: u32) -> Arc<VassalSpec> {
    let slug = format!("site-{id}");
    let site = Site {
        id: site_id(id),
        slug: slug.parse().unwrap(),
        domain: None,
        aliases: Box::default(),
        enabled: true,
        template: None,
        extra_config: Box::default(),
        run_as: None,
        extra_uwsgi_ini: Box::default(),
        pool: None,
        reloads: 0,
    };
    Arc::new(VassalSpec {
        site: Arc::new(site),
        hosts: SiteHosts {
            canonical: format!("{slug}.r{revision}.example").parse().unwrap(),
            aliases: Box::default(),
        },
        template: "demo".parse().unwrap(),
        protocol: Protocol::Http,
        listen: ListenMode::Fd,
        run_as: RunAs::Auto,
        settings: Arc::new(settings(instances)),
        recipe: Recipe::default(),
        // Their hosts have the revision in them.
        told: NamesTold {
            hosts: true,
            ..NamesTold::default()
        },
        asked_as: None,
        revision: Revision::from_bytes([revision; 16]),
    })
}

/// The same, put to sleep after [`STOP_AFTER`] without a request.
pub(crate) fn sleepy(id: i64, revision: u8, instances: u32) -> Arc<VassalSpec> {
    let mut spec = VassalSpec::clone(&spec(id, revision, instances));
    Arc::make_mut(&mut spec.settings).idle.stop_after = STOP_AFTER;
    Arc::new(spec)
}

/// The same, with so many more while they are replaced.
pub(crate) fn surging(spec: &VassalSpec, max_surge: u32) -> Arc<VassalSpec> {
    let mut spec = spec.clone();
    Arc::make_mut(&mut spec.settings).instances.max_surge = max_surge;
    Arc::new(spec)
}

/// The same, reached at this host, of which its workers are told nothing, and asked for a page there.
pub(crate) fn reached_at(spec: &VassalSpec, host: &str) -> Arc<VassalSpec> {
    let mut spec = spec.clone();
    spec.told = NamesTold::default();
    spec.hosts.canonical = host.parse().unwrap();
    Arc::make_mut(&mut spec.settings).ready.probe = Settings::default().ready.probe;
    Arc::new(spec)
}

/// The same, with up to three instances, each of which takes two requests at once.
pub(crate) fn scaled(id: i64, revision: u8, least: u32) -> Arc<VassalSpec> {
    let mut spec = VassalSpec::clone(&spec(id, revision, least));
    Arc::make_mut(&mut spec.settings).instances.max = 3;
    Arc::make_mut(&mut spec.settings).instances.concurrency = 2;
    Arc::new(spec)
}

/// The same, replaced after a hundred requests, with 100 MiB, or after that long.
pub(crate) fn recycled(
    id: i64,
    revision: u8,
    instances: u32,
    max_age: Duration,
) -> Arc<VassalSpec> {
    let mut spec = VassalSpec::clone(&spec(id, revision, instances));
    Arc::make_mut(&mut spec.settings).recycle = Recycle {
        max_requests: 100,
        max_memory_bytes: 100 << 20,
        max_age,
    };
    Arc::new(spec)
}

/// The same, probed every ten seconds, and unwell after two failures.
pub(crate) fn probed(id: i64, revision: u8, instances: u32) -> Arc<VassalSpec> {
    let mut spec = VassalSpec::clone(&spec(id, revision, instances));
    Arc::make_mut(&mut spec.settings).health.interval = Duration::from_secs(10);
    Arc::make_mut(&mut spec.settings).health.failures = 2;
    Arc::new(spec)
}

/// The same, with a watchdog of half a minute besides.
pub(crate) fn watched(id: i64, revision: u8, instances: u32) -> Arc<VassalSpec> {
    let mut spec = VassalSpec::clone(&probed(id, revision, instances));
    Arc::make_mut(&mut spec.settings).health.watchdog = Duration::from_secs(30);
    Arc::new(spec)
}

pub(crate) fn disabled(id: i64) -> Want {
    Want::Disabled(Address::from(&*spec(id, 0, 1)).into())
}

/// In the pool with the number 1.
pub(crate) fn pooled(id: i64) -> Want {
    Want::Pooled(Arc::new(Membership {
        pool: SiteId::of_pool(NonZeroU32::MIN),
        address: Address::from(&*spec(id, 0, 1)).into(),
        check_paths: Arc::default(),
        cache: None,
    }))
}

pub(crate) fn rejected(id: i64) -> Want {
    Rejection {
        reason: RejectionReason::Configuration("line 1: no such key".into()),
        address: Some(Address::from(&*spec(id, 0, 1)).into()),
    }
    .into()
}

fn settings(instances: u32) -> Settings {
    Settings {
        ready: Ready {
            probe: Probe::Connect,
            warm: Arc::default(),
            timeout: READY_TIMEOUT,
        },
        instances: Instances {
            min: instances,
            max: instances,
            concurrency: 0,
            max_surge: 1,
        },
        restart: Restart {
            backoff_initial: BACKOFF_INITIAL,
            backoff_max: BACKOFF_MAX,
        },
        stop: Stop {
            signal: StopSignal::Term,
            grace: GRACE,
        },
        ..Settings::default()
    }
}
