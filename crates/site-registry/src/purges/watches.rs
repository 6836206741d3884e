//! Which tables are watched, and what a change of a row would do, for `emperor db watches`.

use tokio_postgres::Client;

use crate::link::{DatabaseTarget, Doing, LinkError, Session, bounded};
use crate::schema::require;

/// A watch that `emperor.purge_on_change()` or `emperor.reload_on_change()` made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The table, with its schema.
    pub table: String,
    /// `purge` or `reload`.
    pub kind: String,
    /// The expression for the site; `None`: every site, or a watch that an earlier version made.
    pub site: Option<String>,
    /// The query for paths.
    pub paths: Option<String>,
    /// The query for tags.
    pub tags: Option<String>,
    /// The columns whose change counts; `None`: all.
    pub columns: Option<Vec<String>>,
    /// False where somebody disabled the trigger.
    pub enabled: bool,
}

/// What a change of one row would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// `purge` or `reload`.
    pub kind: String,
    /// The site; `None`: every site.
    pub site: Option<i64>,
    /// The paths that would be purged.
    pub paths: Vec<String>,
    /// The tags that would be purged.
    pub tags: Vec<String>,
}

/// Opens a session and lists every watch of the database.
///
/// # Errors
///
/// Where the database can't be had, or its schema is not the one of this program.
pub async fn watches(target: &DatabaseTarget) -> Result<Vec<Watch>, LinkError> {
    let mut session = Session::open(target).await?;
    let listed = list(&mut session.client).await;
    session.close().await;
    listed
}

async fn list(client: &mut Client) -> Result<Vec<Watch>, LinkError> {
    require(client).await?;
    let query = "SELECT format('%I.%I', n.nspname, c.relname), w.kind, w.site, w.paths, w.tags,
            w.columns, w.enabled
        FROM emperor.watches() w JOIN pg_class c ON c.oid = w.tbl
        JOIN pg_namespace n ON n.oid = c.relnamespace";
    let rows = bounded(Doing::Reading, client.query(query, &[])).await?;
    let watch = |row: &tokio_postgres::Row| Watch {
        table: row.get(0),
        kind: row.get(1),
        site: row.get(2),
        paths: row.get(3),
        tags: row.get(4),
        columns: row.get(5),
        enabled: row.get(6),
    };
    Ok(rows.iter().map(watch).collect())
}

/// Opens a session and asks what a change of the rows that have these columns would do. Where no row of
/// the table has them, a row is made of them alone. `row` is a JSON object.
///
/// # Errors
///
/// As [`watches`]; besides where the table belongs to another role: its expressions run with the rights
/// of whoever asks, so they are for their owner to try.
pub async fn explain(
    target: &DatabaseTarget,
    table: &str,
    row: &serde_json::Value,
) -> Result<Vec<Explained>, LinkError> {
    let mut session = Session::open(target).await?;
    let explained = try_row(&mut session.client, table, row).await;
    session.close().await;
    explained
}

async fn try_row(
    client: &mut Client,
    table: &str,
    row: &serde_json::Value,
) -> Result<Vec<Explained>, LinkError> {
    require(client).await?;
    let asking = async {
        let transaction = client.build_transaction().read_only(true).start().await?;
        let query = "SELECT e.kind, e.site_id, e.paths, e.tags
            FROM emperor.explain_watches($1::text::regclass, $2::text::jsonb) e";
        let rows = transaction
            .query(query, &[&table, &row.to_string()])
            .await?;
        transaction.rollback().await?;
        Ok(rows)
    };
    let rows = bounded(Doing::Reading, asking).await?;
    let explained = |row: &tokio_postgres::Row| Explained {
        kind: row.get(0),
        site: row.get(1),
        paths: row.get(2),
        tags: row.get(3),
    };
    Ok(rows.iter().map(explained).collect())
}
