//! The guard against mass removal, and the snapshot on disk.

use site_registry::{DatabaseTarget, Desired, Source};

use crate::support::{Database, Running, options};

const HUNDRED: &str =
    "INSERT INTO emperor.sites (id, slug) SELECT n, 's' || n FROM generate_series(1, 100) n";

fn is_held(desired: &Desired, count: usize) -> bool {
    let held = desired.held_removals.as_ref();
    desired.rows.len() == 100 && held.is_some_and(|held| held.ids.len() == count)
}

async fn hundred() -> (Database, Running, tokio_postgres::Client) {
    let database = Database::new().await;
    let client = database.client().await;
    client.batch_execute(HUNDRED).await.unwrap();
    let running = database.registry().await;
    (database, running, client)
}

#[tokio::test]
async fn a_mass_removal_is_held_however_it_is_done() {
    for statement in [
        "DELETE FROM emperor.sites WHERE id > 40",
        "TRUNCATE emperor.sites CASCADE; INSERT INTO emperor.sites (id, slug) \
         SELECT n, 's' || n FROM generate_series(1, 40) n",
        // Sixty statements, sixty notifications, one commit.
        "BEGIN; DO $$BEGIN FOR n IN 41..100 LOOP DELETE FROM emperor.sites WHERE id = n; \
         END LOOP; END$$; COMMIT",
    ] {
        let (_database, mut running, client) = hundred().await;
        client.batch_execute(statement).await.unwrap();
        running
            .until(statement, |desired| is_held(desired, 60))
            .await;
        let confirmed = running.registry.handle().confirm_removals().await.unwrap();
        assert_eq!(confirmed.len(), 60);
        let desired = running.desired.borrow().clone();
        assert_eq!((desired.rows.len(), &desired.held_removals), (40, &None));
        running.registry.shutdown().await;
    }
}

#[tokio::test]
async fn a_hold_ends_when_the_rows_come_back() {
    let (_database, mut running, client) = hundred().await;
    client
        .batch_execute("DELETE FROM emperor.sites")
        .await
        .unwrap();
    running
        .until("the hold", |desired| is_held(desired, 100))
        .await;
    client.batch_execute(HUNDRED).await.unwrap();
    running
        .until("the rows back", |d| {
            d.rows.len() == 100 && d.held_removals.is_none()
        })
        .await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_site_removed_by_its_operator_goes_even_while_others_are_held() {
    let (_database, mut running, client) = hundred().await;
    client
        .batch_execute("DELETE FROM emperor.sites WHERE id > 20")
        .await
        .unwrap();
    running
        .until("the hold", |desired| is_held(desired, 80))
        .await;
    let handle = running.registry.handle();
    handle
        .remove_site(crate::support::site_id(1))
        .await
        .unwrap();
    let desired = running.desired.borrow().clone();
    assert_eq!(
        (
            desired.rows.len(),
            desired.held_removals.as_ref().unwrap().ids.len()
        ),
        (99, 80)
    );
    running.registry.shutdown().await;
}

#[tokio::test]
async fn rows_that_vanished_while_the_daemon_was_away_are_held_too() {
    let (database, running, client) = hundred().await;
    running.registry.shutdown().await;
    client
        .batch_execute("DELETE FROM emperor.sites")
        .await
        .unwrap();
    let mut options = database.options();
    options.target = unreachable_target();
    let mut running = Running::start_unread(options);
    running.until_rows(100).await;
    let source = running.desired.borrow().source;
    assert!(matches!(source, Source::Snapshot { .. }), "{source:?}");
    running.registry.shutdown().await;
}

fn unreachable_target() -> DatabaseTarget {
    DatabaseTarget::parse("postgresql://emperor@%2Fnowhere/sites").unwrap()
}

#[tokio::test]
async fn an_unreachable_database_without_a_snapshot_means_nothing_at_all() {
    let dir = crate::support::open_folder();
    let path = dir.path().join("snapshot.json");
    for content in [None, Some("{ broken")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let running = Running::start_unread(options(unreachable_target(), &path));
        let mut connection = running.registry.handle().connection();
        let lost = connection.wait_for(|status| status.state.as_str() == "lost");
        crate::support::soon("the failed attempt", lost)
            .await
            .unwrap();
        assert_eq!(**running.desired.borrow(), Desired::nothing());
        assert!(!running.desired.borrow().is_known());
        running.registry.shutdown().await;
    }
}
