//! Following purges: whatever commits, whenever, is told once to each reader, or said to be missed.

use std::time::Duration;

use site_registry::purges::{Batch, DeadLetter, News, Purge, PurgeFeed, PurgeOptions, Reader};
use tokio_postgres::Client;

use crate::support::{Database, site_id, soon, until_true};

/// So long that a test which passes never waits for it.
const NEVER: Duration = Duration::from_mins(5);

fn options(database: &Database, targets: &[&str]) -> PurgeOptions {
    PurgeOptions {
        target: database.target(),
        cluster: None,
        node: "node1".into(),
        targets: targets.iter().map(ToString::to_string).collect(),
        start_over: false,
        look_interval: NEVER,
    }
}

async fn house() -> (Database, Client) {
    let database = Database::new().await;
    let client = database.client().await;
    let sites = "INSERT INTO emperor.sites (id, slug) SELECT n, 's' || n
        FROM generate_series(1, 5) n";
    client.batch_execute(sites).await.unwrap();
    (database, client)
}

async fn next(feed: &mut PurgeFeed) -> News {
    soon("the next news", feed.next()).await.unwrap()
}

async fn batch(feed: &mut PurgeFeed) -> Batch {
    loop {
        match next(feed).await {
            News::Batch(batch) => return batch,
            News::Current(_) => {}
            News::Lost(cause) => panic!("lost: {cause}"),
        }
    }
}

/// The next batch after what may be told of a lost link before.
async fn batch_after_loss(feed: &mut PurgeFeed) -> Batch {
    loop {
        if let News::Batch(batch) = next(feed).await {
            return batch;
        }
    }
}

/// The paths of a batch, each of which its test purged alone.
fn paths(batch: &Batch) -> Vec<String> {
    let path = |what: &Purge| match what {
        Purge::Paths(paths) => paths.join(" "),
        other => format!("{other:?}"),
    };
    batch.events.iter().map(|event| path(&event.what)).collect()
}

/// A feed whose first batch is carried out.
async fn following(database: &Database, targets: &[&str]) -> PurgeFeed {
    let mut feed = PurgeFeed::start(options(database, targets));
    for reader in 0..=targets.len() {
        let first = batch(&mut feed).await;
        assert_eq!(first.missed, reader == 0, "{first:?}");
        let reader = first.reader.unwrap();
        feed.handle().acknowledge(reader, first.mark);
    }
    let client = database.client().await;
    let there = "SELECT EXISTS (SELECT FROM emperor.purge_readers WHERE reader = 'cache')";
    until_true(&client, there).await;
    feed
}

async fn purge(client: &Client, path: &str) {
    let purge = format!("SELECT emperor.purge(1, '{path}')");
    client.batch_execute(&purge).await.unwrap();
}

#[tokio::test]
async fn commits_that_overtake_each_other_are_each_told_once() {
    let (database, client) = house().await;
    let mut feed = following(&database, &[]).await;
    let slow = database.client().await;
    slow.batch_execute("BEGIN").await.unwrap();
    purge(&slow, "/first").await;
    purge(&client, "/second").await;
    assert_eq!(paths(&batch(&mut feed).await), ["/second"]);
    purge(&client, "/third").await;
    assert_eq!(paths(&batch(&mut feed).await), ["/third"]);
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(paths(&batch(&mut feed).await), ["/first"]);
    purge(&client, "/fourth").await;
    assert_eq!(paths(&batch(&mut feed).await), ["/fourth"]);
    feed.shutdown().await;
}

#[tokio::test]
async fn writers_at_once_lose_nothing() {
    let (database, client) = house().await;
    let mut feed = following(&database, &[]).await;
    let writers: Vec<_> = (0..6)
        .map(|writer| {
            let url = database.url.clone();
            tokio::spawn(async move {
                let client = crate::support::connect(&url).await;
                for number in 0..30 {
                    client.batch_execute("BEGIN").await.unwrap();
                    purge(&client, &format!("/{writer}/{number}")).await;
                    let end = if number % 5 == 4 {
                        "ROLLBACK"
                    } else {
                        "COMMIT"
                    };
                    client.batch_execute(end).await.unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    purge(&client, "/end").await;
    let mut told = Vec::new();
    while told.last().map(String::as_str) != Some("/end") {
        told.extend(paths(&batch(&mut feed).await));
    }
    told.pop();
    assert_eq!(told.len(), 6 * 24);
    for writer in 0..6 {
        let prefix = format!("/{writer}/");
        let of_writer = told.iter().filter_map(|path| path.strip_prefix(&prefix));
        let numbers: Vec<u32> = of_writer.map(|number| number.parse().unwrap()).collect();
        let committed: Vec<u32> = (0..30).filter(|number| number % 5 != 4).collect();
        assert_eq!(numbers, committed, "in the order of their commits");
    }
    feed.shutdown().await;
}

#[tokio::test]
async fn a_lost_link_is_told_and_what_was_committed_meanwhile_is_told_after_it() {
    let (database, client) = house().await;
    let mut feed = following(&database, &[]).await;
    purge(&client, "/before").await;
    let before = batch(&mut feed).await;
    feed.handle().acknowledge(Reader::Cache, before.mark);
    let gate = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", database.name);
    let admin = crate::support::connect(&database.url.replace(&database.name, "postgres")).await;
    admin.batch_execute(&gate).await.unwrap();
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE '% purges'";
    client.batch_execute(kill).await.unwrap();
    assert!(matches!(next(&mut feed).await, News::Lost(_)));
    purge(&client, "/meanwhile").await;
    admin
        .batch_execute(&gate.replace("false", "true"))
        .await
        .unwrap();
    let after = batch(&mut feed).await;
    assert_eq!(
        (paths(&after), after.missed),
        (vec!["/meanwhile".to_owned()], false)
    );
    feed.shutdown().await;
}

#[tokio::test]
async fn each_reader_goes_on_where_it_was() {
    let (database, client) = house().await;
    let mut feed = following(&database, &["front"]).await;
    purge(&client, "/1").await;
    let first = batch(&mut feed).await;
    feed.handle().acknowledge(Reader::Cache, first.mark.clone());
    feed.handle()
        .acknowledge(Reader::Target("front".into()), first.mark);
    purge(&client, "/2").await;
    let second = batch(&mut feed).await;
    assert_eq!(second.reader, None);
    // The target doesn't get it done before the end.
    feed.handle().acknowledge(Reader::Cache, second.mark);
    feed.shutdown().await;
    purge(&client, "/3").await;
    let mut feed = PurgeFeed::start(options(&database, &["front"]));
    let cache = batch(&mut feed).await;
    assert_eq!(
        (&cache.reader, paths(&cache)),
        (&Some(Reader::Cache), vec!["/3".into()])
    );
    let front = batch(&mut feed).await;
    assert_eq!(front.reader, Some(Reader::Target("front".into())));
    assert_eq!(paths(&front), ["/2", "/3"]);
    assert!(!cache.missed && !front.missed);
    feed.shutdown().await;
}

#[tokio::test]
async fn what_can_not_be_known_any_more_is_said_to_be_missed() {
    for change in [
        // Deleted, since nobody came back for it.
        "SELECT emperor.forget_purges('0 s', '0 s') = 1",
        // The database was restored into another server, or lost what was committed last.
        "UPDATE emperor.purge_readers SET server = 'another' RETURNING true",
        "UPDATE emperor.purge_readers SET through = '99999999:99999999:' RETURNING true",
    ] {
        let (database, client) = house().await;
        following(&database, &[]).await.shutdown().await;
        purge(&client, "/").await;
        let gone = "UPDATE emperor.purge_readers SET seen_at = now() - interval '1 hour'";
        client.batch_execute(gone).await.unwrap();
        // Transactions of other databases keep back what is forgotten, for as long as they last.
        until_true(&client, change).await;
        let mut feed = PurgeFeed::start(options(&database, &[]));
        let first = batch(&mut feed).await;
        assert!(
            first.missed && first.events.is_empty(),
            "{change}: {first:?}"
        );
        // The next start has nothing to complain about.
        feed.handle().acknowledge(Reader::Cache, first.mark);
        feed.shutdown().await;
        let mut feed = PurgeFeed::start(options(&database, &[]));
        assert!(!batch(&mut feed).await.missed, "{change}");
        feed.shutdown().await;
    }
}

#[tokio::test]
async fn a_purge_without_a_notification_is_found_at_the_next_look() {
    let (database, client) = house().await;
    let full = "CREATE OR REPLACE FUNCTION emperor.may_notify() RETURNS boolean
        LANGUAGE sql AS 'SELECT false'";
    client.batch_execute(full).await.unwrap();
    let mut options = options(&database, &[]);
    options.look_interval = Duration::from_millis(20);
    let mut feed = PurgeFeed::start(options);
    assert!(batch(&mut feed).await.missed);
    purge(&client, "/quiet").await;
    assert_eq!(paths(&batch(&mut feed).await), ["/quiet"]);
    feed.shutdown().await;
}

#[tokio::test]
async fn caches_are_told_that_they_are_known_to_be_there_while_purges_come_too() {
    let (database, client) = house().await;
    let mut options = options(&database, &[]);
    options.look_interval = Duration::from_millis(20);
    let mut feed = PurgeFeed::start(options);
    let mut moments = Vec::new();
    while moments.len() < 3 {
        purge(&client, "/often").await;
        match next(&mut feed).await {
            News::Batch(batch) => feed.handle().acknowledge(Reader::Cache, batch.mark),
            News::Current(since) => moments.push(since),
            News::Lost(cause) => panic!("lost: {cause}"),
        }
    }
    assert!(moments.is_sorted_by(|before, after| before < after));
    feed.shutdown().await;
}

#[tokio::test]
async fn many_purges_at_once_become_one_of_each_site() {
    let (database, client) = house().await;
    following(&database, &[]).await.shutdown().await;
    let many = "INSERT INTO emperor.purges (site_id, kind, names)
        SELECT 1 + n % 2, 'path', ARRAY['/' || n] FROM generate_series(1, 10001) n";
    client.batch_execute(many).await.unwrap();
    let mut feed = PurgeFeed::start(options(&database, &[]));
    let told = batch(&mut feed).await;
    let mut sites: Vec<_> = told
        .events
        .iter()
        .map(|e| (e.site, e.what.clone()))
        .collect();
    sites.sort_by_key(|(site, _)| *site);
    let whole = |id| (Some(site_id(id)), Purge::Everything);
    assert_eq!(sites, [whole(1), whole(2)]);
    feed.shutdown().await;
}

#[tokio::test]
async fn hosts_that_were_lost_are_named_to_every_reader_however_much_else_is_purged() {
    let (database, client) = house().await;
    following(&database, &[]).await.shutdown().await;
    let many = "INSERT INTO emperor.purges (site_id, kind, names)
        SELECT 1, 'path', ARRAY['/' || n] FROM generate_series(1, 10001) n";
    client.batch_execute(many).await.unwrap();
    let mut feed = PurgeFeed::start(options(&database, &[]));
    // The second site is gone.
    let lost = [(1, "b.example"), (99, "*.c.example"), (1, "a.example")];
    let lost = lost.map(|(site, host)| (site_id(site), host.to_owned()));
    soon("the record", feed.handle().purge_hosts(lost.to_vec()))
        .await
        .unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        let batch = batch(&mut feed).await;
        told.extend(
            batch
                .events
                .into_iter()
                .map(|event| (event.site, event.what)),
        );
    }
    let hosts = |names: &[&str]| Purge::Hosts(names.iter().map(ToString::to_string).collect());
    assert_eq!(
        told,
        [
            (Some(site_id(1)), Purge::Everything),
            (Some(site_id(1)), hosts(&["a.example", "b.example"])),
            (Some(site_id(99)), hosts(&["*.c.example"])),
        ]
    );
    feed.shutdown().await;
}

#[tokio::test]
async fn who_starts_over_has_known_targets_purged_whole_until_that_is_done() {
    let (database, _client) = house().await;
    following(&database, &["front"]).await.shutdown().await;
    let starts_over = || PurgeOptions {
        start_over: true,
        ..options(&database, &["front", "new"])
    };
    let mut missed = Vec::new();
    let mut feed = PurgeFeed::start(starts_over());
    for _ in 0..3 {
        let first = batch(&mut feed).await;
        missed.push((first.reader.clone().unwrap(), first.missed));
        if first.reader == Some(Reader::Cache) {
            feed.handle().acknowledge(Reader::Cache, first.mark);
        }
    }
    let target = |name: &str| Reader::Target(name.into());
    assert_eq!(
        missed,
        [
            (Reader::Cache, false),
            (target("front"), true),
            // It begins with the present.
            (target("new"), false),
        ]
    );
    feed.shutdown().await;
    // Whoever comes next needs no word of it: the target hasn't acknowledged.
    for expected in [true, false] {
        let mut feed = PurgeFeed::start(options(&database, &["front"]));
        batch(&mut feed).await;
        let first = batch(&mut feed).await;
        assert_eq!(first.missed, expected);
        feed.handle().acknowledge(target("front"), first.mark);
        feed.shutdown().await;
    }
}

#[tokio::test]
async fn who_waits_for_a_purge_waits_for_the_acknowledgement() {
    let (database, client) = house().await;
    let mut feed = following(&database, &[]).await;
    let event = feed
        .handle()
        .purge(Some(site_id(2)), Purge::Tags(vec!["a".into()]))
        .await
        .unwrap();
    let wait = |limit| format!("SELECT emperor.purge_wait({event}, '{limit}')");
    let waited = client.query_one(&wait("20ms"), &[]).await.unwrap();
    assert!(!waited.get::<_, bool>(0));
    let told = batch(&mut feed).await;
    assert_eq!(told.events[0].id, event);
    feed.handle().acknowledge(Reader::Cache, told.mark);
    let waited = soon("the wait", client.query_one(&wait("1 minute"), &[])).await;
    assert!(waited.unwrap().get::<_, bool>(0));
    let refused = feed
        .handle()
        .purge(Some(site_id(99)), Purge::Everything)
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("no site with id 99"), "{refused}");
    feed.shutdown().await;
    // Nobody waits for a node that said farewell.
    let event = "SELECT emperor.purge_wait(NULL, '0 s') FROM emperor.purge(1, '/')";
    client
        .batch_execute("SELECT emperor.purge(1, '/')")
        .await
        .unwrap();
    assert!(
        client
            .query_one(event, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    );
}

#[tokio::test]
async fn what_a_target_does_not_take_is_kept_for_people() {
    let (database, client) = house().await;
    let feed = following(&database, &[]).await;
    feed.handle().dead_letter(DeadLetter {
        target: "front".into(),
        site: Some(site_id(3)),
        what: Purge::Paths(vec!["/a".into()]),
        reason: "403 Forbidden".into(),
    });
    let kept = "SELECT EXISTS (SELECT FROM emperor.purge_dead_letters
        WHERE node = 'node1' AND target = 'front' AND site_id = 3 AND names = '{/a}'
            AND reason = '403 Forbidden')";
    until_true(&client, kept).await;
    feed.shutdown().await;
}

#[tokio::test]
async fn a_slow_consumer_leaves_the_rest_in_the_table() {
    let (database, client) = house().await;
    let mut feed = following(&database, &[]).await;
    for number in 0..40 {
        purge(&client, &format!("/{number}")).await;
    }
    let mut told = Vec::new();
    while told.len() < 40 {
        told.extend(paths(&batch_after_loss(&mut feed).await));
    }
    let expected: Vec<_> = (0..40).map(|number| format!("/{number}")).collect();
    assert_eq!(told, expected);
    feed.shutdown().await;
}
