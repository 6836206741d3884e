//! Desired state in PostgreSQL: the only crate with SQL.
//!
//! A row in `emperor.sites` becomes a value in [`Desired`], within the time of one notification and
//! one reading. The order is what makes it sure: `LISTEN` first, then read everything; afterwards a
//! notification only says *which* rows to read again. State carries the meaning, so a lost, late or
//! doubled notification changes nothing but the moment, and no clock decides which edit counts.
//!
//! | module | what it is |
//! |---|---|
//! | `desired` | the rows as a persistent map, published as a level |
//! | `registry`, `options` | the handle; what it is started with |
//! | `task`, `connected` | the one task: without a link, with one |
//! | `ledger` | from reading to reading; the guard against mass removal |
//! | `reading`, `snapshot` | rows from PostgreSQL, rows from disk |
//! | `source`, `django`, `queried` | where rows are: our tables, Django's, what a query yields |
//! | `edit`, `configured`, `rewriting`, `board`, `report` | what goes the other way |
//! | `link` | URL, TLS, sessions, notifications, causes |
//! | [`purges`] | what caches have to drop |
//! | `schema` | migrations and rights |
//! | [`cluster`] | a private PostgreSQL, where no URL is given |
//!
//! # What it costs, and what bounds it
//!
//! Two sessions: one holds the `LISTEN`, one does the rest. While nothing changes neither says a
//! word, but for a full reading each `resync_interval`, which also asks whether the `LISTEN` still
//! stands and how full the server's notification queue is.
//!
//! | wait | bound |
//! |---|---|
//! | one address of a host | `connect_timeout` of the URL, else 5 s; the whole host twice that |
//! | a statement, a change, a status | 10 s; another transaction's lock 2 s |
//! | a full reading | 30 s |
//! | migrations, another emperor's included | 60 s |
//! | a notification to itself, after `LISTEN` | 5 s: then a proxy pools transactions |
//! | a dead network | about 35 s: TCP keepalives, `TCP_USER_TIMEOUT` |
//! | between two attempts | 100 ms doubled to 5 s; after a link that was had, 20 to 500 ms |
//! | the first reading, before the snapshot on disk is used | 1 s, the first failed attempt, or the start of a private cluster |
//!
//! A server that is frozen while nothing is asked of it is noticed at the next statement, a resync
//! at the latest. Nothing can be missed meanwhile: a server that answers nobody commits nothing.
//!
//! # What is never said
//!
//! Neither user nor password of the URL, nor the values of a failed row, are part of any error,
//! log record or `Debug` text of this crate.
//!
//! What it must not know: templates, workers, routes. A row is parsed here and judged elsewhere.

mod board;
mod configured;
mod connected;
mod desired;
mod django;
mod edit;
mod ledger;
mod link;
mod options;
pub mod purges;
mod queried;
mod reading;
mod registry;
mod report;
mod rewriting;
mod schema;
mod snapshot;
mod source;
mod task;

pub mod cluster;

pub use desired::{Desired, HeldRemovals, Row, Source};
pub use django::DjangoTables;
pub use edit::{Edit, EditError, NewSite, SiteChange};
pub use link::{ConnectionState, ConnectionStatus, DatabaseTarget, Doing, LinkError, TargetError};
pub use options::{ConfiguredRow, RegistryOptions};
pub use queried::QuerySource;
pub use reading::{RowsRead, read_rows, row_from_text, row_text};
pub use registry::{Registry, RegistryHandle};
pub use rewriting::{DomainChange, Obstacle, RewriteError, Writing, rewrite_domains};
pub use schema::{
    DAEMON_GRANTS, EDITOR_GRANTS, Migrated, PURGER_GRANTS, SchemaStatus, WATCHER_GRANTS, migrate,
    schema_status,
};
pub use source::RowSource;
