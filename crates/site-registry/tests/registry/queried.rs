//! Sites that a query yields.

use std::time::Duration;

use site_registry::{
    Desired, EditError, LinkError, QuerySource, RegistryOptions, RowSource, read_rows,
};
use tokio_postgres::Client;

use crate::support::{Database, Running, site, site_id};

/// What a panel keeps, and what uWSGI's emperor would ask of it.
const PANEL: &str = "
CREATE SCHEMA panel;
CREATE TABLE panel.vhosts (
    id int, fqdn text, ini text DEFAULT '[uwsgi]', owner text, changed timestamptz DEFAULT now()
);
INSERT INTO panel.vhosts VALUES (3, 'three.example'), (4, 'four.example');";
const EMPEROR_PG: &str = "
SELECT fqdn || '.ini', ini || E'\\nenv = SITE_ID=' || id || E'\\nworkers = 2',
    extract(epoch FROM changed), owner, NULL FROM panel.vhosts;";
const NAMED: &str = "SELECT id AS site_id, fqdn AS domain FROM panel.vhosts -- all of them";

async fn panel() -> (Database, Client) {
    let database = Database::empty().await;
    let client = database.client().await;
    client.batch_execute(PANEL).await.unwrap();
    (database, client)
}

fn source(query: &str) -> RowSource {
    RowSource::Query(QuerySource {
        query: query.to_owned(),
        channel: "vhosts \"changed\"".to_owned(),
    })
}

fn options(database: &Database, query: &str) -> RegistryOptions {
    RegistryOptions {
        source: source(query),
        ..database.options()
    }
}

fn domain(desired: &Desired, id: i64) -> Option<String> {
    Some(site(desired, id)?.domain.as_ref()?.to_string())
}

#[tokio::test]
async fn a_query_of_emperor_pg_is_taken_as_it_is() {
    let (database, _client) = panel().await;
    let running = Running::start(options(&database, EMPEROR_PG)).await;
    let three = running.site(3).unwrap();
    assert_eq!(three.slug.as_str(), "three-example");
    assert_eq!(three.template.as_ref().unwrap().as_str(), "uwsgi");
    assert_eq!(&*three.extra_uwsgi_ini, "[uwsgi]\nworkers = 2");
    assert_eq!(running.desired.borrow().rows.len(), 2);
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_notification_on_its_channel_has_the_query_read_at_once() {
    let (database, client) = panel().await;
    let mut running = Running::start(options(&database, NAMED)).await;
    let change = "UPDATE panel.vhosts SET fqdn = 'new.example' WHERE id = 3;
        NOTIFY \"vhosts \"\"changed\"\"\"";
    client.batch_execute(change).await.unwrap();
    let changed = |d: &Desired| domain(d, 3).as_deref() == Some("new.example");
    running.until("the change", changed).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn what_nobody_tells_is_found_at_the_next_poll() {
    let (database, client) = panel().await;
    let options = RegistryOptions {
        resync_interval: Duration::from_millis(50),
        ..options(&database, NAMED)
    };
    let mut running = Running::start(options).await;
    let change = "INSERT INTO panel.vhosts VALUES (5, 'five.example')";
    client.batch_execute(change).await.unwrap();
    let changed = |d: &Desired| domain(d, 5).as_deref() == Some("five.example");
    running.until("the change", changed).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_query_that_fails_stops_nobody_and_a_wrong_row_stands_alone() {
    let (database, client) = panel().await;
    let mut running = Running::start(options(&database, NAMED)).await;
    let wrong = "UPDATE panel.vhosts SET fqdn = 'no host' WHERE id = 3;
        INSERT INTO panel.vhosts VALUES (NULL, 'nobody.example')";
    client.batch_execute(wrong).await.unwrap();
    let handle = running.registry.handle();
    handle.resync().await.unwrap();
    assert!(running.site(3).is_none() && running.site(4).is_some());
    let gone = "ALTER TABLE panel.vhosts RENAME COLUMN fqdn TO host";
    client.batch_execute(gone).await.unwrap();
    let refused = handle.resync().await.unwrap_err();
    assert!(refused.to_string().contains("fqdn"), "{refused}");
    assert_eq!(running.desired.borrow().rows.len(), 2);
    // A reading that waits for this finds the column with what was in it before: it is told to look again.
    let back = "ALTER TABLE panel.vhosts RENAME COLUMN host TO fqdn;
        UPDATE panel.vhosts SET fqdn = 'back.example' WHERE id = 3;
        NOTIFY \"vhosts \"\"changed\"\"\"";
    client.batch_execute(back).await.unwrap();
    let found = |d: &Desired| domain(d, 3).as_deref() == Some("back.example");
    running.until("the column", found).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_query_reads_and_does_nothing_else() {
    let (database, _client) = panel().await;
    site_registry::migrate(&database.target(), &RowSource::Emperor)
        .await
        .unwrap();
    for (query, said) in [
        (
            "DELETE FROM panel.vhosts RETURNING id AS site_id",
            "syntax error",
        ),
        (
            "SELECT id AS site_id, fqdn AS domian FROM panel.vhosts",
            "\"domian\"",
        ),
        (
            "SELECT id AS site_id, nextval('emperor.sites_id_seq') AS slug FROM panel.vhosts",
            "read-only",
        ),
    ] {
        let refused = read_rows(&database.target(), &source(query))
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(said), "{query}: {refused}");
        assert!(!matches!(refused, LinkError::TimedOut { .. }));
    }
}

#[tokio::test]
async fn its_sites_are_reloaded_by_name_and_changed_elsewhere() {
    let (database, _client) = panel().await;
    let running = Running::start(options(&database, NAMED)).await;
    let handle = running.registry.handle();
    handle.request_reload(vec![site_id(3)]).await.unwrap();
    assert_eq!(running.site(3).unwrap().reloads, 1);
    let refused = handle.disable(site_id(3)).await;
    assert!(
        matches!(refused, Err(EditError::KeptElsewhere(_))),
        "{refused:?}"
    );
    running.registry.shutdown().await;
}
