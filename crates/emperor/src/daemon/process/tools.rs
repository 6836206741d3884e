//! What every spawn uses, and every taking over.

use std::sync::Arc;

use super::cgroup::Cgroups;
use super::halts::Halts;
use super::identity::Identities;
use super::incarnations::Incarnations;
use super::layout::Layout;
use super::limits::OwnLimits;
use super::notebook::Notebook;
use super::output::Logbook;
use super::pools::Pools;
use super::priority::Lowered;
use super::programs::OwnPrograms;
use super::room::Room;
use super::session::Sweeper;

/// One for the whole daemon.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) programs: OwnPrograms,
    pub(super) layout: Layout,
    pub(super) identities: Identities,
    pub(super) incarnations: Incarnations,
    pub(super) pools: Pools,
    pub(super) logbook: Logbook,
    pub(super) limits: OwnLimits,
    pub(super) room: Room,
    pub(super) lowered: Option<Lowered>,
    pub(super) cgroups: Cgroups,
    pub(super) sweeper: Arc<Sweeper>,
    pub(super) notebook: Arc<Notebook>,
    pub(super) halts: Arc<Halts>,
}
