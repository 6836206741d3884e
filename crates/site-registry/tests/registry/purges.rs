//! Purges in SQL: by name, told at commit, waited for and forgotten.

use tokio_postgres::Client;

use crate::support::{Database, payloads_on, refused, scalar, soon, until_true};

pub(crate) const WATCH: &str = "SELECT emperor.purge_on_change(
    'post', 'row.site_id',
    'VALUES (''/''), (''/posts/'' || row.slug || ''/'')', 'VALUES (''post-'' || row.id)'
)";

/// A database with sites 1 to 5, and a table whose rows are pages.
pub(crate) async fn house_with_posts() -> (Database, Client) {
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
pub(crate) async fn take_purges(client: &Client) -> Vec<String> {
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
pub(crate) async fn check(
    database: &Database,
    client: &Client,
    statement: &str,
    expected: &[&str],
) {
    let told = payloads_on(database, "emperor_purges", statement).await;
    assert_eq!(take_purges(client).await, expected, "{statement}");
    assert_eq!(told.len(), usize::from(!expected.is_empty()), "{statement}");
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
