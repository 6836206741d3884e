//! Reading rows: all of them, or those with some ids.
//!
//! Each reading is one snapshot of the database: a site is never read without the hosts that were
//! committed with it. Only the emperor's own rows are read by id. What another program keeps is read
//! whole, because there one row may decide whether another can be run.

mod row;

use std::collections::BTreeSet;

use futures_util::TryStreamExt as _;
use imbl::OrdMap;
use site_model::{SiteId, every_second_first};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row as DatabaseRow, Statement, Transaction};

#[cfg(test)]
pub(crate) use row::tests;
pub(crate) use row::{Columns, RawRow, kind_text, made_slug};
pub use row::{row_from_text, row_text};

use crate::desired::{NamedRow, Row};
use crate::django::{self, DjangoTables};
use crate::link::{DatabaseTarget, Doing, LinkError, Session, bounded, bounded_by};
use crate::queried::{self, QuerySource};
use crate::schema::require;
use crate::source::RowSource;

/// For a statement that reads every row of a large house.
const FULL_READING_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

const COLUMNS: &str = "
SELECT s.id, s.slug, s.domain, s.enabled, s.template, s.extra_config, s.run_as, s.pool,
    coalesce((SELECT r.count FROM emperor.reloads r WHERE r.site_id = s.id), 0) AS reloads,
    ARRAY(SELECT d.host FROM emperor.domains d WHERE d.site_id = s.id ORDER BY d.host) AS hosts,
    ARRAY(SELECT d.kind FROM emperor.domains d WHERE d.site_id = s.id ORDER BY d.host) AS kinds
FROM emperor.sites s";

/// Reads from one source; the statement by id is prepared once, so it is one round trip.
#[derive(Debug)]
pub(crate) enum Reader {
    Emperor { by_id: Statement },
    Django(DjangoTables),
    Query(QuerySource),
}

/// What a full reading found.
#[derive(Debug)]
pub(crate) struct FullReading {
    pub(crate) rows: OrdMap<SiteId, Row>,
    pub(crate) notification_queue_usage: f64,
    /// Tables of whose changes nobody is told.
    pub(crate) silent: Vec<String>,
}

/// Every row, for who only looks.
#[derive(Debug)]
pub struct RowsRead {
    /// The rows.
    pub rows: OrdMap<SiteId, Row>,
    /// The tables of whose changes nobody is told, since they have no triggers.
    pub silent: Vec<String>,
}

/// Opens a session and reads every row once, for `emperor check`. Writes nothing: a schema that is
/// missing or old is an error.
pub async fn read_rows(target: &DatabaseTarget, source: &RowSource) -> Result<RowsRead, LinkError> {
    let mut session = Session::open(target).await?;
    let rows = read_once(&mut session.client, source).await;
    session.close().await;
    rows
}

async fn read_once(client: &mut Client, source: &RowSource) -> Result<RowsRead, LinkError> {
    require(client).await?;
    let reading = Reader::prepare(client, source).await?.all(client).await?;
    Ok(RowsRead {
        rows: reading.rows,
        silent: reading.silent,
    })
}

impl Reader {
    pub(crate) async fn prepare(client: &Client, source: &RowSource) -> Result<Self, LinkError> {
        match source {
            RowSource::Emperor => {
                let by_id = format!("{COLUMNS} WHERE s.id = ANY($1)");
                Ok(Self::Emperor {
                    by_id: bounded(Doing::Reading, client.prepare(&by_id)).await?,
                })
            }
            RowSource::Django(tables) => Ok(Self::Django(tables.clone())),
            RowSource::Query(source) => Ok(Self::Query(source.clone())),
        }
    }

    /// Reads the rows with these ids; those that don't exist are missing from the answer. `None`:
    /// this source is read whole.
    pub(crate) async fn some(
        &self,
        client: &Client,
        ids: &BTreeSet<i64>,
    ) -> Result<Option<OrdMap<SiteId, Row>>, LinkError> {
        let Self::Emperor { by_id } = self else {
            return Ok(None);
        };
        let ids: Vec<i64> = ids.iter().copied().collect();
        let rows = bounded(Doing::Reading, client.query(by_id, &[&ids])).await?;
        parse_all(&rows).map(Some)
    }

    /// Reads every row, and how full the notification queue is.
    pub(crate) async fn all(&self, client: &mut Client) -> Result<FullReading, LinkError> {
        let (rows, silent) = match self {
            Self::Emperor { .. } => {
                let rows = bounded_by(FULL_READING_TIMEOUT, Doing::Reading, read_all(client));
                (rows.await?, Vec::new())
            }
            Self::Django(tables) => {
                let reading = in_time(django::read(client, tables)).await?;
                (reading.rows, reading.silent)
            }
            Self::Query(source) => (in_time(queried::read(client, source)).await?, Vec::new()),
        };
        let usage = client.query_one("SELECT pg_notification_queue_usage()", &[]);
        let usage = bounded(Doing::Reading, usage).await?;
        Ok(FullReading {
            rows: every_second_first(rows).collect(),
            silent,
            notification_queue_usage: usage.get(0),
        })
    }

    /// The ids of every row of `emperor.sites`.
    pub(crate) async fn ids(&self, client: &Client) -> Result<BTreeSet<i64>, LinkError> {
        let reading = client.query("SELECT id FROM emperor.sites", &[]);
        let rows = bounded_by(FULL_READING_TIMEOUT, Doing::Reading, reading).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

/// A reading of several statements.
async fn in_time<T>(reading: impl Future<Output = Result<T, LinkError>>) -> Result<T, LinkError> {
    let reading = tokio::time::timeout(FULL_READING_TIMEOUT, reading).await;
    reading.map_err(|_| LinkError::TimedOut {
        doing: Doing::Reading,
        after: FULL_READING_TIMEOUT,
    })?
}

/// Row by row, as they come: 100,000 rows don't stand in memory twice.
async fn read_all(client: &Client) -> Result<OrdMap<SiteId, Row>, tokio_postgres::Error> {
    let nothing: [&(dyn ToSql + Sync); 0] = [];
    let rows = client.query_raw(COLUMNS, nothing).await?;
    let mut rows = std::pin::pin!(rows);
    let mut parsed = OrdMap::new();
    while let Some(row) = rows.try_next().await? {
        parse(&row, &mut parsed)?;
    }
    Ok(parsed)
}

/// Every row with its domain, as they are in a transaction.
pub(crate) async fn named_rows(transaction: &Transaction<'_>) -> Result<Vec<NamedRow>, LinkError> {
    let failed = |error| LinkError::from_postgres(&error, Doing::Reading);
    let rows = transaction.query(COLUMNS, &[]).await.map_err(failed)?;
    let mut named = Vec::new();
    for (_, row) in parse_all(&rows)? {
        let domain = match &row {
            Row::Site(site) => site.domain.as_ref().map(ToString::to_string),
            Row::Rejected(_) => None,
        };
        named.push(NamedRow {
            row,
            domain: domain.unwrap_or_default(),
            makes_slug: false,
        });
    }
    Ok(named)
}

fn parse_all(rows: &[DatabaseRow]) -> Result<OrdMap<SiteId, Row>, LinkError> {
    let mut parsed = OrdMap::new();
    let read = rows.iter().try_for_each(|row| parse(row, &mut parsed));
    read.map_err(|error| LinkError::from_postgres(&error, Doing::Reading))?;
    Ok(parsed)
}

fn parse(row: &DatabaseRow, parsed: &mut OrdMap<SiteId, Row>) -> Result<(), tokio_postgres::Error> {
    let raw = raw_row(row)?;
    match SiteId::new(raw.id) {
        Ok(id) => {
            let mut row = raw.parse(id);
            if let Some((_, neighbour)) = parsed.get_prev(&id) {
                row.share(neighbour);
            }
            parsed.insert(id, row);
        }
        // The table's own check forbids it; only a table without it has such a row.
        Err(error) => tracing::error!(%error, "a row of emperor.sites has no usable id"),
    }
    Ok(())
}

fn raw_row(row: &DatabaseRow) -> Result<RawRow, tokio_postgres::Error> {
    let hosts: Vec<String> = row.try_get("hosts")?;
    let kinds: Vec<String> = row.try_get("kinds")?;
    Ok(RawRow {
        id: row.try_get("id")?,
        slug: row.try_get("slug")?,
        domain: row.try_get("domain")?,
        enabled: row.try_get("enabled")?,
        template: row.try_get("template")?,
        extra_config: row.try_get("extra_config")?,
        extra_uwsgi_ini: String::new(),
        run_as: row.try_get("run_as")?,
        pool: row.try_get("pool")?,
        reloads: row.try_get("reloads")?,
        domains: hosts.into_iter().zip(kinds).collect(),
    })
}
