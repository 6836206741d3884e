//! Reloads asked for in SQL: by name, and by the rows of a watched table.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Database, Running, check_payloads, refused, scalar, site, soon};

/// A database with sites 1 to 5, and a table whose rows belong to sites.
async fn house_with_posts() -> (Database, Client) {
    let database = Database::new().await;
    let client = database.client().await;
    let prepare = "
        INSERT INTO emperor.sites (id, slug) SELECT n, 's' || n FROM generate_series(1, 5) n;
        CREATE TABLE public.post (
            id int PRIMARY KEY, site_id int, title text NOT NULL, layout json, hits int DEFAULT 0
        );";
    client.batch_execute(prepare).await.unwrap();
    (database, client)
}

#[tokio::test]
async fn a_transaction_is_one_notification_and_one_reload_of_each_site() {
    let (database, client) = house_with_posts().await;
    for (statement, expected) in [
        ("SELECT emperor.reload(2)", &["2"][..]),
        (
            "SELECT emperor.reload(id) FROM emperor.sites",
            &["1,2,3,4,5"],
        ),
        (
            "BEGIN; SELECT emperor.reload(1); SELECT emperor.reload(3);
             SELECT emperor.reload(1); COMMIT",
            &["1,3"],
        ),
        ("SELECT emperor.reload(NULL)", &["1,2,3,4,5"]),
        ("BEGIN; SELECT emperor.reload(1); ROLLBACK", &[]),
        (
            "BEGIN; SELECT emperor.reload(1); SAVEPOINT a; SELECT emperor.reload(2);
             ROLLBACK TO a; COMMIT",
            &["1"],
        ),
        (
            "BEGIN; SELECT emperor.reload(4); DELETE FROM emperor.sites WHERE id = 4; COMMIT",
            &["4"],
        ),
    ] {
        check_payloads(&database, statement, expected).await;
    }
    let counts = "SELECT string_agg(site_id || ':' || count, ' ' ORDER BY site_id)
        FROM emperor.reloads";
    assert_eq!(scalar::<String>(&client, counts).await, "1:4 2:3 3:3 5:2");
    let left = "SELECT count(*) FROM emperor.reload_requests";
    assert_eq!(scalar::<i64>(&client, left).await, 0);
}

#[tokio::test]
async fn a_reload_of_a_site_that_is_not_there_is_an_error() {
    let database = Database::new().await;
    let client = database.client().await;
    let unknown = "SELECT emperor.reload(7)";
    let code = refused(&client, unknown, "there is no site with id 7").await;
    assert_eq!(code, SqlState::NO_DATA_FOUND);
    client
        .batch_execute("SELECT emperor.reload(NULL)")
        .await
        .unwrap();
}

#[tokio::test]
async fn transactions_that_reload_the_same_sites_crosswise_do_not_wait_for_each_other() {
    let (database, first) = house_with_posts().await;
    let second = database.client().await;
    for (client, site) in [(&first, 1), (&second, 2), (&first, 2), (&second, 1)] {
        let ask = format!("BEGIN; SELECT emperor.reload({site})");
        soon("the call", client.batch_execute(&ask)).await.unwrap();
    }
    for client in [&first, &second] {
        soon("the commit", client.batch_execute("COMMIT"))
            .await
            .unwrap();
    }
    let counted = "SELECT array_agg(count ORDER BY site_id) FROM emperor.reloads";
    assert_eq!(scalar::<Vec<i64>>(&first, counted).await, [2, 2]);
}

#[tokio::test]
async fn a_reload_asked_for_while_no_emperor_runs_is_found_at_the_next_reading() {
    let (database, client) = house_with_posts().await;
    let running = database.registry().await;
    let before = running.site(1).unwrap().reloads;
    running.registry.shutdown().await;
    client
        .batch_execute("SELECT emperor.reload(1)")
        .await
        .unwrap();
    let mut running = Running::start_unread(database.options());
    let moved = |desired: &_| site(desired, 1).is_some_and(|site| site.reloads == before + 1);
    running.until("the reload", moved).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_watched_table_reloads_the_sites_of_the_rows_before_and_after() {
    let (database, client) = house_with_posts().await;
    let watch = "SELECT emperor.reload_on_change('post', 'row.site_id')";
    client.batch_execute(watch).await.unwrap();
    // Once more is as good as once.
    client.batch_execute(watch).await.unwrap();
    for (statement, expected) in [
        (
            "INSERT INTO post SELECT n, 1 + n % 2, 'title' FROM generate_series(1, 1000) n",
            &["1,2"][..],
        ),
        ("UPDATE post SET site_id = 3 WHERE id = 1", &["2,3"]),
        ("UPDATE post SET hits = 1 WHERE id = 1", &["3"]),
        ("UPDATE post SET hits = 1 WHERE false", &[]),
        ("DELETE FROM post WHERE id = 1", &["3"]),
        // Of one that is not there, and of none.
        ("INSERT INTO post VALUES (2001, 77, ''), (2002, 0, '')", &[]),
        // Of no one in particular.
        ("INSERT INTO post VALUES (2000, NULL, '')", &["1,2,3,4,5"]),
        ("DELETE FROM post WHERE id >= 2000", &["1,2,3,4,5"]),
        (
            "INSERT INTO post VALUES (2, 4, '') ON CONFLICT (id) DO UPDATE SET site_id = 5",
            &["1,5"],
        ),
        ("BEGIN; DELETE FROM post; ROLLBACK", &[]),
        (
            "BEGIN; UPDATE post SET hits = 2 WHERE id = 3; UPDATE post SET hits = 2 WHERE id = 4;
             COMMIT",
            &["1,2"],
        ),
        ("TRUNCATE post", &["1,2,5"]),
        ("SELECT emperor.unwatch('post')", &[]),
        ("INSERT INTO post VALUES (1, 1, '')", &[]),
    ] {
        check_payloads(&database, statement, expected).await;
    }
}

#[tokio::test]
async fn an_update_counts_when_it_changed_one_of_the_columns_named() {
    let (database, client) = house_with_posts().await;
    let watch = "SELECT emperor.reload_on_change('post', 'row.site_id', ARRAY['title', 'layout']);
        INSERT INTO post SELECT n, 1 + n % 2, 'title ' || n, '{}' FROM generate_series(1, 9) n";
    client.batch_execute(watch).await.unwrap();
    for (statement, expected) in [
        ("UPDATE post SET hits = 7", &[][..]),
        ("UPDATE post SET title = title", &[]),
        (
            "UPDATE post SET hits = 8, title = 'new' WHERE id = 1",
            &["2"],
        ),
        ("UPDATE post SET layout = '{\"a\": 1}' WHERE id = 2", &["1"]),
        ("UPDATE post SET layout = NULL WHERE id = 2", &["1"]),
        // Two rows of one site swap their titles.
        (
            "UPDATE post SET title = CASE id WHEN 4 THEN 'title 6' ELSE 'title 4' END
             WHERE id IN (4, 6)",
            &["1"],
        ),
        // A row under another key is another row.
        ("UPDATE post SET id = 100 WHERE id = 3", &["2"]),
        ("INSERT INTO post VALUES (200, 5, '')", &["5"]),
        ("DELETE FROM post WHERE id = 200", &["5"]),
        // Nothing tells any more which row became which.
        ("ALTER TABLE post DROP CONSTRAINT post_pkey", &[]),
        (
            "SELECT emperor.unwatch('post');
             SELECT emperor.reload_on_change('post', 'row.site_id', ARRAY['title'])",
            &[],
        ),
        ("UPDATE post SET hits = 9 WHERE id = 1", &["2"]),
    ] {
        check_payloads(&database, statement, expected).await;
    }
}

#[tokio::test]
async fn a_watch_may_mean_one_site_or_every_site_or_ask_other_tables() {
    let (database, client) = house_with_posts().await;
    let blogs = "CREATE SCHEMA \"Odd, one\"; SET search_path = \"Odd, one\", public;
        CREATE TABLE blog (id int PRIMARY KEY, site int);
        INSERT INTO blog VALUES (10, 2);";
    client.batch_execute(blogs).await.unwrap();
    for (site, expected) in [
        ("'3'", &["3"][..]),
        ("'3 -- the shop'", &["3"]),
        ("NULL", &["1,2,3,4,5"]),
        ("'null'", &["1,2,3,4,5"]),
        (
            "'(SELECT b.site FROM blog b WHERE b.id = row.site_id)'",
            &["2"],
        ),
    ] {
        let watch = format!("SELECT emperor.reload_on_change('post', {site})");
        client.batch_execute(&watch).await.unwrap();
        // In a session that finds no table "blog" by itself.
        check_payloads(&database, "INSERT INTO post VALUES (1, 10, '')", expected).await;
        check_payloads(&database, "UPDATE post SET hits = 1 WHERE false", &[]).await;
        let end = "SELECT emperor.unwatch('post'); TRUNCATE post";
        client.batch_execute(end).await.unwrap();
    }
}

#[tokio::test]
async fn a_watch_that_would_fail_at_the_next_write_is_refused() {
    let (database, client) = house_with_posts().await;
    for (arguments, said) in [
        ("'post', 'row.sit_id'", "column row.sit_id does not exist"),
        (
            "'post', 'row.site_id) FROM post --'",
            "no site can be had from the rows of post",
        ),
        ("'post', 'row.layout'", "cannot cast type json to bigint"),
        (
            "'post', 'row.site_id', ARRAY['titel']",
            "has no column 'titel'",
        ),
        ("'post', 'row.site_id', ARRAY[]::text[]", "has no column"),
        ("'nowhere', 'row.site_id'", "\"nowhere\" does not exist"),
    ] {
        let watch = format!("SELECT emperor.reload_on_change({arguments})");
        refused(&client, &watch, said).await;
    }
    check_payloads(&database, "INSERT INTO post VALUES (1, 1, '')", &[]).await;
}
