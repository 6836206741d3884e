//! Sites that any query yields: `database.source = "query"`.
//!
//! The query is the operator's, so it is run as it is written: with the search path of its role, in a
//! transaction that can't write. Its columns are understood by their names, or, where none of them is
//! a name of ours, by their places, as uWSGI's `emperor_pg` does. Nobody tells of changes but who
//! notifies the channel of the configuration; else they are found at the next poll.

mod row;

use std::collections::HashMap;
use std::sync::Arc;

use imbl::OrdMap;
use site_model::{RejectedSite, RejectionReason, SiteId};
use tokio_postgres::{Client, IsolationLevel, Transaction};

use self::row::{PLACES, QueriedRow, UNDERSTOOD};
use crate::desired::Row;
use crate::edit::{Edit, EditError};
use crate::link::{Doing, LinkError};

/// Names may be of the role's own schemas; a query that never ends is ended by the server too.
const SETTINGS: &str = "SET LOCAL search_path TO DEFAULT; SET LOCAL statement_timeout = '30s'";

/// A query whose rows are sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySource {
    /// One statement that yields rows.
    pub query: String,
    /// The channel on which somebody tells that they changed; empty: nobody does.
    pub channel: String,
}

impl QuerySource {
    /// The statement that subscribes to the channel, if there is one.
    pub(crate) fn listen(&self) -> Option<String> {
        let channel = self.channel.replace('"', "\"\"");
        (!channel.is_empty()).then(|| format!("LISTEN \"{channel}\""))
    }

    /// The statement without the semicolon that it may end with.
    fn statement(&self) -> &str {
        self.query.trim().trim_end_matches(';')
    }
}

/// Refuses what only the keeper of the rows can change.
pub(crate) fn check(edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::Add(_) | Edit::Set(..) | Edit::Remove(_) => {
            Err(EditError::KeptElsewhere("change them where they are kept"))
        }
        // No list of them stands in the database.
        Edit::ReloadAll => Err(EditError::KeptElsewhere("reload them by name")),
        Edit::Reload(_) => Ok(()),
    }
}

/// Counts up the reloads of some sites.
pub(crate) async fn reload(
    transaction: &Transaction<'_>,
    ids: &[SiteId],
) -> Result<(), tokio_postgres::Error> {
    const COUNT: &str = "
        INSERT INTO emperor.reloads AS r (site_id, count)
        SELECT DISTINCT id, 1 FROM unnest($1::bigint[]) id ORDER BY id
        ON CONFLICT ON CONSTRAINT reloads_pkey DO UPDATE SET count = r.count + 1";
    let ids: Vec<i64> = ids.iter().map(|id| id.get()).collect();
    transaction.execute(COUNT, &[&ids]).await.map(drop)
}

/// Reads every row in one snapshot.
pub(crate) async fn read(
    client: &mut Client,
    source: &QuerySource,
) -> Result<OrdMap<SiteId, Row>, LinkError> {
    let failed = |error| LinkError::from_postgres(&error, Doing::Querying);
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true);
    let snapshot = snapshot.start().await.map_err(failed)?;
    snapshot.batch_execute(SETTINGS).await.map_err(failed)?;
    let names = columns(&snapshot, source).await?;
    let query = format!(
        "SELECT pg_catalog.to_jsonb(q)::pg_catalog.text FROM (\n{}\n) AS q ({})",
        source.statement(),
        names.join(", ")
    );
    let texts = snapshot.query(&query, &[]).await.map_err(failed)?;
    let counts = "SELECT site_id, count FROM emperor.reloads";
    let counts = snapshot.query(counts, &[]).await.map_err(failed)?;
    snapshot.commit().await.map_err(failed)?;
    let reloads: HashMap<i64, i64> = counts.iter().map(|row| (row.get(0), row.get(1))).collect();
    Ok(parsed(texts.iter().map(|row| row.get(0)), &reloads))
}

/// The names of the query's columns as they are understood.
async fn columns(
    snapshot: &Transaction<'_>,
    source: &QuerySource,
) -> Result<Vec<&'static str>, LinkError> {
    let statement = snapshot.prepare(source.statement()).await;
    let statement = statement.map_err(|error| LinkError::from_postgres(&error, Doing::Querying))?;
    let names = statement.columns().iter().map(tokio_postgres::Column::name);
    understood(&names.collect::<Vec<_>>()).map_err(|message| LinkError::Statement {
        doing: Doing::Querying,
        message,
    })
}

fn understood(names: &[&str]) -> Result<Vec<&'static str>, String> {
    let known = |name: &&str| UNDERSTOOD.iter().copied().find(|known| known == name);
    let is_ours = |name: &&str| known(name).is_some_and(|name| !PLACES.contains(&name));
    if !names.iter().any(is_ours) && (3..=PLACES.len()).contains(&names.len()) {
        return Ok(PLACES[..names.len()].to_vec());
    }
    let found = names.iter().map(|name| {
        known(name).ok_or_else(|| {
            format!(
                "column {name:?} of database.query is not understood; these are: {}",
                UNDERSTOOD.join(", ")
            )
        })
    });
    found.collect()
}

/// Parses the rows. Of two that have one slug the first keeps it, of two that have one id neither
/// can be run: nothing tells which is meant.
fn parsed(texts: impl Iterator<Item = String>, reloads: &HashMap<i64, i64>) -> OrdMap<SiteId, Row> {
    let mut slugs = HashMap::new();
    let mut rows = OrdMap::new();
    for text in texts {
        let (id, row) = match QueriedRow::read(&text) {
            Ok((id, row)) => (
                id,
                row.parse(id, reloads.get(&id.get()).copied().unwrap_or(0)),
            ),
            Err(error) => {
                tracing::error!(%error, "a row of database.query is left out");
                continue;
            }
        };
        let owner = *slugs.entry(row.slug().to_owned()).or_insert(id);
        let row = if rows.contains_key(&id) {
            rejected(&row, "site_id", format!("two rows have the site_id {id}"))
        } else if owner != id {
            rejected(
                &row,
                "slug",
                format!("site {owner} has the slug {:?} already", row.slug()),
            )
        } else {
            row
        };
        rows.insert(id, row);
    }
    rows
}

/// What was rejected already stays so for its own reason.
fn rejected(row: &Row, column: &'static str, detail: String) -> Row {
    match row {
        Row::Rejected(_) => row.clone(),
        Row::Site(site) => Row::Rejected(Arc::new(RejectedSite {
            id: site.id,
            slug: site.slug.to_string(),
            reason: RejectionReason::Column { column, detail },
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_by_their_names_or_by_their_places() {
        let check = |names: &[&str], expected: Option<&[&str]>| {
            assert_eq!(understood(names).ok().as_deref(), expected, "{names:?}");
        };
        check(&["site_id", "domain"], Some(&["site_id", "domain"]));
        check(
            &["?column?", "config", "extract"],
            Some(&["name", "config", "ts"]),
        );
        check(
            &["name", "config", "ts", "uid", "gid", "socket"],
            Some(&["name", "config", "ts", "uid", "gid", "socket"]),
        );
        check(
            &["site_id", "name", "config", "ts"],
            Some(&["site_id", "name", "config", "ts"]),
        );
        check(&["site_id", "domian"], None);
        check(&["name", "config"], Some(&["name", "config"]));
        check(&["x"], None);
    }

    #[test]
    fn two_rows_with_one_id_or_one_slug_are_not_guessed_at() {
        let texts = [
            r#"{"site_id": 1, "slug": "a"}"#,
            r#"{"site_id": 2, "slug": "a"}"#,
            r#"{"site_id": 3, "slug": "c"}"#,
            r#"{"site_id": 3, "slug": "d"}"#,
            r#"{"slug": "nobody"}"#,
        ];
        let rows = parsed(texts.into_iter().map(str::to_owned), &HashMap::new());
        let runs = |row: &Row| matches!(row, Row::Site(_));
        let verdicts: Vec<_> = rows.iter().map(|(id, row)| (id.get(), runs(row))).collect();
        assert_eq!(verdicts, [(1, true), (2, false), (3, false)]);
    }
}
