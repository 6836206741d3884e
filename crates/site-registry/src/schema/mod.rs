//! The schema `emperor`: its versions, and how one becomes the next.
//!
//! A migration is a numbered SQL file beside this one; once released it is never edited. All that
//! are missing run in one transaction under an advisory lock, so several emperors that start at
//! once make one schema, and a failure leaves the schema as it was.

mod rights;

pub use rights::{DAEMON_GRANTS, EDITOR_GRANTS, PURGER_GRANTS, WATCHER_GRANTS};

use tokio_postgres::Client;

use crate::django;
use crate::link::{DatabaseTarget, Doing, LinkError, Session, bounded, bounded_by};
use crate::source::RowSource;

/// The migrations, by version from 1.
const MIGRATIONS: &[&str] = &[
    include_str!("0001_tables.sql"),
    include_str!("0002_host_claims.sql"),
    include_str!("0003_notifications.sql"),
    include_str!("0004_reloads.sql"),
    include_str!("0005_purges.sql"),
    include_str!("0006_django.sql"),
    include_str!("0007_lost_hosts.sql"),
];
/// Oldest server: transition tables, `EXECUTE FUNCTION` and `DELETE` in one; older ones get no
/// fixes any more.
const OLDEST_SERVER: i32 = 130_000;
/// Any constant will do, as long as every emperor has the same.
const LOCK: i64 = 0x656d_7065_726f_7231;
/// Includes the time another emperor takes.
const MIGRATION_TIMEOUT: std::time::Duration = std::time::Duration::from_mins(1);

const PREPARE: &str = "
CREATE SCHEMA IF NOT EXISTS emperor;
CREATE TABLE IF NOT EXISTS emperor.schema_version (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);";

/// The schema of a database, compared with the one this program needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaStatus {
    /// The version found; `None`: there is no schema.
    pub found: Option<i32>,
    /// The version this program needs.
    pub needed: i32,
}

impl SchemaStatus {
    /// What keeps this program from working on the schema.
    fn obstacle(self) -> Option<LinkError> {
        let needed = self.needed;
        match self.found {
            None => Some(LinkError::NoSchema),
            Some(found) if found < needed => Some(LinkError::OldSchema { found, needed }),
            Some(found) if found > needed => Some(LinkError::NewerSchema {
                found,
                known: needed,
            }),
            Some(_) => None,
        }
    }
}

/// Opens a session and tells the schema's version, for `emperor db status`.
pub async fn schema_status(target: &DatabaseTarget) -> Result<SchemaStatus, LinkError> {
    let session = Session::open(target).await?;
    let status = status(&session.client).await;
    session.close().await;
    status
}

/// What a migration found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The schema before.
    pub before: SchemaStatus,
    /// The tables of another program that lacked triggers and have them now.
    pub heard_again: Vec<String>,
}

/// Opens a session, brings the schema up to date, and puts up the triggers that tell of changes in
/// the tables of a source, for `emperor db migrate`.
pub async fn migrate(target: &DatabaseTarget, source: &RowSource) -> Result<Migrated, LinkError> {
    let mut session = Session::open(target).await?;
    let migrated = migrate_in(&mut session.client, source).await;
    session.close().await;
    migrated
}

async fn migrate_in(client: &mut Client, source: &RowSource) -> Result<Migrated, LinkError> {
    let before = ensure(client).await?;
    let heard_again = match source {
        RowSource::Emperor | RowSource::Query(_) => Vec::new(),
        RowSource::Django(tables) => django::put_up(client, tables).await?,
    };
    Ok(Migrated {
        before,
        heard_again,
    })
}

/// Makes the schema, or brings it up to date, where this program couldn't work on it otherwise; returns
/// what was found before.
pub(crate) async fn ensure(client: &mut Client) -> Result<SchemaStatus, LinkError> {
    check_server(client).await?;
    let before = status(client).await?;
    match before.obstacle() {
        None => {}
        Some(LinkError::NoSchema | LinkError::OldSchema { .. }) => {
            bounded_by_migration(client).await?;
        }
        Some(obstacle) => return Err(obstacle),
    }
    Ok(before)
}

/// Makes sure that this program can work on the server and the schema as they are.
pub(crate) async fn require(client: &Client) -> Result<(), LinkError> {
    check_server(client).await?;
    check(client).await
}

/// Whether this program can work on the schema as it is.
pub(crate) async fn check(client: &Client) -> Result<(), LinkError> {
    status(client).await?.obstacle().map_or(Ok(()), Err)
}

async fn check_server(client: &Client) -> Result<(), LinkError> {
    let question = "SELECT current_setting('server_version_num')::int, \
                    current_setting('server_version')";
    let row = bounded(Doing::Connecting, client.query_one(question, &[])).await?;
    if row.get::<_, i32>(0) < OLDEST_SERVER {
        return Err(LinkError::ServerTooOld(row.get(1)));
    }
    Ok(())
}

async fn status(client: &Client) -> Result<SchemaStatus, LinkError> {
    let needed = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    let exists = "SELECT to_regclass('emperor.schema_version') IS NOT NULL";
    let row = bounded(Doing::Reading, client.query_one(exists, &[])).await?;
    if !row.get::<_, bool>(0) {
        return Ok(SchemaStatus {
            found: None,
            needed,
        });
    }
    let highest = "SELECT max(version) FROM emperor.schema_version";
    let row = bounded(Doing::Reading, client.query_one(highest, &[])).await?;
    let found = row.get(0);
    Ok(SchemaStatus { found, needed })
}

async fn bounded_by_migration(client: &mut Client) -> Result<(), LinkError> {
    bounded_by(MIGRATION_TIMEOUT, Doing::Migrating, apply_missing(client)).await
}

async fn apply_missing(client: &mut Client) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    transaction.batch_execute(PREPARE).await?;
    // Another emperor may have been faster while this one waited for the lock.
    let highest = "SELECT coalesce(max(version), 0) FROM emperor.schema_version";
    let found: i32 = transaction.query_one(highest, &[]).await?.get(0);
    for (version, sql) in (1_i32..).zip(MIGRATIONS).filter(|(v, _)| *v > found) {
        transaction.batch_execute(sql).await?;
        let record = "INSERT INTO emperor.schema_version (version) VALUES ($1)";
        transaction.execute(record, &[&version]).await?;
        tracing::info!(version, "the schema \"emperor\" has a new version");
    }
    transaction.commit().await
}
