//! The triggers that notify of changes in Django's tables.
//!
//! They are of the statement and run with the rights of the schema's owner, so whoever writes to
//! Django's tables needs none here. A migration that makes a table anew loses them; that is noticed
//! at the next reading, and a change is found by a full reading meanwhile.

use tokio_postgres::{Client, Error, Transaction};

use super::DjangoTables;
use super::query::table;
use super::shape::{Shape, TABLES, trigger};
use crate::link::{Doing, LinkError, bounded};

/// A table that Django holds for long is asked for again another time.
const SETTINGS: &str = "SET LOCAL lock_timeout = '2s'";
/// The schema's own lock, so that two emperors don't put up the same trigger.
const LOCK: i64 = 0x656d_7065_726f_7233;
const REMEMBER: &str = "
INSERT INTO emperor.django_source AS d (schema_name) VALUES ($1)
ON CONFLICT (is_the_one) DO UPDATE SET schema_name = excluded.schema_name
WHERE d.schema_name <> excluded.schema_name";

/// Puts up what is missing of the triggers, and says in the database where Django's tables are.
/// Returns the tables that have triggers now and lacked some.
pub(crate) async fn put_up(
    client: &mut Client,
    tables: &DjangoTables,
) -> Result<Vec<String>, LinkError> {
    bounded(Doing::Migrating, put_up_all(client, tables)).await
}

/// The same at the start of a daemon, which goes on without: changes are then found by readings.
pub(crate) async fn follow(client: &mut Client, tables: &DjangoTables) -> Result<(), LinkError> {
    match put_up(client, tables).await {
        Ok(_) => Ok(()),
        Err(error @ (LinkError::Rights { .. } | LinkError::Statement { .. })) => {
            tracing::warn!(
                %error,
                "Django's tables get no triggers; give this role TRIGGER on them, or run \
                 `emperor db migrate` with a role that owns them"
            );
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn put_up_all(client: &mut Client, tables: &DjangoTables) -> Result<Vec<String>, Error> {
    let transaction = client.transaction().await?;
    transaction.batch_execute(SETTINGS).await?;
    let lock = "SELECT pg_advisory_xact_lock($1)";
    transaction.execute(lock, &[&LOCK]).await?;
    transaction.execute(REMEMBER, &[&tables.schema]).await?;
    let shape = Shape::look(&transaction, &tables.schema).await?;
    let silent = shape.silent();
    for (name, function) in TABLES {
        let table = table(&tables.schema, name);
        for (event, rows) in shape.missing_events(name) {
            create(&transaction, &table, (event, rows), function).await?;
            tracing::info!(table, event, "a trigger notifies of changes");
        }
    }
    transaction.commit().await?;
    Ok(silent)
}

/// One that is there under this name is disabled or calls something else: it makes way.
async fn create(
    transaction: &Transaction<'_>,
    table: &str,
    (event, rows): (&str, &str),
    function: &str,
) -> Result<(), Error> {
    let name = trigger(event);
    let statement = format!(
        "DROP TRIGGER IF EXISTS {name} ON {table};
         CREATE TRIGGER {name} AFTER {event} ON {table} {rows}
         FOR EACH STATEMENT EXECUTE FUNCTION emperor.{function}()"
    );
    transaction.batch_execute(&statement).await
}
