//! Resource limits: those the emperor has, and those it hands on.

use rustix::process::{Resource as KernelResource, Rlimit as KernelRlimit, getrlimit, setrlimit};
use tracing::warn;
use wire::exec::{Resource, Rlimit};

/// What the emperor was started with.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnLimits {
    nofile: KernelRlimit,
    core: KernelRlimit,
}

impl OwnLimits {
    /// Reads them, then raises the emperor's own number of descriptors as far as it may: every
    /// instance takes four (its exit, its two outputs, its notifications).
    pub(super) fn read_and_raise() -> Self {
        let own = Self {
            nofile: getrlimit(KernelResource::Nofile),
            core: getrlimit(KernelResource::Core),
        };
        let raised = KernelRlimit {
            current: own.nofile.maximum,
            maximum: own.nofile.maximum,
        };
        if let Err(error) = setrlimit(KernelResource::Nofile, raised) {
            warn!(%error, "the limit of open descriptors could not be raised");
        }
        own
    }

    /// How many descriptors the emperor may open.
    pub(super) fn descriptors(self) -> u64 {
        self.nofile.maximum.unwrap_or(u64::MAX)
    }

    /// For a worker: as the emperor was started, not as it raised itself, since a program that uses
    /// `select` breaks above 1024; and no core file unless it asks for one, since it holds what the
    /// site's visitors sent.
    pub(super) fn for_worker(self, nofile: u64) -> Vec<Rlimit> {
        let nofile = match nofile {
            0 => limit(Resource::Nofile, self.nofile.current, self.nofile.maximum),
            wanted => limit(Resource::Nofile, Some(wanted), Some(wanted)),
        };
        vec![nofile, self.no_core()]
    }

    /// For the router, which holds a descriptor per client and one per request in flight.
    pub(super) fn for_router(self) -> Vec<Rlimit> {
        let most = self.nofile.maximum;
        vec![limit(Resource::Nofile, most, most), self.no_core()]
    }

    fn no_core(self) -> Rlimit {
        limit(Resource::Core, Some(0), self.core.maximum)
    }
}

/// No number means no limit, which `setrlimit(2)` writes as the highest.
fn limit(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> Rlimit {
    Rlimit {
        resource,
        soft: soft.unwrap_or(u64::MAX),
        hard: hard.unwrap_or(u64::MAX),
    }
}
