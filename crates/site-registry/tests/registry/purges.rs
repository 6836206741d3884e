//! Purges in SQL: by name, by the rows of a watched table, waited for and forgotten.

use site_registry::purges::{Explained, explain, watches};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Database, payloads_on, soon, until_true};

const WATCH: &str = "SELECT emperor.purge_on_change(
    'post', 'row.site_id',
    'VALUES (''/''), (''/posts/'' || row.slug || ''/'')', 'VALUES (''post-'' || row.id)'
)";

/// A database with sites 1 to 5, and a table whose rows are pages.
async fn house_with_posts() -> (Database, Client) {
    let database = Database::new().await;
    let client = database.client().await;
    let prepare = "
        INSERT INTO emperor.sites (id, slug) SELECT n, 's' || n FROM generate_series(1, 5) n;
        CREATE TABLE public.post (
            id int PRIMARY KEY, site_id int, slug text, hits int DEFAULT 0
        );
        CREATE TABLE public.post_tags (
            post_id int REFERENCES post ON DELETE CASCADE, tag text
        );";
    client.batch_execute(prepare).await.unwrap();
    (database, client)
}

/// What stands in the table, in its order, and is deleted then.
async fn take_purges(client: &Client) -> Vec<String> {
    let query = "WITH gone AS (DELETE FROM emperor.purges RETURNING id, site_id, kind, names)
        SELECT concat_ws(' ', coalesce(site_id::text, '*'), kind,
            CASE WHEN cardinality(names) < 9 THEN array_to_string(names, ' ')
                ELSE cardinality(names)::text END)
        FROM gone ORDER BY site_id NULLS FIRST, kind, id";
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter()
        .map(|row| row.get::<_, String>(0).trim_end().to_owned())
        .collect()
}

/// A statement, the purges it leaves, and that they are told once.
async fn check(database: &Database, client: &Client, statement: &str, expected: &[&str]) {
    let told = payloads_on(database, "emperor_purges", statement).await;
    assert_eq!(take_purges(client).await, expected, "{statement}");
    assert_eq!(told.len(), usize::from(!expected.is_empty()), "{statement}");
}

async fn refused(client: &Client, statement: &str, said: &str) -> SqlState {
    let error = client.batch_execute(statement).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(
        error.message().contains(said),
        "{statement}: {}",
        error.message()
    );
    error.code().clone()
}

async fn scalar<T: for<'a> tokio_postgres::types::FromSql<'a>>(client: &Client, query: &str) -> T {
    client.query_one(query, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn pages_are_purged_by_name_at_commit_and_told_once_for_a_transaction() {
    let (database, client) = house_with_posts().await;
    for (statement, expected) in [
        (
            "SELECT emperor.purge(1, '/b', '/a?x=1#y', '/a')",
            &["1 path /a /b"][..],
        ),
        (
            "SELECT emperor.purge_prefix(2, '/blog/')",
            &["2 prefix /blog/"],
        ),
        ("SELECT emperor.purge_tags(2, 'a', 'b')", &["2 tag a b"]),
        ("SELECT emperor.purge_site(3)", &["3 site"]),
        ("SELECT emperor.purge(NULL, '/')", &["* path /"]),
        ("SELECT emperor.purge_site(NULL)", &["* site"]),
        (
            "BEGIN; SELECT emperor.purge(1, '/'); SELECT emperor.purge(2, '/'); COMMIT",
            &["1 path /", "2 path /"],
        ),
        ("BEGIN; SELECT emperor.purge(1, '/'); ROLLBACK", &[]),
        // The savepoint takes back the notification, and that there was one.
        (
            "BEGIN; SAVEPOINT a; SELECT emperor.purge(1, '/a'); ROLLBACK TO a;
             SELECT emperor.purge(1, '/b'); COMMIT",
            &["1 path /b"],
        ),
        (
            "SELECT emperor.purge(1, VARIADIC ARRAY(
                SELECT '/' || n FROM generate_series(1, 1000) n))",
            &["1 path 1000"],
        ),
        (
            "SELECT emperor.purge(1, VARIADIC ARRAY(
                SELECT '/' || n FROM generate_series(1, 1001) n))",
            &["1 site"],
        ),
    ] {
        check(&database, &client, statement, expected).await;
    }
}

#[tokio::test]
async fn a_purge_that_can_mean_nothing_is_refused() {
    let (_database, client) = house_with_posts().await;
    for (statement, said) in [
        ("SELECT emperor.purge(9, '/')", "there is no site with id 9"),
        (
            "SELECT emperor.purge(1, 'http://a.example/')",
            "'http://a.example/' is no path",
        ),
        ("SELECT emperor.purge(1, NULL)", "NULL is no path"),
        ("SELECT emperor.purge(1, E'/a\\nb')", "is no path"),
        (
            "SELECT emperor.purge(1, '/' || repeat('a', 4096))",
            "is no path",
        ),
        (
            "SELECT emperor.purge(1, VARIADIC ARRAY[]::text[])",
            "no path is named",
        ),
        ("SELECT emperor.purge_tags(1, 'a b')", "'a b' is no tag"),
        ("SELECT emperor.purge_prefix(1, '')", "'' is no prefix"),
    ] {
        refused(&client, statement, said).await;
    }
    assert_eq!(take_purges(&client).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_watched_table_purges_the_pages_of_the_rows_before_and_after() {
    let (database, client) = house_with_posts().await;
    client.batch_execute(WATCH).await.unwrap();
    // Once more is as good as once.
    client.batch_execute(WATCH).await.unwrap();
    for (statement, expected) in [
        (
            "INSERT INTO post VALUES (1, 1, 'one'), (2, 1, 'two'), (3, 2, 'three')",
            &[
                "1 path / /posts/one/ /posts/two/",
                "1 tag post-1 post-2",
                "2 path / /posts/three/",
                "2 tag post-3",
            ][..],
        ),
        (
            "UPDATE post SET slug = 'uno' WHERE id = 1",
            &["1 path / /posts/one/ /posts/uno/", "1 tag post-1"],
        ),
        (
            "UPDATE post SET site_id = 3 WHERE id = 1",
            &[
                "1 path / /posts/uno/",
                "1 tag post-1",
                "3 path / /posts/uno/",
                "3 tag post-1",
            ],
        ),
        ("UPDATE post SET slug = 'x' WHERE false", &[]),
        ("BEGIN; DELETE FROM post; ROLLBACK", &[]),
        (
            "BEGIN; UPDATE post SET hits = 1 WHERE id = 2; UPDATE post SET hits = 1 WHERE id = 3;
             COMMIT",
            &[
                "1 path / /posts/two/",
                "1 tag post-2",
                "2 path / /posts/three/",
                "2 tag post-3",
            ],
        ),
        // Of one that is not there, and of none; a slug that is not there is no page.
        ("INSERT INTO post VALUES (21, 77, 'x'), (22, 0, 'x')", &[]),
        // Of no site in particular.
        (
            "INSERT INTO post VALUES (20, NULL, 'x')",
            &["* path / /posts/x/", "* tag post-20"],
        ),
        (
            "INSERT INTO post VALUES (23, 4, NULL)",
            &["4 path /", "4 tag post-23"],
        ),
        (
            "INSERT INTO post VALUES (3, 2, 'three') ON CONFLICT (id) DO UPDATE SET slug = 'tre'",
            &["2 path / /posts/three/ /posts/tre/", "2 tag post-3"],
        ),
        (
            "DELETE FROM post WHERE id = 23",
            &["4 path /", "4 tag post-23"],
        ),
    ] {
        check(&database, &client, statement, expected).await;
    }
}

#[tokio::test]
async fn an_emptied_table_purges_the_pages_of_the_rows_it_had_until_it_is_watched_no_more() {
    let (database, client) = house_with_posts().await;
    let rows = "INSERT INTO post VALUES (1, 3, 'uno'), (2, 1, 'two'), (3, 2, 'tre')";
    client.batch_execute(rows).await.unwrap();
    client.batch_execute(WATCH).await.unwrap();
    for (statement, expected) in [
        (
            "TRUNCATE post CASCADE",
            &[
                "1 path / /posts/two/",
                "1 tag post-2",
                "2 path / /posts/tre/",
                "2 tag post-3",
                "3 path / /posts/uno/",
                "3 tag post-1",
            ][..],
        ),
        ("SELECT emperor.unwatch('post')", &[]),
        ("INSERT INTO post VALUES (1, 1, 'one')", &[]),
    ] {
        check(&database, &client, statement, expected).await;
    }
}

#[tokio::test]
async fn a_table_between_two_others_purges_the_pages_it_joins() {
    let (database, client) = house_with_posts().await;
    let watch = "INSERT INTO post VALUES (1, 1, 'one'), (2, 2, 'two');
        SELECT emperor.purge_on_change(
            'post_tags', '(SELECT p.site_id FROM post p WHERE p.id = row.post_id)',
            'SELECT ''/posts/'' || p.slug || ''/'' FROM post p WHERE p.id = row.post_id
             UNION ALL VALUES (''/tags/'' || row.tag || ''/'') -- the page of the tag'
        );";
    client.batch_execute(watch).await.unwrap();
    for (statement, expected) in [
        (
            "INSERT INTO post_tags VALUES (1, 'a'), (1, 'b'), (2, 'a')",
            &[
                "1 path /posts/one/ /tags/a/ /tags/b/",
                "2 path /posts/two/ /tags/a/",
            ][..],
        ),
        (
            "UPDATE post_tags SET post_id = 2 WHERE tag = 'b'",
            &["1 path /posts/one/ /tags/b/", "2 path /posts/two/ /tags/b/"],
        ),
        (
            "DELETE FROM post_tags WHERE post_id = 1",
            &["1 path /posts/one/ /tags/a/"],
        ),
        (
            "TRUNCATE post_tags",
            &["2 path /posts/two/ /tags/a/ /tags/b/"],
        ),
    ] {
        check(&database, &client, statement, expected).await;
    }
}

#[tokio::test]
async fn what_names_too_much_or_no_page_purges_the_site_whole() {
    let (database, client) = house_with_posts().await;
    client.batch_execute(WATCH).await.unwrap();
    for (statement, expected) in [
        // 1,000 names of site 1, with "/" and the tags.
        (
            "INSERT INTO post SELECT n, 1, 's' || n FROM generate_series(1, 499) n",
            &["1 path 500", "1 tag 499"][..],
        ),
        ("UPDATE post SET hits = 1", &["1 path 500", "1 tag 499"]),
        (
            "INSERT INTO post SELECT n, 1, 's' || n FROM generate_series(501, 1001) n",
            &["1 site"],
        ),
        ("TRUNCATE post CASCADE", &["1 site"]),
        (
            "INSERT INTO post SELECT n, 1 + n % 3, 's' || n FROM generate_series(1, 100000) n",
            &["1 site", "2 site", "3 site"],
        ),
        (
            "UPDATE post SET hits = 2 WHERE id <= 90000",
            &["1 site", "2 site", "3 site"],
        ),
        (
            "DELETE FROM post WHERE id > 20",
            &["1 site", "2 site", "3 site"],
        ),
        ("SELECT emperor.unwatch('post')", &[]),
        (
            "SELECT emperor.purge_on_change('post', 'row.site_id', 'VALUES (''/'' || row.slug)');
             SELECT emperor.purge_on_change('post', NULL, NULL, 'VALUES (row.slug)')",
            &[],
        ),
        // What is no tag may have been meant for any page.
        (
            "UPDATE post SET slug = 'a b' WHERE id = 3",
            &["* site", "1 path /a b /s3"],
        ),
    ] {
        check(&database, &client, statement, expected).await;
    }
    // A statement that concerns more sites than are worth naming.
    let many = "SELECT emperor.unwatch('post'); TRUNCATE post CASCADE;
        INSERT INTO emperor.sites (id, slug) SELECT n, 's' || n FROM generate_series(6, 1001) n";
    client.batch_execute(many).await.unwrap();
    client.batch_execute(WATCH).await.unwrap();
    let insert = "INSERT INTO post SELECT n, n, 'a' FROM generate_series(1, 1001) n";
    check(&database, &client, insert, &["* site"]).await;
}

#[tokio::test]
async fn an_update_of_other_columns_purges_nothing() {
    let (database, client) = house_with_posts().await;
    let watch = "INSERT INTO post VALUES (1, 1, 'one');
        SELECT emperor.purge_on_change(
            'post', 'row.site_id', 'VALUES (''/'' || row.slug)', columns => ARRAY['slug']
        )";
    client.batch_execute(watch).await.unwrap();
    for (statement, expected) in [
        ("UPDATE post SET hits = 7", &[][..]),
        ("UPDATE post SET slug = 'uno'", &["1 path /one /uno"]),
    ] {
        check(&database, &client, statement, expected).await;
    }
}

#[tokio::test]
async fn a_watch_that_would_fail_at_the_next_write_is_refused() {
    let (database, client) = house_with_posts().await;
    let prepare = "INSERT INTO post VALUES (1, 1, 'one');
        CREATE VIEW public.seen AS TABLE post;
        CREATE MATERIALIZED VIEW public.kept AS TABLE post;
        CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER far FOREIGN DATA WRAPPER nowhere;
        CREATE FOREIGN TABLE public.away (id int) SERVER far;";
    client.batch_execute(prepare).await.unwrap();
    for (arguments, said) in [
        (
            "'post', 'row.sit_id', 'VALUES (''/'')'",
            "column row.sit_id does not exist",
        ),
        (
            "'post', 'row.site_id', 'VALUES (row.slog)'",
            "no paths can be had from the rows of post: column row.slog does not exist",
        ),
        (
            "'post', 'row.site_id', 'VALUES (''/'', ''/a'')'",
            "subquery must return only one column",
        ),
        (
            "'post', 'row.site_id', NULL, '''x'''",
            "no tags can be had from the rows",
        ),
        (
            "'post', 'row.site_id', 'VALUES (''/''); DROP TABLE post'",
            "no paths can be had",
        ),
        (
            "'post', 'row.site_id', 'VALUES ((1 / (row.id - 1))::text)'",
            "division by zero",
        ),
        (
            "'post', 'row.site_id', 'VALUES (row.slug)'",
            "the paths of post are none: a row that is there gives 'one'",
        ),
        ("'post', 'row.site_id', NULL", "nothing would be purged"),
        (
            "'post', '1', 'VALUES (''/'')', NULL, ARRAY['titel']",
            "has no column 'titel'",
        ),
        (
            "'seen', '1', 'VALUES (''/'')'",
            "public.seen can't be watched: it is a view",
        ),
        ("'kept', '1', 'VALUES (''/'')'", "it is a materialized view"),
        ("'away', '1', 'VALUES (''/'')'", "it is a foreign table"),
    ] {
        let watch = format!("SELECT emperor.purge_on_change({arguments})");
        refused(&client, &watch, said).await;
    }
    let reload = "SELECT emperor.reload_on_change('seen', '1')";
    refused(&client, reload, "it is a view").await;
    let insert = "INSERT INTO post VALUES (2, 1, 'two')";
    check(&database, &client, insert, &[]).await;
}

#[tokio::test]
async fn rows_of_partitions_and_children_count_when_they_are_written_through_the_table() {
    let (database, client) = house_with_posts().await;
    let prepare = "
        CREATE TABLE public.entry (id int, site_id int) PARTITION BY RANGE (id);
        CREATE TABLE public.entry_low PARTITION OF entry FOR VALUES FROM (0) TO (100);
        CREATE TABLE public.entry_high PARTITION OF entry FOR VALUES FROM (100) TO (200);
        CREATE TABLE public.base (id int, site_id int);
        CREATE TABLE public.child () INHERITS (base);
        SELECT emperor.purge_on_change(t, 'row.site_id', 'VALUES (''/'' || row.id)')
        FROM unnest(ARRAY['entry', 'base', 'entry_high']::regclass[]) t;
        INSERT INTO child VALUES (7, 1);";
    client.batch_execute(prepare).await.unwrap();
    for (statement, expected) in [
        (
            "INSERT INTO entry VALUES (1, 1), (101, 2)",
            &["1 path /1", "2 path /101"][..],
        ),
        // From one partition to the other.
        (
            "UPDATE entry SET id = 102 WHERE id = 1",
            &["1 path /1 /102"],
        ),
        ("INSERT INTO entry_low VALUES (2, 1)", &[]),
        ("INSERT INTO entry_high VALUES (103, 3)", &["3 path /103"]),
        ("UPDATE base SET id = 8", &["1 path /7 /8"]),
    ] {
        check(&database, &client, statement, expected).await;
    }
}

#[tokio::test]
async fn a_full_notification_queue_fails_nobody_and_loses_nothing() {
    let (database, client) = house_with_posts().await;
    // A queue takes 8 GB to fill: what asks how full it is answers for it.
    let full = "CREATE OR REPLACE FUNCTION emperor.may_notify() RETURNS boolean
        LANGUAGE sql AS 'SELECT false'";
    client.batch_execute(WATCH).await.unwrap();
    client.batch_execute(full).await.unwrap();
    let insert = "INSERT INTO post VALUES (1, 1, 'one'); SELECT emperor.reload(1);
        UPDATE emperor.sites SET enabled = false";
    for channel in ["emperor", "emperor_purges"] {
        let told = payloads_on(&database, channel, insert).await;
        assert_eq!(told, Vec::<String>::new());
        client.batch_execute("DELETE FROM post").await.unwrap();
    }
    let recorded: i64 = scalar(&client, "SELECT count(*) FROM emperor.purges").await;
    assert_eq!(recorded, 8);
}

#[tokio::test]
async fn waiting_asks_the_live_caches_alone() {
    let (_database, client) = house_with_posts().await;
    let readers = "INSERT INTO emperor.purge_readers
        SELECT n.node, n.reader, pg_current_snapshot(), emperor.server_identity(),
            clock_timestamp() - n.ago
        FROM (VALUES ('a', 'cache', interval '0'), ('gone', 'cache', interval '1 minute'),
            ('a', 'target slow', interval '0')) n (node, reader, ago)";
    client.batch_execute(readers).await.unwrap();
    let event: i64 = scalar(&client, "SELECT emperor.purge(1, '/')").await;
    let wait = format!("SELECT emperor.purge_wait({event}, '20ms')");
    assert!(!scalar::<bool>(&client, &wait).await);
    let wait_for_all = "SELECT emperor.purge_wait(NULL, '20ms')";
    assert!(!scalar::<bool>(&client, wait_for_all).await);
    let acknowledge = "UPDATE emperor.purge_readers SET through = pg_current_snapshot()
        WHERE node = 'a' AND reader = 'cache'";
    client.batch_execute(acknowledge).await.unwrap();
    assert!(scalar::<bool>(&client, &wait).await);
    assert!(scalar::<bool>(&client, wait_for_all).await);
    refused(
        &client,
        "SELECT emperor.purge_wait(1000)",
        "there is no purge with id 1000",
    )
    .await;
    let within = "BEGIN; SELECT emperor.purge(1, '/');
        SELECT emperor.purge_wait(max(id)) FROM emperor.purges";
    refused(&client, within, "at the commit of this very transaction").await;
    let frozen = "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT emperor.purge_wait(1)";
    refused(&client, frozen, "can't see what is acknowledged").await;
}

#[tokio::test]
async fn a_purge_that_is_not_committed_yet_is_waited_for() {
    let (database, client) = house_with_posts().await;
    let open = database.client().await;
    open.batch_execute("BEGIN").await.unwrap();
    let event: i64 = scalar(&open, "SELECT emperor.purge(1, '/')").await;
    let wait = format!("SELECT emperor.purge_wait({event}, '20ms')");
    assert!(!scalar::<bool>(&client, &wait).await);
    let patient = format!("SELECT emperor.purge_wait({event}, '1 minute')");
    let (waited, ()) = tokio::join!(
        soon("the end of the wait", scalar::<bool>(&client, &patient)),
        async { open.batch_execute("COMMIT").await.unwrap() }
    );
    assert!(waited);
}

#[tokio::test]
async fn purges_are_forgotten_when_every_reader_has_seen_them_or_is_long_gone() {
    let (_database, client) = house_with_posts().await;
    let purge = "INSERT INTO emperor.purge_readers
        VALUES ('a', 'cache', pg_current_snapshot(), emperor.server_identity());
        SELECT emperor.purge(1, '/'); SELECT emperor.purge(2, '/')";
    client.batch_execute(purge).await.unwrap();
    let forget = "SELECT emperor.forget_purges('0 s')";
    let forgotten = async |query: &str| scalar::<i64>(&client, query).await;
    assert_eq!(forgotten(forget).await, 0, "the reader hasn't seen them");
    // Nor are they forgotten for their age while the reader lives.
    let old = "SELECT emperor.forget_purges('0 s', '0 s')";
    assert_eq!(forgotten(old).await, 0);
    let gone = "UPDATE emperor.purge_readers SET seen_at = now() - interval '1 hour'";
    client.batch_execute(gone).await.unwrap();
    assert_eq!(forgotten(forget).await, 0, "it may come back");
    // Transactions of other databases keep back what is forgotten, for as long as they last.
    let too_many = "SELECT emperor.forget_purges('0 s', '1 day', 1) = 1";
    until_true(&client, too_many).await;
    until_true(&client, "SELECT emperor.forget_purges('0 s', '0 s') = 1").await;
    let event: i64 = scalar(&client, "SELECT emperor.purge(1, '/')").await;
    let seen = "WITH seen AS (UPDATE emperor.purge_readers
            SET through = pg_current_snapshot(), seen_at = clock_timestamp()
            RETURNING pg_snapshot_xmin(through) AS xmin)
        SELECT s.xmin > p.transaction FROM seen s, emperor.purges p";
    until_true(&client, seen).await;
    assert_eq!(forgotten("SELECT emperor.forget_purges()").await, 0);
    assert_eq!(forgotten(forget).await, 1);
    let wait = format!("SELECT emperor.purge_wait({event}, '0 s')");
    assert!(scalar::<bool>(&client, &wait).await, "everybody saw it");
}

#[tokio::test]
async fn watches_are_listed_and_explained_to_the_owner_of_the_table() {
    let (database, client) = house_with_posts().await;
    client.batch_execute(WATCH).await.unwrap();
    let more = "INSERT INTO post VALUES (1, 1, 'one'), (2, 2, 'two');
        SELECT emperor.reload_on_change('post_tags', NULL, ARRAY['tag']);
        CREATE ROLE another_owner; CREATE TABLE public.foreign_post (id int);
        ALTER TABLE public.foreign_post OWNER TO another_owner";
    client.batch_execute(more).await.unwrap();
    let listed = watches(&database.target()).await.unwrap();
    let brief: Vec<_> = listed
        .iter()
        .map(|w| {
            (
                w.table.as_str(),
                w.kind.as_str(),
                w.site.as_deref(),
                w.enabled,
            )
        })
        .collect();
    let expected = [
        ("public.post", "purge", Some("row.site_id"), true),
        ("public.post_tags", "reload", None, true),
    ];
    assert_eq!(brief, expected);
    assert_eq!(
        listed[0].tags.as_deref(),
        Some("VALUES ('post-' || row.id)")
    );
    assert_eq!(listed[1].columns.as_deref(), Some(&["tag".to_owned()][..]));
    let would = |site, slug: &str, id| Explained {
        kind: "purge".into(),
        site: Some(site),
        paths: vec!["/".into(), format!("/posts/{slug}/")],
        tags: vec![format!("post-{id}")],
    };
    for (row, expected) in [
        (r#"{"id": 2}"#, would(2, "two", 2)),
        (
            r#"{"id": 9, "site_id": 3, "slug": "new"}"#,
            would(3, "new", 9),
        ),
    ] {
        let row = serde_json::from_str(row).unwrap();
        let explained = explain(&database.target(), "public.post", &row).await;
        assert_eq!(explained.unwrap(), [expected]);
    }
    let nothing = serde_json::json!({});
    let error = explain(&database.target(), "public.foreign_post", &nothing).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("another_owner"), "{error}");
    assert_eq!(
        take_purges(&client).await.len(),
        4,
        "a dry run purges nothing"
    );
}
