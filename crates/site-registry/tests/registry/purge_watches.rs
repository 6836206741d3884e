//! Tables whose changes purge pages: which rows count, what of them is purged, and which watches are
//! refused.

use site_registry::purges::{Explained, explain, watches};

use crate::purges::{WATCH, check, house_with_posts, take_purges};
use crate::support::refused;

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
