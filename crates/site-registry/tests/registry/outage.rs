//! Sessions that end, servers that stop, hang or fail over: nothing is lost and nothing stalls.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use site_model::{SiteState, SiteStatus};
use site_registry::cluster::{ClusterState, PrivateCluster, url};
use site_registry::{
    ConnectionState, DatabaseTarget, Desired, EditError, LinkError, Source, migrate,
};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

use crate::support::{
    Database, OwnCluster, Running, bare_status, connect, insert_a, open_folder, options, site,
    site_id, soon, until_true,
};

fn ready(id: i64) -> SiteStatus {
    bare_status(site_id(id), SiteState::Ready)
}

#[tokio::test]
async fn no_edit_is_lost_when_sessions_are_terminated() {
    let database = Database::new().await;
    let mut running = database.registry().await;
    let client = database.client().await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE application_name = 'emperor node1' AND datname = current_database()";
    for round in 1..=20_i64 {
        let insert = format!(
            "INSERT INTO emperor.sites (id, slug) VALUES ({round}, 's{round}');
             UPDATE emperor.sites SET extra_config = '{round}'"
        );
        client.batch_execute(terminate).await.unwrap();
        client.batch_execute(&insert).await.unwrap();
        let text = round.to_string();
        let current = |desired: &_| {
            (1..=round).all(|id| site(desired, id).is_some_and(|s| *s.extra_config == *text))
        };
        running.until("the edits of the round", current).await;
    }
    let two = "SELECT count(*) = 2 FROM pg_stat_activity
        WHERE application_name = 'emperor node1' AND datname = current_database()";
    until_true(&client, two).await;
    running.registry.shutdown().await;
    let none = two.replace("= 2", "= 0");
    until_true(&client, &none).await;
}

#[tokio::test]
async fn a_server_that_restarts_disturbs_nothing_and_is_told_everything_again() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let path = own.dir.path().join("snapshot.json");
    let mut running = Running::start(options(cluster.target(), &path)).await;
    let handle = running.registry.handle();
    let client = connect(cluster.url()).await;
    insert_a(&client).await;
    running.until_rows(1).await;
    handle.report(ready(1));
    until_true(&client, "SELECT count(*) = 1 FROM emperor.site_status").await;

    client
        .batch_execute("TRUNCATE emperor.site_status")
        .await
        .unwrap();
    cluster.stop().await.unwrap();
    let mut connection = handle.connection();
    let lost = connection.wait_for(|status| status.state.as_str() == "lost");
    drop(soon("the loss", lost).await.unwrap());
    assert!(
        running.site(1).is_some(),
        "an unreachable database is not an empty one"
    );
    let answer = soon("the answer", handle.disable(site_id(1))).await;
    assert!(matches!(answer, Err(EditError::Link(_))), "{answer:?}");

    let cluster = own.start().await;
    let client = connect(cluster.url()).await;
    let edit = "UPDATE emperor.sites SET extra_config = 'after'";
    client.batch_execute(edit).await.unwrap();
    let arrived = |desired: &_| site(desired, 1).is_some_and(|site| &*site.extra_config == "after");
    running.until("the edit", arrived).await;
    until_true(&client, "SELECT count(*) = 1 FROM emperor.site_status").await;
    running.registry.shutdown().await;
    cluster.stop().await.unwrap();
}

/// A cluster with one row, stopped, and the snapshot of it.
async fn stopped_with_a_row() -> (OwnCluster, PathBuf) {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let snapshot = own.dir.path().join("snapshot.json");
    let mut running = Running::start(options(cluster.target(), &snapshot)).await;
    insert_a(&connect(cluster.url()).await).await;
    running.until_rows(1).await;
    running.registry.shutdown().await;
    cluster.stop().await.unwrap();
    (own, snapshot)
}

#[tokio::test]
async fn a_cluster_that_does_not_start_leaves_the_snapshot_in_force_until_it_does() {
    let (own, snapshot) = stopped_with_a_row().await;
    let settings = own.options.dir.join("data/postgresql.conf");
    let sound = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, "no_such_setting = 1\n").unwrap();

    let cluster = PrivateCluster::begin(own.options.clone()).unwrap();
    let mut options = options(cluster.target(), &snapshot);
    options.cluster = Some(cluster.state());
    let mut running = Running::start_unread(options);
    let mut connection = running.registry.handle().connection();
    let lost = connection.wait_for(|status| status.state.as_str() == "lost");
    let detail = soon("the cause", lost).await.unwrap().detail();
    for words in ["no_such_setting", "postgres.log", "tried again by itself"] {
        assert!(detail.contains(words), "{detail}");
    }
    let is_snapshot = |desired: &Desired| matches!(desired.source, Source::Snapshot { .. });
    running.until("the snapshot", is_snapshot).await;
    assert!(running.site(1).is_some());

    std::fs::write(&settings, sound).unwrap();
    let is_reading = |desired: &Desired| matches!(desired.source, Source::Database { .. });
    running.until("a reading", is_reading).await;
    running.registry.shutdown().await;
    cluster.stop().await.unwrap();
}

/// Time stands still but for the registry's own waits, so none of them came before the snapshot.
#[tokio::test(start_paused = true)]
async fn the_snapshot_is_in_force_while_the_cluster_starts() {
    let dir = open_folder();
    let snapshot = dir.path().join("snapshot.json");
    let document = r#"{"version": 1, "read_at": {"secs_since_epoch": 1, "nanos_since_epoch": 0},
        "rows": [{"rejected": {"id": 1, "slug": "a", "column": "slug", "detail": "x"}}]}"#;
    std::fs::write(&snapshot, document).unwrap();
    let nobody = DatabaseTarget::parse("postgresql://emperor@%2Fnowhere/sites").unwrap();
    let (_keeper, state) = watch::channel(ClusterState::Starting);
    let mut options = options(nobody, &snapshot);
    options.cluster = Some(state);
    let began = tokio::time::Instant::now();
    let mut running = Running::start_unread(options);
    let snapshot = running.desired.wait_for(|desired| desired.is_known()).await;
    assert_eq!(snapshot.unwrap().rows.len(), 1);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_server_that_takes_connections_and_says_nothing_stalls_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let database = Database::new().await;
    let client = database.client().await;
    insert_a(&client).await;
    database.registry().await.registry.shutdown().await;

    let silent = format!("postgresql://emperor@127.0.0.1:{port}/x?connect_timeout=1");
    let target = DatabaseTarget::parse(&silent).unwrap();
    // The second is over when nothing else is left to do, however long that takes.
    tokio::time::pause();
    let mut running = Running::start_unread(options(target, &database.snapshot_path()));
    let handle = running.registry.handle();
    handle.report(ready(1));
    let answer = soon("the answer", handle.disable(site_id(1))).await;
    assert_eq!(answer, Err(EditError::Link(LinkError::NotYet)));
    running.until_rows(1).await;
    let mut connection = handle.connection();
    let lost = connection.wait_for(|status| status.state.as_str() == "lost");
    let cause = soon("the loss", lost).await.unwrap().state.clone();
    assert!(
        matches!(cause, ConnectionState::Lost(LinkError::TimedOut { .. })),
        "{cause:?}"
    );
    soon("the end", running.registry.shutdown()).await;
}

#[tokio::test]
async fn a_hung_host_does_not_keep_the_next_one_from_being_tried() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let database = Database::new().await;
    let rest = database.url.strip_prefix("postgresql://emperor@").unwrap();
    let url = format!("postgresql://emperor@127.0.0.1:{port},{rest}?connect_timeout=1");
    let target = DatabaseTarget::parse(&url).unwrap();
    let running = Running::start(options(target, &database.snapshot_path())).await;
    running.registry.shutdown().await;
}

/// A network between registry and server that can stop carrying bytes without closing anything.
struct Network {
    port: u16,
    frozen: watch::Sender<bool>,
}

impl Network {
    async fn to(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (frozen, receiver) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(stream, socket.clone(), receiver.clone()));
            }
        });
        Self { port, frozen }
    }
}

async fn carry(mut near: TcpStream, socket: PathBuf, mut frozen: watch::Receiver<bool>) {
    let mut far = UnixStream::connect(socket).await.unwrap();
    let mut until = frozen.clone();
    tokio::select! {
        // Either end may close it; what that is to whom is the registry's matter.
        _closed = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
        _frozen = until.wait_for(|frozen| *frozen) => {}
    }
    // Holds both ends open, for as long as the network stays frozen.
    let _thawed = frozen.wait_for(|frozen| !*frozen).await;
}

#[tokio::test]
async fn a_server_that_hangs_later_costs_one_bound_and_then_a_new_link() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let network = Network::to(own.options.socket_dir.join(".s.PGSQL.5432")).await;
    let target = format!("postgresql://emperor@127.0.0.1:{}/sites", network.port);
    let target = DatabaseTarget::parse(&target).unwrap();
    let path = own.dir.path().join("snapshot.json");
    let mut running = Running::start(options(target, &path)).await;
    let handle = running.registry.handle();

    network.frozen.send_replace(true);
    // Nothing moves any more, so the paused clock runs to the next bound by itself.
    tokio::time::pause();
    let answer = handle.resync().await;
    tokio::time::resume();
    assert!(
        matches!(answer, Err(EditError::Link(LinkError::TimedOut { .. }))),
        "{answer:?}"
    );
    let client = connect(cluster.url()).await;
    insert_a(&client).await;
    network.frozen.send_replace(false);
    running.until_rows(1).await;
    running.registry.shutdown().await;
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_failover_is_followed_to_the_host_that_takes_writes() {
    let (one, two) = (OwnCluster::new(), OwnCluster::new());
    let (first, second) = (one.start().await, two.start().await);
    for (cluster, slug) in [(&first, "first"), (&second, "second")] {
        migrate(&cluster.target(), &site_registry::RowSource::Emperor)
            .await
            .unwrap();
        let insert = format!("INSERT INTO emperor.sites (id, slug) VALUES (1, '{slug}')");
        connect(cluster.url())
            .await
            .batch_execute(&insert)
            .await
            .unwrap();
    }
    let both = url(&one.options.socket_dir).replace(
        "/sites",
        &format!(
            ",{}",
            url(&two.options.socket_dir).trim_start_matches("postgresql://emperor@")
        ),
    );
    let target = DatabaseTarget::parse(&format!("{both}?target_session_attrs=read-write"));
    let path = one.dir.path().join("snapshot.json");
    let mut running = Running::start(options(target.unwrap(), &path)).await;
    let slug = |wanted: &'static str| {
        move |d: &Desired| site(d, 1).is_some_and(|s| s.slug.as_str() == wanted)
    };
    running.until("the first host", slug("first")).await;

    let demote = connect(first.url()).await;
    let statement = "ALTER SYSTEM SET default_transaction_read_only = on";
    demote.batch_execute(statement).await.unwrap();
    demote
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    until_true(
        &demote,
        "SELECT current_setting('transaction_read_only')::bool",
    )
    .await;
    let handle = running.registry.handle();
    // The sessions take the new setting up when they next do something.
    soon("the refused write", async {
        while handle.request_reload(vec![site_id(1)]).await.is_ok() {}
    })
    .await;
    running.until("the second host", slug("second")).await;
    running.registry.shutdown().await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test]
async fn several_readers_see_the_same_rows_without_copying_them() {
    let database = Database::new().await;
    let running = database.registry().await;
    let client = database.client().await;
    let insert = "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a'), (2, 'b')";
    client.batch_execute(insert).await.unwrap();
    let mut running = running;
    running.until_rows(2).await;
    let before = running.site(1).unwrap();
    client
        .batch_execute("UPDATE emperor.sites SET template = 'x' WHERE id = 2")
        .await
        .unwrap();
    let changed = |desired: &_| site(desired, 2).is_some_and(|site| site.template.is_some());
    running.until("the change", changed).await;
    running.registry.handle().resync().await.unwrap();
    assert!(Arc::ptr_eq(&before, &running.site(1).unwrap()));
    tokio::time::timeout(Duration::from_secs(30), running.registry.shutdown())
        .await
        .unwrap();
}
