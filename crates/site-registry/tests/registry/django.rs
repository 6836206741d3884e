//! Sites that Django keeps: tables as its migrations make them, and what becomes of their rows.

use std::time::Duration;

use site_model::{AliasKind, RejectionReason};
use site_registry::{
    ConfiguredRow, Desired, DjangoTables, EditError, LinkError, RegistryOptions, Row, RowSource,
    SiteChange, migrate, read_rows,
};
use tokio_postgres::Client;

use crate::support::{
    Database, Running, check_payloads, connect, new_site, refused, scalar, site, site_id, soon,
};

/// `django.contrib.sites`, with the row that its migration makes.
const SITES: &str = "
CREATE TABLE public.django_site (
    id serial PRIMARY KEY, domain varchar(100) NOT NULL UNIQUE, name varchar(50) NOT NULL
);
INSERT INTO public.django_site (domain, name) VALUES ('example.com', 'example.com');";
/// django-multisite-plus.
const PLUS: &str = "
CREATE TABLE public.django_multisite_plus_site (
    site_id integer PRIMARY KEY REFERENCES public.django_site DEFERRABLE INITIALLY DEFERRED,
    real_domain varchar(255) NOT NULL, slug varchar(255) NOT NULL UNIQUE,
    extra_uwsgi_ini text NOT NULL, is_enabled boolean NOT NULL,
    last_updated_at timestamptz NOT NULL
);";
/// django-multisite.
const ALIAS: &str = "
CREATE TABLE public.multisite_alias (
    id serial PRIMARY KEY, domain varchar(100) NOT NULL UNIQUE, is_canonical boolean,
    redirect_to_canonical boolean NOT NULL,
    site_id integer NOT NULL REFERENCES public.django_site DEFERRABLE INITIALLY DEFERRED,
    UNIQUE (is_canonical, site_id)
);";

fn source() -> RowSource {
    RowSource::Django(DjangoTables {
        schema: "public".into(),
    })
}

fn options(database: &Database) -> RegistryOptions {
    RegistryOptions {
        source: source(),
        ..database.options()
    }
}

async fn house(tables: &[&str]) -> (Database, Client) {
    let database = Database::empty().await;
    let client = database.client().await;
    client.batch_execute(&tables.concat()).await.unwrap();
    (database, client)
}

async fn running(database: &Database) -> Running {
    Running::start(options(database)).await
}

/// What the row with an id is rejected for.
fn rejection(desired: &Desired, id: i64) -> Option<(&'static str, String)> {
    match desired.rows.get(&site_id(id))? {
        Row::Rejected(rejected) => match &rejected.reason {
            RejectionReason::Column { column, detail } => Some((column, detail.clone())),
            other => panic!("{other:?}"),
        },
        Row::Site(_) => None,
    }
}

fn domain(desired: &Desired, id: i64) -> Option<String> {
    Some(site(desired, id)?.domain.as_ref()?.to_string())
}

#[tokio::test]
async fn django_site_alone_is_enough_and_each_commit_is_told() {
    let (database, client) = house(&[SITES]).await;
    let mut running = running(&database).await;
    let first = running.site(1).unwrap();
    assert_eq!(first.slug.as_str(), "example-com");
    assert!(first.enabled && first.template.is_none() && first.aliases.is_empty());

    let insert = "INSERT INTO django_site (domain, name) VALUES ('b.example:8000', 'b')";
    client.batch_execute(insert).await.unwrap();
    running
        .until("the new site", |d| {
            domain(d, 2).as_deref() == Some("b.example")
        })
        .await;
    let rename = "UPDATE django_site SET domain = 'c.example' WHERE id = 2";
    client.batch_execute(rename).await.unwrap();
    running
        .until("the new domain", |d| {
            domain(d, 2).as_deref() == Some("c.example")
        })
        .await;
    client
        .batch_execute("DELETE FROM django_site WHERE id = 2")
        .await
        .unwrap();
    running.until("the end", |d| d.rows.len() == 1).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn what_the_packages_keep_is_joined_in() {
    let (database, client) = house(&[SITES, PLUS, ALIAS]).await;
    let rows = "
        INSERT INTO django_site (domain, name) SELECT n || '.stage', n FROM generate_series(2, 4) n;
        INSERT INTO django_multisite_plus_site VALUES
            (2, 'live.example', 'live', 'workers = 5', true, now()), (3, '', 'made', '', true, now()),
            (4, 'off.example', 'off', '', false, now());
        INSERT INTO multisite_alias (domain, is_canonical, redirect_to_canonical, site_id) VALUES
            ('2.stage', true, true, 2), ('old.example:80', NULL, true, 2),
            ('*.live.example', NULL, false, 2);";
    client.batch_execute(rows).await.unwrap();
    let mut running = running(&database).await;
    let live = running.site(2).unwrap();
    assert_eq!(live.slug.as_str(), "live");
    assert_eq!(&*live.extra_uwsgi_ini, "workers = 5");
    let aliases = live.aliases.iter();
    let aliases: Vec<_> = aliases
        .map(|alias| (alias.pattern.to_string(), alias.kind))
        .collect();
    assert_eq!(
        aliases,
        [
            ("old.example".to_owned(), AliasKind::Redirect),
            ("*.live.example".to_owned(), AliasKind::Alias)
        ]
    );
    let desired = running.desired.borrow().clone();
    assert_eq!(domain(&desired, 2).as_deref(), Some("live.example"));
    assert_eq!(domain(&desired, 3), None, "made from the slug");
    assert!(!running.site(4).unwrap().enabled);

    let enable = "UPDATE django_multisite_plus_site SET is_enabled = true WHERE site_id = 4";
    client.batch_execute(enable).await.unwrap();
    let enabled = |d: &Desired| site(d, 4).is_some_and(|site| site.enabled);
    running.until("the site enabled", enabled).await;
    let alias = "INSERT INTO multisite_alias (domain, redirect_to_canonical, site_id)
        VALUES ('four.example', false, 4)";
    client.batch_execute(alias).await.unwrap();
    let has_it = |d: &Desired| site(d, 4).is_some_and(|site| site.aliases.len() == 1);
    running.until("the alias", has_it).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_row_that_can_t_be_run_is_rejected_alone_and_names_its_column() {
    let (database, client) = house(&[SITES, PLUS, ALIAS]).await;
    let rows = "
        INSERT INTO django_site (domain, name) VALUES
            ('no host', ''), ('a.b.example', ''), ('a-b.example', ''), ('any.example', ''),
            ('plus.example', '');
        INSERT INTO django_multisite_plus_site VALUES (6, '', 'No_Label', '', true, now());
        INSERT INTO multisite_alias (domain, redirect_to_canonical, site_id) VALUES ('*', true, 5);";
    client.batch_execute(rows).await.unwrap();
    let mut running = running(&database).await;
    let desired = running.desired.borrow().clone();
    let column = |id| rejection(&desired, id).map(|(column, _)| column);
    assert_eq!(column(1), None);
    assert_eq!(column(2), Some("django_site.domain"));
    assert_eq!(column(3), None);
    let (column_of_slug, detail) = rejection(&desired, 4).unwrap();
    assert_eq!(column_of_slug, "django_site.domain");
    assert!(
        detail.contains("\"a-b-example\"") && detail.contains("site 3"),
        "{detail}"
    );
    assert_eq!(column(5), Some("multisite_alias.domain"));
    assert_eq!(column(6), Some("django_multisite_plus_site.slug"));

    // The row that stood in its way goes: the other can be run.
    client
        .batch_execute("DELETE FROM django_site WHERE id = 3")
        .await
        .unwrap();
    running
        .until("the slug is free", |d| site(d, 4).is_some())
        .await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn what_django_has_no_column_for_is_set_beside_it() {
    let (database, _client) = house(&[SITES]).await;
    let mut running = running(&database).await;
    let handle = running.registry.handle();
    let change = SiteChange {
        slug: Some("main".parse().unwrap()),
        template: Some(Some("gunicorn".parse().unwrap())),
        extra_config: Some("[vars]\nworkers = 2\n".into()),
        pool: Some(Some("small".into())),
        ..SiteChange::default()
    };
    handle.set_site(site_id(1), change).await.unwrap();
    let site = running.site(1).unwrap();
    assert_eq!(site.slug.as_str(), "main");
    assert_eq!(site.template.as_ref().unwrap().as_str(), "gunicorn");
    assert_eq!(site.pool.as_deref(), Some("small"));
    handle.disable(site_id(1)).await.unwrap();
    let site = running.site(1).unwrap();
    assert!(!site.enabled && site.extra_config.contains("workers"));
    handle.request_reload(vec![site_id(1)]).await.unwrap();
    handle.request_reload_all().await.unwrap();
    let reloaded = |d: &Desired| crate::support::site(d, 1).is_some_and(|site| site.reloads == 2);
    running.until("the reloads", reloaded).await;
    let missing = handle.disable(site_id(9)).await;
    assert_eq!(missing, Err(EditError::NoSuchSite(site_id(9))));
    running.registry.shutdown().await;
}

#[tokio::test]
async fn what_is_django_s_is_not_changed_by_the_emperor() {
    let (database, client) = house(&[SITES]).await;
    let running = running(&database).await;
    let handle = running.registry.handle();
    let new = new_site("new");
    let domain = SiteChange {
        domain: Some(Some("x.example".parse().unwrap())),
        ..SiteChange::default()
    };
    for refused in [
        handle.add_site(new).await.map(drop),
        handle.remove_site(site_id(1)).await,
        handle.set_site(site_id(1), domain).await,
    ] {
        assert!(
            matches!(refused, Err(EditError::KeptByDjango(_))),
            "{refused:?}"
        );
    }
    let rows = client.query("SELECT domain FROM django_site", &[]).await;
    let rows = rows.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<_, String>(0), "example.com");
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_site_of_the_configuration_says_what_django_can_t() {
    let (database, client) = house(&[SITES]).await;
    let configured = |id: Option<i64>, slug: &str, template: Option<&str>| ConfiguredRow {
        slug: slug.parse().unwrap(),
        id: id.map(site_id),
        domain: None,
        template: template.map(|name| name.parse().unwrap()),
        extra_config: Some(String::new()),
        run_as: None,
        pool: None,
        enabled: None,
    };
    let start = async |rows: Vec<ConfiguredRow>| {
        let options = RegistryOptions {
            configured: rows,
            ..options(&database)
        };
        let running = Running::start(options).await;
        let site = running.site(1).unwrap();
        running.registry.shutdown().await;
        site
    };
    let missing = configured(None, "nowhere", Some("node"));
    let by_slug = configured(None, "example-com", Some("gunicorn"));
    let site = start(vec![missing, by_slug.clone()]).await;
    assert_eq!(site.template.as_ref().unwrap().as_str(), "gunicorn");

    let version = "SELECT xmin::text FROM emperor.django_sites";
    let before: String = scalar(&client, version).await;
    start(vec![by_slug]).await;
    let after: String = scalar(&client, version).await;
    assert_eq!(before, after, "a row that is as configured is not touched");

    let site = start(vec![configured(Some(1), "main", None)]).await;
    assert_eq!(site.slug.as_str(), "main");
    assert_eq!(site.template.as_ref().unwrap().as_str(), "gunicorn");

    let pooled = ConfiguredRow {
        pool: Some("small".to_owned()),
        enabled: Some(false),
        ..configured(None, "main", None)
    };
    let site = start(vec![pooled]).await;
    assert_eq!((site.pool.as_deref(), site.enabled), (Some("small"), true));
    let off = "UPDATE emperor.django_sites SET enabled = false";
    client.batch_execute(off).await.unwrap();
    let enabled = |enabled| ConfiguredRow {
        enabled: Some(enabled),
        ..configured(None, "main", None)
    };
    assert!(!start(vec![enabled(false)]).await.enabled);
    let site = start(vec![enabled(true)]).await;
    assert_eq!((site.pool.as_deref(), site.enabled), (Some("small"), true));
}

#[tokio::test]
async fn the_triggers_tell_which_rows_and_hinder_nobody() {
    let (database, client) = house(&[SITES, PLUS, ALIAS]).await;
    migrate(&database.target(), &source()).await.unwrap();
    let writer = format!(
        "CREATE ROLE writer_{0} LOGIN; GRANT ALL ON ALL TABLES IN SCHEMA public TO writer_{0};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO writer_{0}",
        database.name
    );
    client.batch_execute(&writer).await.unwrap();
    for (statement, expected) in [
        (
            "INSERT INTO django_site (domain, name) VALUES ('b', ''), ('c', '')",
            &["2,3"][..],
        ),
        ("UPDATE django_site SET name = 'x'", &["1,2,3"]),
        ("UPDATE django_site SET name = 'x' WHERE false", &[]),
        (
            "INSERT INTO django_multisite_plus_site VALUES (2, '', 'b', '', true, now())",
            &["2"],
        ),
        (
            "INSERT INTO multisite_alias (domain, redirect_to_canonical, site_id)
             VALUES ('d', true, 3)",
            &["3"],
        ),
        ("BEGIN; DELETE FROM multisite_alias; ROLLBACK", &[]),
        ("TRUNCATE multisite_alias", &["*"]),
        (
            "INSERT INTO emperor.django_sites (site_id) VALUES (3)",
            &["3"],
        ),
    ] {
        check_payloads(&database, statement, expected).await;
    }
    // Somebody who has no right in schema emperor.
    let url = database
        .url
        .replacen("emperor@", &format!("writer_{}@", database.name), 1);
    let writer = connect(&url).await;
    writer
        .batch_execute("UPDATE public.django_site SET name = 'y'")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_table_made_anew_is_noticed_and_found_and_heard_again() {
    let (database, client) = house(&[SITES, ALIAS]).await;
    let options = RegistryOptions {
        resync_interval: Duration::from_millis(200),
        ..options(&database)
    };
    let mut running = Running::start(options).await;
    // As a migration does that SQLite's users know: a new table under the old one's name.
    let remake = "
        BEGIN; DROP TABLE multisite_alias; CREATE TABLE public.again AS TABLE django_site;
        DROP TABLE django_site;
        ALTER TABLE again RENAME TO django_site;
        UPDATE django_site SET domain = 'd.example'; COMMIT;";
    client.batch_execute(remake).await.unwrap();
    let found = |d: &Desired| domain(d, 1).as_deref() == Some("d.example");
    running.until("what nobody told", found).await;
    running.registry.shutdown().await;

    let silent = read_rows(&database.target(), &source())
        .await
        .unwrap()
        .silent;
    assert_eq!(silent, ["django_site"]);
    let migrated = migrate(&database.target(), &source()).await.unwrap();
    assert_eq!(migrated.heard_again, ["django_site"]);
    let silent = read_rows(&database.target(), &source())
        .await
        .unwrap()
        .silent;
    assert!(silent.is_empty(), "{silent:?}");
    check_payloads(&database, "UPDATE django_site SET name = 'z'", &["1"]).await;
}

#[tokio::test]
async fn columns_may_change_under_a_running_emperor() {
    let (database, client) = house(&[SITES]).await;
    let mut running = running(&database).await;
    let change = "
        ALTER TABLE django_site ALTER COLUMN domain TYPE varchar(200),
            ALTER COLUMN id TYPE bigint;
        ALTER TABLE django_site ADD COLUMN extra text, DROP COLUMN name;
        UPDATE django_site SET domain = 'wide.example';";
    client.batch_execute(change).await.unwrap();
    let wide = |d: &Desired| domain(d, 1).as_deref() == Some("wide.example");
    running.until("the new shape", wide).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn without_the_table_nothing_stops_and_the_cause_is_told() {
    let (database, client) = house(&[SITES]).await;
    let mut running = running(&database).await;
    client
        .batch_execute("DROP TABLE django_site")
        .await
        .unwrap();
    let handle = running.registry.handle();
    let refused = handle.resync().await.unwrap_err();
    let cause = LinkError::NoDjango("public".into());
    assert_eq!(refused, EditError::Link(cause));
    assert_eq!(
        running.desired.borrow().rows.len(),
        1,
        "it goes on as last known"
    );
    let again = format!("{SITES} UPDATE django_site SET domain = 'back.example'");
    client.batch_execute(&again).await.unwrap();
    let back = |d: &Desired| domain(d, 1).as_deref() == Some("back.example");
    running.until("the table", back).await;
    running.registry.shutdown().await;
}

#[tokio::test]
async fn sites_of_django_s_can_be_reloaded_and_purged_in_sql() {
    let (database, client) = house(&[SITES]).await;
    migrate(&database.target(), &source()).await.unwrap();
    check_payloads(&database, "SELECT emperor.reload(1)", &["1"]).await;
    check_payloads(&database, "SELECT emperor.reload(NULL)", &["1"]).await;
    let watch = "
        CREATE TABLE public.post (site_id int);
        SELECT emperor.purge_on_change('post', 'row.site_id', 'VALUES (''/'')');
        INSERT INTO post VALUES (1), (77); SELECT emperor.purge_site(1);";
    soon("the purges", client.batch_execute(watch))
        .await
        .unwrap();
    let purged = "SELECT array_agg(site_id || ' ' || kind ORDER BY id) FROM emperor.purges";
    let purged: Vec<String> = scalar(&client, purged).await;
    assert_eq!(purged, ["1 path", "1 site"]);
    for missing in ["SELECT emperor.reload(77)", "SELECT emperor.purge_site(77)"] {
        refused(&client, missing, "no site with id 77").await;
    }
}
