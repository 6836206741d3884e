//! The link to PostgreSQL: where it leads, how it is opened and watched, why it fails.
//!
//! Knows sessions and notifications; what a row or a site is, it doesn't.

mod backoff;
mod error;
mod inbox;
mod payload;
mod session;
mod status;
mod target;
mod tls;

pub(crate) use backoff::Backoff;
pub use error::{Doing, LinkError};
pub(crate) use inbox::{Inbox, Stale};
pub(crate) use payload::PURGES;
pub(crate) use session::{Link, STATEMENT_TIMEOUT, Session, bounded, bounded_by};
pub(crate) use status::QUEUE_WARNING;
pub use status::{ConnectionState, ConnectionStatus};
pub use target::{DatabaseTarget, TargetError};
