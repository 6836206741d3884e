//! Sites that Django keeps: `database.source = "django"`.
//!
//! `django_site` alone is enough; `django_multisite_plus_site` and `multisite_alias` are joined in
//! where they exist, and `emperor.django_sites` has what none of them has a column for. Django's
//! tables are read and, but for `emperor db rewrite-domains`, never written: all that is added to them
//! are triggers that notify.
//!
//! | module | what it is |
//! |---|---|
//! | `shape` | which of the tables, columns and triggers exist |
//! | `query` | the statement that reads what exists |
//! | `row` | one row of it as a row of the registry |
//! | `triggers` | the notifications, put up and put back |
//! | `edit` | what an operator may change through the emperor |
//!
//! Nothing here is a view, since a view would keep Django's migrations from changing a column. What
//! exists is looked up again at each reading, in the reading's own snapshot.

mod edit;
mod query;
mod row;
mod shape;
mod triggers;

use std::collections::HashMap;
use std::sync::Arc;

use imbl::OrdMap;
use site_model::{RejectedSite, RejectionReason, SiteId};
use tokio_postgres::{Client, IsolationLevel, Transaction};

pub(crate) use edit::{check, configure, set};
pub(crate) use triggers::{follow, put_up};

use self::row::DjangoRow;
use self::shape::Shape;
use crate::desired::{NamedRow, Row};
use crate::link::{Doing, LinkError};

/// Where Django's tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DjangoTables {
    /// Their schema.
    pub schema: String,
}

/// Every row, and the tables whose changes nobody is told of.
#[derive(Debug)]
pub(crate) struct DjangoReading {
    pub(crate) rows: OrdMap<SiteId, Row>,
    pub(crate) silent: Vec<String>,
}

/// Reads every row in one snapshot.
pub(crate) async fn read(
    client: &mut Client,
    tables: &DjangoTables,
) -> Result<DjangoReading, LinkError> {
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true);
    let snapshot = snapshot.start().await.map_err(|error| failed(&error))?;
    let (shape, rows) = read_in(&snapshot, tables).await?;
    snapshot.commit().await.map_err(|error| failed(&error))?;
    Ok(DjangoReading {
        rows: parsed(rows),
        silent: shape.silent(),
    })
}

/// Every row with its `django_site.domain`, as they are in a transaction.
pub(crate) async fn named_rows(
    transaction: &Transaction<'_>,
    tables: &DjangoTables,
) -> Result<Vec<NamedRow>, LinkError> {
    let (_, rows) = read_in(transaction, tables).await?;
    let domains: HashMap<_, _> = rows
        .iter()
        .map(|row| (row.id, (row.name.clone(), row.makes_slug())))
        .collect();
    let named = |row: Row| {
        let (domain, makes_slug) = domains.get(&row.id().get()).cloned()?;
        Some(NamedRow {
            row,
            domain,
            makes_slug,
        })
    };
    let parsed = parsed(rows).into_iter();
    Ok(parsed.filter_map(|(_, row)| named(row)).collect())
}

/// `django_site`, with its schema.
pub(crate) fn site_table(tables: &DjangoTables) -> String {
    query::table(&tables.schema, shape::SITE)
}

async fn read_in(
    transaction: &Transaction<'_>,
    tables: &DjangoTables,
) -> Result<(Shape, Vec<DjangoRow>), LinkError> {
    let shape = Shape::look(transaction, &tables.schema)
        .await
        .map_err(|error| failed(&error))?;
    let Some(query) = query::text(&tables.schema, &shape) else {
        return Err(LinkError::NoDjango(tables.schema.clone()));
    };
    let rows = transaction
        .query(&query, &[])
        .await
        .map_err(|error| failed(&error))?;
    let rows = rows.iter().map(DjangoRow::from_database);
    let rows = rows
        .collect::<Result<_, _>>()
        .map_err(|error| failed(&error))?;
    Ok((shape, rows))
}

fn failed(error: &tokio_postgres::Error) -> LinkError {
    LinkError::from_postgres(error, Doing::Reading)
}

/// Parses the rows, of which two may have made one slug of their domains: the lower id keeps it.
fn parsed(rows: Vec<DjangoRow>) -> OrdMap<SiteId, Row> {
    let mut owners = HashMap::new();
    let mut parsed = OrdMap::new();
    for row in rows {
        let (origin, id) = (row.slug_column(), row.id);
        let Ok(id) = SiteId::new(id) else {
            tracing::error!(
                id,
                "a row of django_site has no usable id: it has to be positive"
            );
            continue;
        };
        let row = row.parse(id);
        let owner = *owners.entry(row.slug().to_owned()).or_insert(id);
        let row = match row {
            Row::Site(site) if owner != id => {
                Row::Rejected(Arc::new(taken(&site.slug.to_string(), id, owner, origin)))
            }
            row => row,
        };
        parsed.insert(id, row);
    }
    parsed
}

fn taken(slug: &str, id: SiteId, owner: SiteId, column: &'static str) -> RejectedSite {
    RejectedSite {
        id,
        slug: slug.to_owned(),
        reason: RejectionReason::Column {
            column,
            detail: format!(
                "its slug would be {slug:?}, which site {owner} has; give one of the two another \
                 in emperor.django_sites.slug"
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::row::tests::row;
    use super::*;

    #[test]
    fn the_lower_id_keeps_a_slug_that_two_domains_make() {
        let rows = vec![
            row(3, "a-b.example"),
            row(8, "a.b.example"),
            row(9, "c.example"),
        ];
        let parsed = parsed(rows);
        let verdicts: Vec<_> = parsed
            .values()
            .map(|row| (row.id().get(), row.slug(), matches!(row, Row::Site(_))))
            .collect();
        assert_eq!(
            verdicts,
            [
                (3, "a-b-example", true),
                (8, "a-b-example", false),
                (9, "c-example", true)
            ]
        );
    }

    #[test]
    fn a_row_without_a_usable_id_is_left_out() {
        assert!(parsed(vec![row(0, "a.example")]).is_empty());
    }
}
