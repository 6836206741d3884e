//! What each role may do, and that it is enough and no more.

use site_model::{SiteId, SiteState};
use site_registry::purges::{DeadLetter, News, PurgeFeed, PurgeOptions, Reader};
use site_registry::{
    DAEMON_GRANTS, DatabaseTarget, EDITOR_GRANTS, LinkError, PURGER_GRANTS, WATCHER_GRANTS, migrate,
};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::{
    Database, Running, bare_status, connect, options, refused, scalar, site, soon,
};

/// Makes a role of one test's own, and tells the URL to log in with.
async fn role(database: &Database, admin: &Client, kind: &str) -> (String, String) {
    let role = format!("{kind}_{}", database.name);
    let create = format!("CREATE ROLE {role} LOGIN");
    admin.batch_execute(&create).await.unwrap();
    let url = database.url.replacen("emperor@", &format!("{role}@"), 1);
    (role, url)
}

async fn grant(admin: &Client, grants: &str, placeholder: &str, role: &str) {
    admin
        .batch_execute(&grants.replace(placeholder, role))
        .await
        .unwrap();
}

async fn not_permitted(client: &Client, statement: &str) {
    let code = refused(client, statement, "").await;
    assert_eq!(code, SqlState::INSUFFICIENT_PRIVILEGE, "{statement}");
}

#[tokio::test]
async fn an_editor_may_write_rows_and_no_more() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "editor").await;
    grant(&admin, EDITOR_GRANTS, "emperor_editor", &role).await;
    let mut running = database.registry().await;
    let editor = connect(&url).await;
    for allowed in [
        "INSERT INTO emperor.sites (slug, domain) VALUES ('a', 'a.example')",
        "INSERT INTO emperor.sites (id, slug) VALUES (7, 'b')",
        "INSERT INTO emperor.domains VALUES ('b.example', 7)",
        "UPDATE emperor.sites SET domain = 'c.example' WHERE id = 7",
        "DELETE FROM emperor.domains",
        "DELETE FROM emperor.sites WHERE slug = 'a'",
        "SELECT emperor.reload(7)",
        "SELECT * FROM emperor.site_status",
    ] {
        let done = editor.batch_execute(allowed).await;
        assert!(done.is_ok(), "{allowed}: {done:?}");
    }
    for forbidden in [
        "TRUNCATE emperor.sites CASCADE",
        "INSERT INTO emperor.site_status (site_id, node, state) VALUES (1, 'x', 'ready')",
        "DELETE FROM emperor.site_status",
        "SELECT * FROM emperor.host_claims",
        "DELETE FROM emperor.host_claims",
        "UPDATE emperor.reloads SET count = 0",
        "INSERT INTO emperor.reload_requests (site_id) VALUES (0)",
        "SELECT emperor.request_reloads(ARRAY[0])",
        "SELECT emperor.reload_on_change('emperor.sites', '3')",
        "SELECT * FROM emperor.schema_version",
        "SELECT emperor.notify_ids(ARRAY[1::bigint])",
        "SELECT emperor.claim_host(1, 'x')",
        "SELECT emperor.has_host(1, 'x')",
        "CREATE TABLE emperor.mine ()",
        "ALTER TABLE emperor.sites DISABLE TRIGGER ALL",
        "DROP TABLE emperor.sites",
    ] {
        not_permitted(&editor, forbidden).await;
    }
    let arrived = |desired: &_| site(desired, 7).is_some_and(|site| site.reloads == 1);
    running.until("the editor's row", arrived).await;
    running.registry.shutdown().await;
}

/// Where the only watch keeps what it found between its two triggers.
async fn setting_of_the_watch(admin: &Client) -> String {
    let setting = "SELECT DISTINCT replace(t.tgname, '_request', '') FROM pg_trigger t
        WHERE t.tgname LIKE 'emperor%request'";
    let setting: String = scalar(admin, setting).await;
    setting.replacen('_', ".", 1)
}

#[tokio::test]
async fn who_may_reload_needs_no_right_on_anything_else() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "reloader").await;
    let grants = format!(
        "INSERT INTO emperor.sites (id, slug) VALUES (7, 'b');
         GRANT USAGE ON SCHEMA emperor TO {role};
         GRANT EXECUTE ON FUNCTION emperor.reload(bigint) TO {role}"
    );
    admin.batch_execute(&grants).await.unwrap();
    let reloader = connect(&url).await;
    let reload = "SELECT emperor.reload(7)";
    reloader.batch_execute(reload).await.unwrap();
    not_permitted(&reloader, "TABLE emperor.sites").await;
    let counted = "SELECT count FROM emperor.reloads WHERE site_id = 7";
    let counted: i64 = scalar(&admin, counted).await;
    assert_eq!(counted, 1);
}

#[tokio::test]
async fn who_owns_a_table_may_watch_it_and_who_writes_to_it_needs_no_right() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (owner, owner_url) = role(&database, &admin, "table_owner").await;
    let (writer, writer_url) = role(&database, &admin, "writer").await;
    grant(&admin, WATCHER_GRANTS, "emperor_watcher", &owner).await;
    let prepare = format!(
        "INSERT INTO emperor.sites (id, slug) VALUES (7, 'b'), (8, 'c');
         CREATE TABLE public.post (site_id int); ALTER TABLE public.post OWNER TO {owner};
         CREATE TABLE public.of_another (site_id int)"
    );
    admin.batch_execute(&prepare).await.unwrap();
    let watcher = connect(&owner_url).await;
    let watch = format!(
        "SELECT emperor.reload_on_change('post', 'row.site_id');
         GRANT INSERT, UPDATE ON post TO {writer}"
    );
    watcher.batch_execute(&watch).await.unwrap();
    let writer = connect(&writer_url).await;
    // What the session itself puts where the sites are kept between two triggers is no request.
    let setting = setting_of_the_watch(&admin).await;
    let write = format!("SET {setting} = '8'; INSERT INTO post VALUES (7)");
    writer.batch_execute(&write).await.unwrap();
    let counted = "SELECT array_agg(site_id) FROM emperor.reloads";
    let counted: Vec<i64> = scalar(&admin, counted).await;
    assert_eq!(counted, [7]);
    let peek = "SELECT emperor.reload_on_change('post', '(SELECT max(s.id) FROM emperor.sites s)')";
    for (client, forbidden) in [
        (
            &watcher,
            "SELECT emperor.reload_on_change('of_another', '7')",
        ),
        (&watcher, peek),
        (&watcher, "SELECT emperor.reload(7)"),
        (&watcher, "SELECT emperor.request_reloads(ARRAY[7])"),
        (&writer, "SELECT emperor.unwatch('post')"),
    ] {
        not_permitted(client, forbidden).await;
    }
    watcher
        .batch_execute("SELECT emperor.unwatch('post')")
        .await
        .unwrap();
}

/// Everything the daemon does, as the role of a URL.
async fn check_daemon(database: &Database, url: &str, migrate: bool) {
    let mut settings = options(
        DatabaseTarget::parse(url).unwrap(),
        &database.snapshot_path(),
    );
    settings.migrate = migrate;
    settings.configured = vec![site_registry::ConfiguredRow {
        slug: "configured".parse().unwrap(),
        id: None,
        domain: None,
        template: None,
        extra_config: None,
        run_as: None,
        pool: None,
        enabled: None,
    }];
    let mut running = Running::start(settings).await;
    running.until_rows(1).await;
    let handle = running.registry.handle();
    let id = running.desired.borrow().find_slug("configured").unwrap();
    handle.disable(id).await.unwrap();
    handle.request_reload(vec![id]).await.unwrap();
    handle.remove_site(id).await.unwrap();
    handle.report(bare_status(id, SiteState::Stopping));
    running.registry.shutdown().await;
    let client = database.client().await;
    let written = "SELECT count(*) = 1 FROM emperor.site_status";
    crate::support::until_true(&client, written).await;
}

#[tokio::test]
async fn a_daemon_that_may_create_in_the_database_needs_no_other_right() {
    let database = Database::empty().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "owner").await;
    let create = format!("GRANT CREATE ON DATABASE {} TO {role}", database.name);
    admin.batch_execute(&create).await.unwrap();
    check_daemon(&database, &url, true).await;
}

#[tokio::test]
async fn a_daemon_on_a_schema_of_another_role_needs_the_grants_that_are_told() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "daemon").await;
    grant(&admin, DAEMON_GRANTS, "emperor_daemon", &role).await;
    check_daemon(&database, &url, false).await;
}

async fn loss(database: &Database, url: &str, migrate: bool) -> LinkError {
    let mut settings = options(
        DatabaseTarget::parse(url).unwrap(),
        &database.snapshot_path(),
    );
    settings.migrate = migrate;
    let running = Running::start_unread(settings);
    let mut connection = running.registry.handle().connection();
    let lost = connection.wait_for(|status| status.state.as_str() == "lost");
    let status = soon("the loss", lost).await.unwrap().clone();
    running.registry.shutdown().await;
    match status.state {
        site_registry::ConnectionState::Lost(error) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_right_or_schema_is_told_with_what_to_do() {
    let database = Database::empty().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "nobody").await;
    let error = loss(&database, &url, true).await;
    assert!(matches!(error, LinkError::Rights { .. }), "{error:?}");
    assert!(error.hint().contains("grant CREATE on the database"));
    let error = loss(&database, &url, false).await;
    assert_eq!(error, LinkError::NoSchema);
    assert!(error.hint().contains("emperor db migrate"));
    migrate(&database.target(), &site_registry::RowSource::Emperor)
        .await
        .unwrap();
    let error = loss(&database, &url, false).await;
    assert!(
        matches!(error, LinkError::Rights { .. }),
        "{role}: {error:?}"
    );
    assert!(error.hint().contains("rights of a daemon"), "{error:?}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let database = Database::empty().await;
    let url = database.url.replace(&database.name, "no_such_database");
    let error = loss(&database, &url, true).await;
    assert!(matches!(error, LinkError::NoDatabase(_)), "{error:?}");
    assert!(error.to_string().contains("no_such_database"));
}

#[tokio::test]
async fn who_writes_to_a_watched_table_purges_its_pages_and_nothing_else() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (owner, owner_url) = role(&database, &admin, "page_owner").await;
    let (writer, writer_url) = role(&database, &admin, "page_writer").await;
    grant(&admin, WATCHER_GRANTS, "emperor_watcher", &owner).await;
    let prepare = format!(
        "INSERT INTO emperor.sites (id, slug) VALUES (7, 'b'), (8, 'c');
         CREATE TABLE public.page (site_id int, path text);
         ALTER TABLE public.page OWNER TO {owner};
         CREATE TABLE public.of_another (site_id int)"
    );
    admin.batch_execute(&prepare).await.unwrap();
    let watcher = connect(&owner_url).await;
    let watch = format!(
        "SELECT emperor.purge_on_change('page', 'row.site_id', 'VALUES (row.path)');
         GRANT INSERT, UPDATE, TRUNCATE ON page TO {writer}"
    );
    watcher.batch_execute(&watch).await.unwrap();
    let writer = connect(&writer_url).await;
    let setting = setting_of_the_watch(&admin).await;
    // What the session itself puts where the pages are kept between two triggers is no request.
    let write = format!(
        "SET {setting} = '[[8, [\"/forged\"], null]]'; INSERT INTO page VALUES (7, '/a');
         TRUNCATE page"
    );
    writer.batch_execute(&write).await.unwrap();
    let recorded = "SELECT array_agg(concat_ws(' ', site_id, kind, names) ORDER BY id)
        FROM emperor.purges";
    let recorded: Vec<String> = scalar(&admin, recorded).await;
    // Who may not read the table can't tell what it emptied it of.
    assert_eq!(recorded, ["7 path {/a}", "site {}"]);
    let borrow = "CREATE TEMP TABLE mine (site_id int); CREATE TRIGGER mine AFTER INSERT ON mine
        FOR EACH STATEMENT EXECUTE FUNCTION emperor.record_found_purges('x')";
    for (client, forbidden) in [
        (
            &watcher,
            "SELECT emperor.purge_on_change('of_another', '7', 'VALUES (''/'')')",
        ),
        (&watcher, "SELECT emperor.purge(7, '/')"),
        (&watcher, "SELECT emperor.record_purge(7, 'site', '{}')"),
        (&writer, "SELECT emperor.unwatch('page')"),
        (&writer, "SELECT emperor.purge(7, '/')"),
        (&writer, "SELECT emperor.reload(7)"),
        (&writer, "INSERT INTO emperor.purges (kind) VALUES ('site')"),
        (&writer, "SELECT emperor.purge_wait(NULL)"),
        (&writer, borrow),
    ] {
        not_permitted(client, forbidden).await;
    }
}

#[tokio::test]
async fn who_may_purge_needs_no_right_on_anything_else() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "purger").await;
    grant(&admin, PURGER_GRANTS, "emperor_purger", &role).await;
    let sites = "INSERT INTO emperor.sites (id, slug) VALUES (7, 'b')";
    admin.batch_execute(sites).await.unwrap();
    let purger = connect(&url).await;
    let allowed = "SELECT emperor.purge(7, '/'); SELECT emperor.purge_prefix(7, '/a');
        SELECT emperor.purge_tags(NULL, 'a'); SELECT emperor.purge_site(7)";
    purger.batch_execute(allowed).await.unwrap();
    let wait = "SELECT emperor.purge_wait(NULL)";
    purger.batch_execute(wait).await.unwrap();
    for forbidden in [
        "TABLE emperor.purges",
        "TABLE emperor.purge_readers",
        "SELECT emperor.forget_purges('0 s', '0 s', 0)",
        "SELECT emperor.reload(7)",
    ] {
        not_permitted(&purger, forbidden).await;
    }
}

#[tokio::test]
async fn a_daemon_without_the_schema_follows_purges_with_the_grants_that_are_told() {
    let database = Database::new().await;
    let admin = database.client().await;
    let (role, url) = role(&database, &admin, "follower").await;
    grant(&admin, DAEMON_GRANTS, "emperor_daemon", &role).await;
    let sites = "INSERT INTO emperor.sites (id, slug) VALUES (7, 'b')";
    admin.batch_execute(sites).await.unwrap();
    let mut feed = PurgeFeed::start(PurgeOptions {
        target: DatabaseTarget::parse(&url).unwrap(),
        cluster: None,
        node: "node1".into(),
        targets: vec!["front".into()],
        start_over: true,
        look_interval: std::time::Duration::from_millis(20),
    });
    let handle = feed.handle();
    let all = site_registry::purges::Purge::Everything;
    let mut batches = 0;
    while batches < 3 {
        match soon("the next news", feed.next()).await.unwrap() {
            News::Batch(batch) => {
                handle.acknowledge(batch.reader.unwrap_or(Reader::Cache), batch.mark);
                batches += 1;
            }
            News::Current(_) => {}
            News::Lost(cause) => panic!("{cause}"),
        }
        if batches == 2 {
            handle.purge(None, all.clone()).await.unwrap();
        }
    }
    let lost = (SiteId::new(7).unwrap(), "a.example".into());
    handle.purge_hosts(vec![lost]).await.unwrap();
    handle.dead_letter(DeadLetter {
        target: "front".into(),
        site: None,
        what: all,
        reason: "refused".into(),
    });
    let kept = "SELECT EXISTS (SELECT FROM emperor.purge_dead_letters)";
    crate::support::until_true(&admin, kept).await;
    feed.shutdown().await;
}
