//! What one instance is to be, apart from how its texts are rendered.

use std::time::Duration;

use site_model::{Incarnation, InstanceNumber, Protocol, Revision, RunAs, SiteId};
use vassal_core::settings::{Limits, Sandbox, Stop};
use vassal_core::{ListenMode, VassalSpec};

/// The part of a specification that starting an instance takes.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) site: SiteId,
    pub(super) slug: String,
    /// The name of the pool that it answers for; `None`: it answers for one site.
    pub(super) pool: Option<String>,
    pub(super) domain: String,
    pub(super) listen: ListenMode,
    pub(super) run_as: RunAs,
    pub(super) stop: Stop,
    /// How often it has to say that it lives; zero: it need not.
    pub(super) watchdog: Duration,
    pub(super) limits: Limits,
    pub(super) sandbox: Sandbox,
    pub(super) number: InstanceNumber,
    pub(super) incarnation: Incarnation,
    pub(super) revision: Revision,
    pub(super) protocol: Protocol,
    /// The row as the registry writes rows: nothing here reads it.
    pub(super) row: String,
}

impl Order {
    pub(super) fn of(spec: &VassalSpec, number: InstanceNumber, incarnation: Incarnation) -> Self {
        Self {
            site: spec.site.id,
            slug: spec.site.slug.to_string(),
            pool: spec.site.slug.pool().map(ToOwned::to_owned),
            domain: spec.hosts.canonical.to_string(),
            listen: spec.listen,
            run_as: spec.run_as.clone(),
            stop: spec.settings.stop.clone(),
            watchdog: spec.settings.health.watchdog,
            limits: spec.settings.limits,
            sandbox: spec.settings.sandbox,
            number,
            incarnation,
            revision: spec.revision,
            protocol: spec.protocol,
            row: site_registry::row_text(&spec.site),
        }
    }
}
