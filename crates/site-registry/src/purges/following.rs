//! An open link of the feed, and how it ends.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::Statement;

use super::event::{Position, PurgeEvent};
use crate::link::{Inbox, LinkError, Session};

/// An open link.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) session: Session,
    pub(super) inbox: Arc<Inbox>,
    pub(super) server: String,
    pub(super) new: Statement,
    pub(super) look_due: Instant,
    pub(super) forget_due: Instant,
}

/// Why a link is no longer followed.
pub(super) enum End {
    Stopped,
    Lost(LinkError),
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Self::Lost(error)
    }
}

/// What a reading found, and up to where.
#[derive(Debug)]
pub(super) struct CaughtUp {
    pub(super) position: Position,
    pub(super) missed: bool,
    pub(super) events: Vec<PurgeEvent>,
}
