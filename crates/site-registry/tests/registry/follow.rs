//! Desired state follows the rows, and what goes the other way arrives.

use site_model::{
    Alias, AliasKind, Incarnation, InstanceNumber, InstanceState, InstanceStatus, RejectionReason,
    Revision, SiteState, SiteStatus,
};
use site_registry::{EditError, Row, Source};

use crate::support::{Database, Running, insert_a, site, site_id, until_true};

#[tokio::test]
async fn a_committed_row_arrives_and_a_rolled_back_one_does_not() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    let insert = "BEGIN; INSERT INTO emperor.sites (id, slug) VALUES (1, 'no'); ROLLBACK;
        BEGIN; INSERT INTO emperor.sites (id, slug, domain) VALUES (2, 'yes', 'yes.example');
        INSERT INTO emperor.domains VALUES ('*.old.example', 2, 'redirect'); COMMIT";
    client.batch_execute(insert).await.unwrap();
    running
        .until("the row", |desired| site(desired, 2).is_some())
        .await;
    assert_eq!(running.desired.borrow().rows.len(), 1);
    let found = running.site(2).unwrap();
    assert_eq!(found.domain.as_ref().unwrap().as_str(), "yes.example");
    let alias = Alias {
        pattern: "*.old.example".parse().unwrap(),
        kind: AliasKind::Redirect,
    };
    assert_eq!(*found.aliases, [alias]);
    client
        .batch_execute("DELETE FROM emperor.sites")
        .await
        .unwrap();
    running
        .until("the removal", |desired| desired.rows.is_empty())
        .await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn every_one_of_many_edits_in_a_row_is_honoured() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    insert_a(&client).await;
    for round in 0..200 {
        // Two edits in one transaction have one and the same now(), and so would any timestamp.
        let edit = format!(
            "BEGIN; UPDATE emperor.sites SET extra_config = 'first {round}';
             UPDATE emperor.sites SET extra_config = 'second {round}'; COMMIT"
        );
        client.batch_execute(&edit).await.unwrap();
    }
    let last = "second 199";
    let arrived = |desired: &_| site(desired, 1).is_some_and(|site| *site.extra_config == *last);
    running.until("the last edit", arrived).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_bulk_statement_arrives_whole() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    let insert = "INSERT INTO emperor.sites (slug) SELECT 's' || n FROM generate_series(1, 5000) n";
    client.batch_execute(insert).await.unwrap();
    running.until_rows(5_000).await;
    let update = "UPDATE emperor.sites SET template = 'demo' WHERE id % 2 = 0";
    client.batch_execute(update).await.unwrap();
    let changed = |row: &Row| matches!(row, Row::Site(site) if site.template.is_some());
    running
        .until("the updates", |d| {
            d.rows.values().filter(|row| changed(row)).count() == 2_500
        })
        .await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_bad_row_is_rejected_beside_the_good_ones_until_it_is_corrected() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    let insert = "INSERT INTO emperor.sites (id, slug, template, run_as) VALUES
        (1, 'good', 'demo', ''), (2, 'bad', '../x', ''), (3, 'worse', '', 'a b')";
    client.batch_execute(insert).await.unwrap();
    running.until_rows(3).await;
    assert!(running.site(1).is_some());
    for (id, expected) in [(2, "template"), (3, "run_as")] {
        let row = running.desired.borrow().rows.get(&site_id(id)).cloned();
        let Some(Row::Rejected(rejected)) = row else {
            panic!("{row:?}");
        };
        assert!(
            matches!(&rejected.reason, RejectionReason::Column { column, .. } if *column == expected),
            "{rejected:?}"
        );
    }
    client
        .batch_execute("UPDATE emperor.sites SET template = 'x' WHERE id = 2")
        .await
        .unwrap();
    running
        .until("the corrected row", |desired| site(desired, 2).is_some())
        .await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_reload_is_seen_as_a_moved_count() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    let insert = "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a'), (2, 'b')";
    client.batch_execute(insert).await.unwrap();
    running.until_rows(2).await;
    let handle = running.registry.handle();
    client
        .batch_execute("SELECT emperor.reload(1)")
        .await
        .unwrap();
    let counts = |d: &_, a, b| {
        site(d, 1).is_some_and(|s| s.reloads == a) && site(d, 2).is_some_and(|s| s.reloads == b)
    };
    running
        .until("one reload", |desired| counts(desired, 1, 0))
        .await;
    handle.request_reload_all().await.unwrap();
    running
        .until("both reloads", |desired| counts(desired, 2, 1))
        .await;
    handle.request_reload(vec![site_id(2)]).await.unwrap();
    assert_eq!(running.site(2).unwrap().reloads, 2);
    let error = handle.request_reload(vec![site_id(9)]).await.unwrap_err();
    assert_eq!(error, EditError::NoSuchSite(site_id(9)));
    running.registry.shutdown().await;
}

fn status(id: i64, state: SiteState) -> SiteStatus {
    SiteStatus {
        id: site_id(id),
        state,
        detail: "last words: \0".into(),
        hosts: vec!["a.example".parse().unwrap(), "*.a.example".parse().unwrap()],
        revision: Some(Revision::from_bytes([7; 16])),
        wanted: Some(Revision::from_bytes([7; 16])),
        restarts: 0,
        instances: vec![InstanceStatus {
            number: InstanceNumber::new(1),
            incarnation: Incarnation::new(42),
            revision: Revision::from_bytes([7; 16]),
            state: InstanceState::Ready,
            pid: Some(4711),
            socket: "/run/x".into(),
            started_at: Some(std::time::UNIX_EPOCH),
        }],
    }
}

#[tokio::test]
async fn statuses_are_written_as_rows_and_forgotten_ones_deleted() {
    let database = Database::new().await;
    let client = database.client().await;
    let stale = "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a');
        INSERT INTO emperor.site_status (site_id, node, state) VALUES
        (1, 'node1', 'ready'), (8, 'node1', 'ready'), (8, 'node2', 'ready')";
    client.batch_execute(stale).await.unwrap();
    let running = database.registry().await;
    let handle = running.registry.handle();
    handle.report(status(1, SiteState::Starting));
    handle.report(status(1, SiteState::Ready));
    handle.report(status(2, SiteState::Failed));
    let written = "SELECT count(*) = 2 FROM emperor.site_status WHERE node = 'node1'
        AND hosts = ARRAY['a.example', '*.a.example'] AND revision = repeat('07', 16)
        AND detail = U&'last words: \\FFFD'
        AND instances = '[{\"number\": 1, \"incarnation\": 42, \"state\": \"ready\", \"pid\": 4711,
            \"revision\": \"07070707070707070707070707070707\", \"socket\": \"/run/x\",
            \"started_at\": \"1970-01-01T00:00:00Z\"}]'
        AND (site_id, state) IN ((1, 'ready'), (2, 'failed'))";
    until_true(&client, written).await;
    handle.forget(site_id(2));
    let others = "SELECT array_agg(site_id || node ORDER BY site_id) = ARRAY['1node1', '8node2']
        FROM emperor.site_status";
    until_true(&client, others).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn what_is_on_the_board_at_the_end_is_written() {
    let database = Database::new().await;
    let running = database.registry().await;
    let handle = running.registry.handle();
    handle.report(status(1, SiteState::Stopping));
    running.registry.shutdown().await;
    let client = database.client().await;
    let question = "SELECT state FROM emperor.site_status WHERE site_id = 1";
    let row = client.query_one(question, &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "stopping");
}

#[tokio::test]
async fn an_idle_registry_asks_nothing() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    insert_a(&client).await;
    running.until_rows(1).await;
    let sessions =
        "SELECT array_agg(pid::text || state || query_start || state_change ORDER BY pid)
        FROM pg_stat_activity WHERE application_name = 'emperor node1'
        AND datname = current_database()";
    let settled = "SELECT count(*) = 2 AND bool_and(state = 'idle') FROM pg_stat_activity
        WHERE application_name = 'emperor node1' AND datname = current_database()";
    until_true(&client, settled).await;
    let sessions_now =
        async || -> Vec<String> { client.query_one(sessions, &[]).await.unwrap().get(0) };
    let before = sessions_now().await;
    // Whatever would be due within four minutes is due now; the answers of a server still take
    // their time, so each tick of the registry's clock goes by while this session is served.
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_mins(4)).await;
    tokio::time::resume();
    for _ in 0..20 {
        client.batch_execute("SELECT pg_sleep(0.01)").await.unwrap();
    }
    assert_eq!(sessions_now().await, before);
    assert_eq!(before.len(), 2);
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_resync_finds_what_nobody_was_told_of() {
    let database = Database::new().await;
    let running = database.registry().await;
    let client = database.client().await;
    let silent = "BEGIN; SET LOCAL session_replication_role = replica;
        INSERT INTO emperor.sites (id, slug) VALUES (1, 'a'); COMMIT";
    client.batch_execute(silent).await.unwrap();
    running.registry.handle().resync().await.unwrap();
    assert!(running.site(1).is_some());
    let source = running.desired.borrow().source;
    assert!(matches!(source, Source::Database { .. }));
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_resync_comes_by_itself_after_its_interval() {
    let database = Database::new().await;
    let mut options = database.options();
    options.resync_interval = std::time::Duration::from_millis(200);
    let mut running = Running::start(options).await;
    let client = database.client().await;
    let silent = "BEGIN; SET LOCAL session_replication_role = replica;
        INSERT INTO emperor.sites (id, slug) VALUES (1, 'a'); COMMIT";
    client.batch_execute(silent).await.unwrap();
    running.until_rows(1).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn rows_are_read_once_without_a_registry_and_nothing_is_written() {
    let database = Database::empty().await;
    let missing =
        site_registry::read_rows(&database.target(), &site_registry::RowSource::Emperor).await;
    assert_eq!(missing.unwrap_err(), site_registry::LinkError::NoSchema);
    site_registry::migrate(&database.target(), &site_registry::RowSource::Emperor)
        .await
        .unwrap();
    let client = database.client().await;
    let insert = "INSERT INTO emperor.sites (slug, template) VALUES ('a', ''), ('b', '../x')";
    client.batch_execute(insert).await.unwrap();
    let rows = site_registry::read_rows(&database.target(), &site_registry::RowSource::Emperor)
        .await
        .unwrap();
    let slugs: Vec<_> = rows.rows.values().map(Row::slug).collect();
    assert_eq!(slugs, ["a", "b"]);
}
