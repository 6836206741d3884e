//! The `[[site]]` rows of the configuration, written at start.
//!
//! A row is found by its id where that is given, else by its slug. What the configuration doesn't
//! say is left alone, nothing is ever removed, and a row that is as configured is not touched. A
//! row that can't be written is reported and keeps none of the others from it.

use imbl::OrdMap;
use site_model::SiteId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};

use crate::desired::Row;
use crate::django;
use crate::link::{Doing, LinkError, bounded};
use crate::options::ConfiguredRow;
use crate::source::RowSource;

/// Emperors that start at once, and operators that have domains rewritten, write one after the other.
pub(crate) const LOCK: i64 = 0x656d_7065_726f_7232;

const FIND: &str = "
SELECT id, enabled FROM emperor.sites
WHERE CASE WHEN $1::bigint IS NULL THEN slug = $2 ELSE id = $1 END";

const INSERT: &str = "
INSERT INTO emperor.sites (slug, domain, template, extra_config, run_as, pool, enabled)
VALUES ($1, coalesce($2, ''), coalesce($3, ''), coalesce($4, ''), coalesce($5, ''), $6, coalesce($7, true))";

const INSERT_WITH_ID: &str = "
INSERT INTO emperor.sites (slug, domain, template, extra_config, run_as, pool, enabled, id)
VALUES ($1, coalesce($2, ''), coalesce($3, ''), coalesce($4, ''), coalesce($5, ''), $6, coalesce($7, true), $8)";

/// `enabled = false` is for a row that is made: it turns off none that is there.
const UPDATE: &str = "
UPDATE emperor.sites s SET
    slug = $1, domain = coalesce($2, s.domain), template = coalesce($3, s.template),
    extra_config = coalesce($4, s.extra_config), run_as = coalesce($5, s.run_as),
    pool = coalesce($6, s.pool), enabled = s.enabled OR coalesce($7, false)
WHERE s.id = $8 AND (s.slug, s.domain, s.template, s.extra_config, s.run_as, s.pool, s.enabled)
    IS DISTINCT FROM (
    $1, coalesce($2, s.domain), coalesce($3, s.template), coalesce($4, s.extra_config),
    coalesce($5, s.run_as), coalesce($6, s.pool), s.enabled OR coalesce($7, false))";

/// Writes the rows in one transaction.
pub(crate) async fn write(
    client: &mut Client,
    source: &RowSource,
    rows: &[ConfiguredRow],
) -> Result<(), LinkError> {
    if rows.is_empty() {
        return Ok(());
    }
    let known = match source {
        RowSource::Emperor => None,
        RowSource::Django(tables) => Some(django::read(client, tables).await?.rows),
        RowSource::Query(_) => {
            tracing::error!(
                "a [[site]] can't be written: the sites are the rows of database.query"
            );
            return Ok(());
        }
    };
    bounded(Doing::Configuring, write_all(client, known.as_ref(), rows)).await
}

/// `known`: the rows that somebody else keeps, where it isn't the emperor.
async fn write_all(
    client: &mut Client,
    known: Option<&OrdMap<SiteId, Row>>,
    rows: &[ConfiguredRow],
) -> Result<(), tokio_postgres::Error> {
    let mut transaction = client.transaction().await?;
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    for row in rows {
        let savepoint = transaction.transaction().await?;
        let written = match known {
            None => upsert(&savepoint, row).await,
            Some(known) => django::configure(&savepoint, known, row).await,
        };
        match written {
            Ok(()) => savepoint.commit().await?,
            // Without words of the server's there is no server any more.
            Err(error) if error.as_db_error().is_none() => return Err(error),
            Err(error) => {
                let cause = LinkError::from_postgres(&error, Doing::Configuring);
                tracing::error!(slug = %row.slug, %cause, "a [[site]] can't be written");
                savepoint.rollback().await?;
            }
        }
    }
    transaction.commit().await
}

async fn upsert(
    transaction: &Transaction<'_>,
    row: &ConfiguredRow,
) -> Result<(), tokio_postgres::Error> {
    let given = row.id.map(SiteId::get);
    let slug = row.slug.as_str();
    let domain = row.domain.as_ref().map(ToString::to_string);
    let template = row.template.as_ref().map(ToString::to_string);
    let overlay = row.extra_config.as_deref().filter(|text| !text.is_empty());
    let run_as = row.run_as.as_ref().map(ToString::to_string);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![
        &slug,
        &domain,
        &template,
        &overlay,
        &run_as,
        &row.pool,
        &row.enabled,
    ];

    let found = transaction.query_opt(FIND, &[&given, &slug]).await?;
    if found.as_ref().is_some_and(|row| row.get("enabled")) {
        explain_enabled(row);
    }
    let found: Option<i64> = found.map(|row| row.get("id"));
    let (statement, id) = match (&found, &given) {
        (Some(_), _) => (UPDATE, &found),
        (None, Some(_)) => (INSERT_WITH_ID, &given),
        (None, None) => (INSERT, &None),
    };
    if id.is_some() {
        values.push(id);
    }
    transaction.execute(statement, &values).await.map(drop)
}

/// Of a row whose site is there and enabled: why it stays so.
pub(crate) fn explain_enabled(row: &ConfiguredRow) {
    if row.enabled == Some(false) {
        tracing::warn!(
            slug = %row.slug,
            "`enabled = false` in a [[site]] turns off no site that is there; `emperor site disable` does"
        );
    }
}
