//! What the schema itself guarantees, whoever writes.

use std::collections::BTreeSet;

use site_model::{HostPattern, Hostname};
use site_registry::{LinkError, migrate, schema_status};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{Database, check_payloads, insert_a, payloads_of, soon};

async fn check(client: &Client, statement: &str, expected: Option<(SqlState, &str)>) {
    let done = client.batch_execute(statement).await;
    match (done, expected) {
        (Ok(()), None) => {}
        (Err(error), Some((code, text))) => {
            let error = error.as_db_error().unwrap();
            let said = format!("{error} {:?}", error.constraint());
            assert_eq!(*error.code(), code, "{statement}: {said}");
            assert!(said.contains(text), "{statement}: {said}");
        }
        (done, expected) => panic!("{statement}: {done:?} instead of {expected:?}"),
    }
}

/// Inserts what a rule forbids.
async fn check_refused(client: &Client, into: &str, rule: &str) {
    let statement = format!("INSERT INTO emperor.{into}");
    check(client, &statement, Some((SqlState::CHECK_VIOLATION, rule))).await;
}

/// Says that something unique is taken.
async fn check_taken(client: &Client, statement: &str, text: &str) {
    check(client, statement, Some((SqlState::UNIQUE_VIOLATION, text))).await;
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_refused_and_the_rule_is_named() {
    let database = Database::new().await;
    let client = database.client().await;
    check(
        &client,
        "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a')",
        None,
    )
    .await;
    for (row, rule) in [
        ("sites (id, slug) VALUES (0, 'b')", "id_is_positive"),
        ("sites (id, slug) VALUES (-1, 'b')", "id_is_positive"),
        ("sites (slug) VALUES ('')", "slug_is_a_dns_label"),
        ("sites (slug) VALUES ('B')", "slug_is_a_dns_label"),
        ("sites (slug) VALUES ('-b')", "slug_is_a_dns_label"),
        ("sites (slug) VALUES (E'b\\n')", "slug_is_a_dns_label"),
        (
            "sites (slug) VALUES (repeat('b', 64))",
            "slug_is_a_dns_label",
        ),
        ("domains VALUES ('', 1)", "host_is_a_lower_case_host"),
        ("domains VALUES ('A', 1)", "host_is_a_lower_case_host"),
        ("domains VALUES ('*', 1)", "host_is_a_lower_case_host"),
        ("domains VALUES ('a.*.b', 1)", "host_is_a_lower_case_host"),
        ("domains VALUES ('a', 1, 'x')", "kind_is_alias_or_redirect"),
    ] {
        check_refused(&client, row, rule).await;
    }
    for domain in [
        "B.example",
        "b.example.",
        "b:80",
        "*.example",
        "bücher",
        "a..b",
        "-b",
        " ",
    ] {
        let row = format!("sites (slug, domain) VALUES ('b', '{domain}')");
        check_refused(&client, &row, "domain_is_a_lower_case_host").await;
    }
    let orphan = "INSERT INTO emperor.domains VALUES ('a', 9)";
    check(
        &client,
        orphan,
        Some((SqlState::FOREIGN_KEY_VIOLATION, "domains_site_id_fkey")),
    )
    .await;
    let twin = "INSERT INTO emperor.sites (slug) VALUES ('a')";
    check_taken(&client, twin, "sites_slug_key").await;
}

#[tokio::test]
async fn whatever_host_a_rule_lets_pass_is_a_host_in_its_normal_form() {
    let database = Database::new().await;
    let client = database.client().await;
    insert_a(&client).await;
    let label = "x".repeat(63);
    let longest = [label.as_str(); 4].join(".")[..253].to_owned();
    let mut accepted = 0;
    for host in [
        "a",
        "a.b",
        "a-b.c",
        "_dmarc.a",
        "xn--bcher-kva.example",
        "127.0.0.1",
        "*.a.b",
        "*.a",
        &label,
        &longest,
        &format!("*.{longest}"),
        "[::1]",
        "[2001:db8::1]",
        "-a",
        "a-",
        "a.-b",
        "a b",
        "a/b",
        "*a",
        "**.a",
        "*.",
        "*.*.a",
        ".a",
        "a.",
        "A",
        "é",
        "[::1",
        "a:80",
        &format!("x{label}"),
        &format!("{longest}x"),
        "a\n",
        "a\0b",
    ] {
        let insert = "INSERT INTO emperor.domains (host, site_id) VALUES ($1, 1)";
        if client.execute(insert, &[&host]).await.is_ok() {
            accepted += 1;
            assert_eq!(HostPattern::parse(host).unwrap().to_string(), host);
            let insert = "UPDATE emperor.sites SET domain = $1";
            let as_domain = client.execute(insert, &[&host]).await.is_ok();
            assert_eq!(as_domain, Hostname::parse(host).is_ok(), "{host:?}");
        }
    }
    assert_eq!(accepted, 13);
}

#[tokio::test]
async fn an_id_given_by_hand_does_not_collide_with_the_next_free_one() {
    let database = Database::new().await;
    let client = database.client().await;
    check(
        &client,
        "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a'), (7, 'b')",
        None,
    )
    .await;
    check(
        &client,
        "INSERT INTO emperor.sites (slug) VALUES ('c')",
        None,
    )
    .await;
    check(
        &client,
        "INSERT INTO emperor.sites (id, slug) VALUES (3, 'd')",
        None,
    )
    .await;
    let insert = "INSERT INTO emperor.sites (slug) VALUES ('e') RETURNING id";
    assert_eq!(
        client
            .query_one(insert, &[])
            .await
            .unwrap()
            .get::<_, i64>(0),
        9
    );
}

#[tokio::test]
async fn a_host_belongs_to_one_site_and_the_error_names_it() {
    let database = Database::new().await;
    let client = database.client().await;
    let sites = "INSERT INTO emperor.sites (id, slug, domain) VALUES
        (1, 'one', 'one.example'), (2, 'two', ''), (3, 'three', '')";
    check(&client, sites, None).await;
    check(
        &client,
        "INSERT INTO emperor.domains VALUES ('alias.example', 1)",
        None,
    )
    .await;
    for statement in [
        "UPDATE emperor.sites SET domain = 'one.example' WHERE id = 2",
        "INSERT INTO emperor.domains VALUES ('one.example', 2)",
        "INSERT INTO emperor.sites (slug, domain) VALUES ('four', 'one.example')",
    ] {
        let owner = "host \"one.example\" already belongs to site 1 (one)";
        check_taken(&client, statement, owner).await;
    }
    let statement = "UPDATE emperor.sites SET domain = 'alias.example' WHERE id = 2";
    check_taken(
        &client,
        statement,
        "\"alias.example\" already belongs to site 1 (one)",
    )
    .await;
    let statement = "UPDATE emperor.sites SET domain = 'same.example' WHERE id IN (2, 3)";
    check_taken(
        &client,
        statement,
        "\"same.example\" already belongs to site",
    )
    .await;
    // A site may say one of its hosts twice.
    check(
        &client,
        "INSERT INTO emperor.domains VALUES ('two.example', 2)",
        None,
    )
    .await;
    check(
        &client,
        "UPDATE emperor.sites SET domain = 'two.example' WHERE id = 2",
        None,
    )
    .await;
}

#[tokio::test]
async fn a_host_is_free_when_no_row_has_it_any_more() {
    let database = Database::new().await;
    let client = database.client().await;
    for statement in [
        "INSERT INTO emperor.sites (id, slug, domain) VALUES (1, 'one', 'a'), (2, 'two', 'b')",
        "UPDATE emperor.sites SET domain = '' WHERE id = 1",
        "UPDATE emperor.sites SET domain = 'a' WHERE id = 2",
        "INSERT INTO emperor.domains VALUES ('b', 1), ('c', 1)",
        "UPDATE emperor.domains SET site_id = 2 WHERE host = 'b'",
        "DELETE FROM emperor.sites WHERE id = 2",
        "UPDATE emperor.sites SET domain = 'b' WHERE id = 1",
        // Said twice by one site, and given up once.
        "INSERT INTO emperor.domains VALUES ('b', 1)",
        "DELETE FROM emperor.domains WHERE host = 'b'",
        "UPDATE emperor.sites SET id = 5 WHERE id = 1 AND false",
        "TRUNCATE emperor.domains",
        "INSERT INTO emperor.sites (id, slug, domain) VALUES (3, 'three', 'c')",
        "TRUNCATE emperor.sites CASCADE",
        "INSERT INTO emperor.sites (id, slug, domain) VALUES (4, 'four', 'b'), (5, 'five', 'c')",
    ] {
        check(&client, statement, None).await;
    }
    let claims = client
        .query(
            "SELECT host, site_id FROM emperor.host_claims ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let claims: Vec<(String, i64)> = claims.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(claims, [("b".into(), 4), ("c".into(), 5)]);
}

#[tokio::test]
async fn two_sites_swap_their_hosts_in_one_statement_or_one_deferred_transaction() {
    let database = Database::new().await;
    let client = database.client().await;
    let sites =
        "INSERT INTO emperor.sites (id, slug, domain) VALUES (1, 'one', 'a'), (2, 'two', 'b')";
    check(&client, sites, None).await;
    let swap = "UPDATE emperor.sites SET domain = CASE id WHEN 1 THEN 'b' ELSE 'a' END";
    check(&client, swap, None).await;
    let back = "BEGIN; SET CONSTRAINTS ALL DEFERRED;
        UPDATE emperor.sites SET domain = 'a' WHERE id = 1;
        UPDATE emperor.sites SET domain = 'b' WHERE id = 2; COMMIT";
    check(&client, back, None).await;
    let half = "BEGIN; SET CONSTRAINTS ALL DEFERRED;
        UPDATE emperor.sites SET domain = 'b' WHERE id = 1; COMMIT";
    check_taken(&client, half, "\"b\" already belongs to site 2 (two)").await;
    let undecided = "BEGIN; SET CONSTRAINTS ALL DEFERRED;
        UPDATE emperor.sites SET domain = 'b' WHERE id = 1;
        UPDATE emperor.sites SET domain = 'c' WHERE id = 1; COMMIT";
    check(&client, undecided, None).await;
    check(
        &client,
        "UPDATE emperor.sites SET domain = 'a' WHERE id = 2",
        None,
    )
    .await;
}

#[tokio::test]
async fn of_two_transactions_that_want_one_host_one_gets_it() {
    let database = Database::new().await;
    let (first, second) = (database.client().await, database.client().await);
    let sites = "INSERT INTO emperor.sites (id, slug) VALUES (1, 'one'), (2, 'two')";
    first.batch_execute(sites).await.unwrap();
    for ending in ["COMMIT", "ROLLBACK"] {
        first
            .batch_execute("BEGIN; UPDATE emperor.sites SET domain = 'a' WHERE id = 1")
            .await
            .unwrap();
        let waiting = second.batch_execute("INSERT INTO emperor.domains VALUES ('a', 2)");
        let finish = async {
            let blocked = "SELECT count(*) = 1 FROM pg_locks l JOIN pg_stat_activity a USING (pid) \
                           WHERE NOT l.granted AND a.datname = current_database()";
            crate::support::until_true(&first, blocked).await;
            first.batch_execute(ending).await.unwrap();
        };
        let (waited, ()) = soon("both end", async { tokio::join!(waiting, finish) }).await;
        assert_eq!(waited.is_ok(), ending == "ROLLBACK", "{ending}: {waited:?}");
        let reset = "DELETE FROM emperor.domains; UPDATE emperor.sites SET domain = ''";
        first.batch_execute(reset).await.unwrap();
    }
}

#[tokio::test]
async fn updated_at_moves_only_with_a_change() {
    let database = Database::new().await;
    let client = database.client().await;
    check(
        &client,
        "INSERT INTO emperor.sites (slug) VALUES ('a')",
        None,
    )
    .await;
    let moved = "SELECT updated_at > created_at FROM emperor.sites";
    for (update, expected) in [
        ("UPDATE emperor.sites SET template = ''", false),
        ("UPDATE emperor.sites SET template = 'demo'", true),
    ] {
        check(&client, update, None).await;
        let row = client.query_one(moved, &[]).await.unwrap();
        assert_eq!(row.get::<_, bool>(0), expected, "{update}");
    }
}

#[tokio::test]
async fn each_statement_is_notified_once_with_the_rows_it_changed() {
    let database = Database::new().await;
    let database = &database;
    for (statement, expected) in [
        (
            "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a'), (2, 'b'), (3, 'c')",
            &["1,2,3"][..],
        ),
        (
            "UPDATE emperor.sites SET enabled = false WHERE id < 3",
            &["1,2"],
        ),
        ("UPDATE emperor.sites SET enabled = false WHERE id > 3", &[]),
        ("UPDATE emperor.sites SET id = 4 WHERE id = 3", &["3,4"]),
        (
            "INSERT INTO emperor.domains VALUES ('x', 1), ('y', 1), ('z', 2)",
            &["1,2"],
        ),
        (
            "UPDATE emperor.domains SET site_id = 4 WHERE host = 'z'",
            &["2,4"],
        ),
        ("DELETE FROM emperor.domains WHERE host = 'z'", &["4"]),
        ("DELETE FROM emperor.sites WHERE id = 4", &["4"]),
        ("TRUNCATE emperor.domains", &["*"]),
        ("TRUNCATE emperor.sites CASCADE", &["*"]),
        (
            "BEGIN; INSERT INTO emperor.sites (id, slug) VALUES (5, 'e'); ROLLBACK",
            &[],
        ),
    ] {
        check_payloads(database, statement, expected).await;
    }
}

#[tokio::test]
async fn a_bulk_statement_is_split_below_the_bound_of_a_payload() {
    let database = Database::new().await;
    let insert = |first: i64, count: i64| {
        format!(
            "INSERT INTO emperor.sites (id, slug) SELECT {first} + n, 's' || {first} + n \
             FROM generate_series(1, {count}) n"
        )
    };
    let payloads = payloads_of(&database, &insert(8_999_999_999_999_990_000, 3_900)).await;
    assert_eq!(payloads.len(), 10);
    let ids: BTreeSet<i64> = payloads
        .iter()
        .flat_map(|payload| payload.split(','))
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 3_900);
    check_payloads(&database, &insert(1, 3_901), &["*"]).await;
}

#[tokio::test]
async fn emperors_that_start_at_once_make_one_schema() {
    let database = Database::empty().await;
    let target = database.target();
    let found = schema_status(&target).await.unwrap();
    assert_eq!(found.found, None);
    let (a, b, c) = tokio::join!(
        migrate(&target, &site_registry::RowSource::Emperor),
        migrate(&target, &site_registry::RowSource::Emperor),
        migrate(&target, &site_registry::RowSource::Emperor)
    );
    for result in [a, b, c] {
        result.unwrap();
    }
    let status = schema_status(&target).await.unwrap();
    assert_eq!(status.found, Some(status.needed));
}

#[tokio::test]
async fn a_schema_of_a_newer_program_is_refused() {
    let database = Database::new().await;
    let client = database.client().await;
    let newer = "INSERT INTO emperor.schema_version (version) VALUES (1000)";
    client.batch_execute(newer).await.unwrap();
    let error = migrate(&database.target(), &site_registry::RowSource::Emperor)
        .await
        .unwrap_err();
    assert!(
        matches!(error, LinkError::NewerSchema { found: 1000, .. }),
        "{error}"
    );
}
