//! What there is of Django's tables: each version of each package has other columns, and a
//! migration may take a table away and bring it back.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Error, GenericClient};

/// The tables of Django whose rows make a site, and the function that tells of their changes.
pub(super) const TABLES: [(&str, &str); 3] = [
    (SITE, "notify_sites"),
    (PLUS, "notify_site_ids"),
    (ALIAS, "notify_site_ids"),
];
/// Of `django.contrib.sites`.
pub(super) const SITE: &str = "django_site";
/// Of django-multisite-plus.
pub(super) const PLUS: &str = "django_multisite_plus_site";
/// Of django-multisite.
pub(super) const ALIAS: &str = "multisite_alias";
/// What a trigger is told of, by the end of the trigger's name.
pub(super) const EVENTS: [(&str, &str); 4] = [
    ("insert", "REFERENCING NEW TABLE AS after_rows"),
    (
        "update",
        "REFERENCING OLD TABLE AS before_rows NEW TABLE AS after_rows",
    ),
    ("delete", "REFERENCING OLD TABLE AS before_rows"),
    ("truncate", ""),
];

const LOOK: &str = "
SELECT c.relname::text,
    ARRAY(
        SELECT a.attname::text FROM pg_catalog.pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    ),
    ARRAY(
        SELECT t.tgname::text FROM pg_catalog.pg_trigger t
        JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
        JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
        WHERE t.tgrelid = c.oid AND t.tgenabled IN ('O', 'A') AND f.nspname = 'emperor'
            AND p.proname IN ('notify_sites', 'notify_site_ids')
    )
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY($2) AND c.relkind IN ('r', 'p')";

/// The tables that exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape(BTreeMap<String, Table>);

/// One table that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Table {
    columns: BTreeSet<String>,
    triggers: BTreeSet<String>,
}

impl Shape {
    /// Looks what exists now.
    pub(super) async fn look(client: &impl GenericClient, schema: &str) -> Result<Self, Error> {
        let names: Vec<_> = TABLES.iter().map(|(table, _)| *table).collect();
        let found = client.query(LOOK, &[&schema, &names]).await?;
        let table = |row: &tokio_postgres::Row| {
            let (columns, triggers): (Vec<String>, Vec<String>) = (row.get(1), row.get(2));
            let table = Table {
                columns: columns.into_iter().collect(),
                triggers: triggers.into_iter().collect(),
            };
            (row.get(0), table)
        };
        Ok(Self(found.iter().map(table).collect()))
    }

    /// Whether a table exists and has a column.
    pub(super) fn has_column(&self, table: &str, column: &str) -> bool {
        let found = self.0.get(table);
        found.is_some_and(|table| table.columns.contains(column))
    }

    /// The events of a table that exists, that nobody is told of.
    pub(super) fn missing_events(
        &self,
        table: &str,
    ) -> impl Iterator<Item = (&'static str, &'static str)> {
        let triggers = self.0.get(table).map(|table| &table.triggers);
        EVENTS.into_iter().filter(move |(event, _)| {
            triggers.is_some_and(|triggers| !triggers.contains(&trigger(event)))
        })
    }

    /// The tables whose changes, or some of them, nobody is told of.
    pub(super) fn silent(&self) -> Vec<String> {
        let tables = self.0.keys();
        let silent = tables.filter(|table| self.missing_events(table).next().is_some());
        silent.cloned().collect()
    }

    #[cfg(test)]
    pub(super) fn of(tables: &[(&str, &[&str])]) -> Self {
        let table = |(name, columns): &(&str, &[&str])| {
            let columns = columns.iter().map(ToString::to_string).collect();
            let triggers = BTreeSet::new();
            ((*name).to_owned(), Table { columns, triggers })
        };
        Self(tables.iter().map(table).collect())
    }
}

/// The name of the trigger for an event.
pub(super) fn trigger(event: &str) -> String {
    format!("emperor_notify_{event}")
}
