//! What a router is told of the table: all of it, or what changed.

use std::sync::Arc;

use imbl::OrdMap;
use site_model::{Generation, SiteId, SiteRoute};
use wire::route::Settings;

use super::posted::Posted;

/// A whole table, to begin a connection with.
#[derive(Debug)]
pub(in crate::daemon) struct Whole {
    pub(in crate::daemon) generation: Generation,
    pub(in crate::daemon) routes: OrdMap<SiteId, Posted>,
}

/// What is to be said next on a connection that knows the table.
#[derive(Debug)]
pub(super) struct News {
    pub(super) settings: Option<Arc<Settings>>,
    pub(super) table: TableNews,
}

/// What of the table.
#[derive(Debug)]
pub(super) enum TableNews {
    /// Nothing more.
    Nothing,
    Step(Arc<Step>),
    /// Too much has changed to be told step by step.
    Whole(Whole),
}

/// One step of the table.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) generation: Generation,
    pub(super) upserts: Vec<Arc<SiteRoute>>,
    pub(super) removals: Vec<SiteId>,
}
