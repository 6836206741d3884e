//! Changes of rows that the emperor makes itself: for who asks it to, and for its configuration.

use site_model::{Alias, AliasKind, HostPattern};
use site_registry::{ConfiguredRow, EditError, SiteChange};

use crate::support::{Database, Running, new_site, site_id, soon};

#[tokio::test]
async fn a_change_is_seen_by_who_made_it_as_soon_as_it_is_answered() {
    let database = Database::new().await;
    let running = database.registry().await;
    let handle = running.registry.handle();
    let mut wanted = new_site("blog");
    wanted.domain = Some("blog.example".parse().unwrap());
    let alias = Alias {
        pattern: "*.blog.example".parse().unwrap(),
        kind: AliasKind::Alias,
    };
    wanted.aliases = vec![alias.clone()];
    let id = handle.add_site(wanted).await.unwrap();
    let found = || running.site(id.get()).unwrap();
    assert_eq!((found().slug.as_str(), found().aliases.len()), ("blog", 1));

    let change = SiteChange {
        slug: Some("log".parse().unwrap()),
        domain: Some(None),
        template: Some(Some("demo".parse().unwrap())),
        extra_config: Some("[env]\n".into()),
        run_as: Some(Some(site_model::RunAs::Auto)),
        pool: Some(Some("shared".into())),
        ..SiteChange::default()
    };
    handle.set_site(id, change).await.unwrap();
    let site = found();
    assert_eq!(
        (
            site.slug.as_str(),
            &site.domain,
            site.enabled,
            &*site.extra_config
        ),
        ("log", &None, true, "[env]\n")
    );
    assert_eq!(site.pool.as_deref(), Some("shared"));
    assert_eq!(site.run_as, Some(site_model::RunAs::Auto));

    handle.disable(id).await.unwrap();
    assert!(!found().enabled);
    handle.enable(id).await.unwrap();
    assert!(found().enabled);
    let redirect = Alias {
        kind: AliasKind::Redirect,
        ..alias.clone()
    };
    handle.set_site(id, adding(&redirect)).await.unwrap();
    assert_eq!(*found().aliases, [redirect]);
    handle.set_site(id, removing(alias.pattern)).await.unwrap();
    assert!(found().aliases.is_empty());
    handle.remove_site(id).await.unwrap();
    assert!(running.desired.borrow().rows.is_empty());
    running.registry.shutdown().await;
}

fn adding(alias: &Alias) -> SiteChange {
    SiteChange {
        add_aliases: vec![alias.clone()],
        ..SiteChange::default()
    }
}

fn removing(host: HostPattern) -> SiteChange {
    SiteChange {
        remove_aliases: vec![host],
        ..SiteChange::default()
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_made_says_why() {
    let database = Database::new().await;
    let running = database.registry().await;
    let handle = running.registry.handle();
    let mut first = new_site("one");
    first.domain = Some("one.example".parse().unwrap());
    first.id = Some(site_id(5));
    handle.add_site(first.clone()).await.unwrap();

    let twin = handle.add_site(new_site("one")).await.unwrap_err();
    assert_eq!(twin, EditError::SlugTaken("one".parse().unwrap()));
    let mut other = new_site("two");
    other.id = Some(site_id(5));
    let error = handle.add_site(other).await.unwrap_err();
    assert_eq!(error, EditError::IdTaken(site_id(5)));

    let second = handle.add_site(new_site("two")).await.unwrap();
    let alias = |host: &str| Alias {
        pattern: host.parse().unwrap(),
        kind: AliasKind::Alias,
    };
    handle
        .set_site(site_id(5), adding(&alias("more.example")))
        .await
        .unwrap();
    for host in ["one.example", "more.example"] {
        let mut change = adding(&alias(host));
        change.slug = Some("renamed".parse().unwrap());
        change.add_aliases.insert(0, alias("free.example"));
        let error = handle.set_site(second, change).await.unwrap_err();
        let expected = format!("host \"{host}\" already belongs to site 5 (one)");
        assert_eq!(error.to_string(), expected);
    }
    let gone = site_id(99);
    for result in [
        handle.enable(gone).await,
        handle.remove_site(gone).await,
        handle.set_site(gone, adding(&alias("x.example"))).await,
        handle
            .set_site(gone, removing("x.example".parse().unwrap()))
            .await,
    ] {
        assert_eq!(result, Err(EditError::NoSuchSite(gone)));
    }
    let missing = handle
        .set_site(second, removing("x.example".parse().unwrap()))
        .await;
    assert!(
        matches!(missing, Err(EditError::NoSuchDomain { .. })),
        "{missing:?}"
    );

    // A failed change leaves nothing of itself.
    handle.resync().await.unwrap();
    let second = running.site(second.get()).unwrap();
    assert_eq!((second.slug.as_str(), second.aliases.len()), ("two", 0));
    let mut half = new_site("three");
    half.aliases = vec![alias("three.example"), alias("one.example")];
    assert!(matches!(
        handle.add_site(half).await,
        Err(EditError::HostTaken(_))
    ));
    assert_eq!(running.desired.borrow().find_slug("three"), None);
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_row_that_somebody_else_holds_is_an_answer_and_not_a_wait() {
    let database = Database::new().await;
    let running = database.registry().await;
    let handle = running.registry.handle();
    let id = handle.add_site(new_site("one")).await.unwrap();
    let client = database.client().await;
    client
        .batch_execute("BEGIN; UPDATE emperor.sites SET template = 'x'")
        .await
        .unwrap();
    let error = soon("the answer", handle.disable(id)).await.unwrap_err();
    assert_eq!(error, EditError::Locked);
    client.batch_execute("ROLLBACK").await.unwrap();
    handle.disable(id).await.unwrap();
    running.registry.shutdown().await;
}

fn configured(slug: &str) -> ConfiguredRow {
    ConfiguredRow {
        slug: slug.parse().unwrap(),
        id: None,
        domain: None,
        template: None,
        extra_config: None,
        run_as: None,
        pool: None,
        enabled: None,
    }
}

#[tokio::test]
async fn configured_rows_are_made_or_changed_and_never_cleared() {
    let database = Database::new().await;
    let client = database.client().await;
    let before = "INSERT INTO emperor.sites (id, slug, domain, template, updated_at) VALUES
        (1, 'same', 'same.example', 'demo', 'epoch'), (2, 'renamed', '', '', 'epoch'),
        (3, 'other', 'other.example', '', 'epoch')";
    client.batch_execute(before).await.unwrap();
    let mut options = database.options();
    options.configured = vec![
        configured("same"),
        ConfiguredRow {
            id: Some(site_id(2)),
            domain: Some("new.example".parse().unwrap()),
            ..configured("new")
        },
        ConfiguredRow {
            domain: Some("other.example".parse().unwrap()),
            ..configured("thief")
        },
        ConfiguredRow {
            id: Some(site_id(7)),
            template: Some("demo".parse().unwrap()),
            ..configured("seven")
        },
        configured("eight"),
    ];
    let started = [Running::start(options.clone()), Running::start(options)];
    for running in futures_util::future::join_all(started).await {
        running.registry.shutdown().await;
    }
    let rows = client
        .query(
            "SELECT id, slug, domain, template, updated_at = 'epoch' FROM emperor.sites ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let rows: Vec<(i64, String, String, String, bool)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect();
    let row = |id, slug: &str, domain: &str, template: &str, untouched| {
        (
            id,
            slug.to_owned(),
            domain.to_owned(),
            template.to_owned(),
            untouched,
        )
    };
    assert_eq!(
        rows,
        [
            row(1, "same", "same.example", "demo", true),
            row(2, "new", "new.example", "", false),
            row(3, "other", "other.example", "", true),
            row(7, "seven", "", "demo", false),
            row(8, "eight", "", "", false),
        ]
    );
}

#[tokio::test]
async fn a_configured_row_joins_a_pool_and_turns_off_no_site_that_is_there() {
    let database = Database::new().await;
    let client = database.client().await;
    let before = "INSERT INTO emperor.sites (id, slug, pool, enabled, updated_at) VALUES
        (1, 'on', 'small', true, 'epoch'), (2, 'off', NULL, false, 'epoch'),
        (3, 'moves', 'small', true, 'epoch'), (4, 'same', 'small', true, 'epoch')";
    client.batch_execute(before).await.unwrap();
    let row = |slug: &str, pool: Option<&str>, enabled| ConfiguredRow {
        pool: pool.map(str::to_owned),
        enabled,
        ..configured(slug)
    };
    let mut options = database.options();
    options.configured = vec![
        row("on", None, Some(false)),
        row("off", None, Some(true)),
        row("moves", Some("big"), None),
        row("same", Some("small"), Some(true)),
        row("new", Some("small"), Some(false)),
    ];
    for _start in 0..2 {
        let running = Running::start(options.clone()).await;
        running.registry.shutdown().await;
    }
    let told = "SELECT format('%s in %s, enabled %s, updated %s', slug, coalesce(pool, 'none'),
        enabled, updated_at > 'epoch') FROM emperor.sites ORDER BY id";
    let rows = client.query(told, &[]).await.unwrap();
    let rows: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(
        rows,
        [
            "on in small, enabled t, updated f",
            "off in none, enabled t, updated t",
            "moves in big, enabled t, updated t",
            "same in small, enabled t, updated f",
            "new in small, enabled f, updated t",
        ]
    );
}
