//! The private cluster: made, adopted, kept running, stopped, and refused with a cause.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::sync::Arc;

use site_registry::cluster::{ClusterError, ClusterState, Durability, PrivateCluster};
use tokio_postgres::NoTls;

use crate::support::{OwnCluster, command, connect, kill_process, soon};

fn is_running(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

async fn refusal(own: &OwnCluster) -> Arc<ClusterError> {
    match PrivateCluster::start(own.options.clone()).await {
        Ok(cluster) => panic!("{cluster:?} was started"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_stopped_cluster_starts_again_with_its_data() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let client = connect(cluster.url()).await;
    client.batch_execute("CREATE TABLE kept ()").await.unwrap();
    let (pid, url) = (own.pid(), cluster.url().to_owned());
    // A client that stays is no reason to stay up.
    cluster.stop().await.unwrap();
    assert!(!is_running(pid));
    let cluster = own.start().await;
    assert_eq!(cluster.url(), url);
    let client = connect(cluster.url()).await;
    client.batch_execute("TABLE kept").await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_a_killed_daemon_left_is_adopted() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let pid = own.pid();
    drop(cluster);
    assert!(is_running(pid));
    let cluster = own.start().await;
    assert_eq!(own.pid(), pid);
    connect(cluster.url())
        .await
        .batch_execute("SELECT 1")
        .await
        .unwrap();
    cluster.stop().await.unwrap();
    assert!(!own.options.dir.join("data/postmaster.pid").exists());
}

#[tokio::test]
async fn a_server_that_was_killed_together_with_its_daemon_is_recovered() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let client = connect(cluster.url()).await;
    client.batch_execute("CREATE TABLE kept ()").await.unwrap();
    drop(cluster);
    let pid = own.pid();
    kill_process(pid);
    let cluster = own.start().await;
    assert_ne!(own.pid(), pid);
    connect(cluster.url())
        .await
        .batch_execute("TABLE kept")
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_with_its_socket_elsewhere_is_started_anew() {
    let mut own = OwnCluster::new();
    drop(own.start().await);
    let pid = own.pid();
    own.options.socket_dir = own.dir.path().join("moved");
    let cluster = own.start().await;
    assert_ne!(own.pid(), pid);
    connect(cluster.url())
        .await
        .batch_execute("SELECT 1")
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_killed_is_started_again() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let pid = own.pid();
    kill_process(pid);
    soon("the new server", async {
        while tokio_postgres::connect(cluster.url(), NoTls).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_ne!(own.pid(), pid);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_lock_whose_pid_went_to_another_process_is_no_obstacle() {
    let own = OwnCluster::new();
    own.start().await.stop().await.unwrap();
    let data = own.options.dir.join("data");
    let owner = std::fs::metadata(&data).unwrap().uid();
    let mut other = command("sleep").arg("60").uid(owner).spawn().unwrap();
    let sockets = own.options.socket_dir.display().to_string();
    let lock = format!("{}\n{}\n1\n5432\n{sockets}\n", other.id(), data.display());
    std::fs::write(data.join("postmaster.pid"), &lock).unwrap();
    std::fs::write(own.options.socket_dir.join(".s.PGSQL.5432.lock"), lock).unwrap();
    let cluster = own.start().await;
    assert_ne!(own.pid(), other.id());
    assert!(is_running(other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_and_root_can_connect_and_commits_reach_the_disk() {
    let mut own = OwnCluster::new();
    own.options.durability = Durability::Full;
    let cluster = own.start().await;
    for folder in [&own.options.dir, &own.options.socket_dir] {
        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
    }
    let socket = own.options.socket_dir.join(".s.PGSQL.5432");
    let mode = std::fs::metadata(socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let client = connect(cluster.url()).await;
    let row = client
        .query_one("SHOW listen_addresses", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "");
    let row = client.query_one("SHOW fsync", &[]).await.unwrap();
    assert_eq!(row.get::<_, &str>(0), "on");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_of_another_major_version_is_named_with_what_to_do() {
    let own = OwnCluster::new();
    own.start().await.stop().await.unwrap();
    std::fs::write(own.options.dir.join("data/PG_VERSION"), "12\n").unwrap();
    let error = refusal(&own).await.to_string();
    assert!(
        error.contains("was made by PostgreSQL 12, found here: "),
        "{error}"
    );
    assert!(error.contains("pg_upgrade"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_start_is_told_with_its_last_words() {
    let own = OwnCluster::new();
    own.start().await.stop().await.unwrap();
    let settings = own.options.dir.join("data/postgresql.conf");
    std::fs::write(settings, "no_such_setting = 1\n").unwrap();
    let error = refusal(&own).await;
    assert!(matches!(*error, ClusterError::Ended { .. }), "{error:?}");
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn an_interrupted_initdb_is_no_cluster() {
    let own = OwnCluster::new();
    let unfinished = own.options.dir.join("data.unfinished");
    std::fs::create_dir_all(&unfinished).unwrap();
    std::fs::write(unfinished.join("PG_VERSION"), "15\n").unwrap();
    let cluster = own.start().await;
    assert!(!unfinished.exists());
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_named() {
    let mut own = OwnCluster::new();
    let file = own.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    own.options.dir = file.join("postgres");
    let error = refusal(&own).await;
    assert!(
        matches!(&*error, ClusterError::File { path, .. } if *path == own.options.dir),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_socket_that_only_another_configuration_can_place_is_refused_at_once() {
    let mut own = OwnCluster::new();
    own.options.socket_dir = own.dir.path().join("x".repeat(107));
    let error = PrivateCluster::begin(own.options.clone()).unwrap_err();
    assert!(
        matches!(error, ClusterError::SocketPath { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_cluster_that_is_stopped_while_it_cannot_start_ends() {
    let mut own = OwnCluster::new();
    let file = own.dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    own.options.dir = file.join("postgres");
    let cluster = PrivateCluster::begin(own.options.clone()).unwrap();
    let mut state = cluster.state();
    let failed = state.wait_for(|state| matches!(state, ClusterState::Failed(_)));
    drop(soon("the failure", failed).await.unwrap());
    soon("the end", cluster.stop()).await.unwrap();
}

#[tokio::test]
async fn what_an_operator_makes_without_a_schema_is_in_public() {
    let own = OwnCluster::new();
    let cluster = own.start().await;
    let client = connect(cluster.url()).await;
    let make = "CREATE SCHEMA emperor; CREATE TABLE emperor.own (); CREATE TABLE notes ()";
    client.batch_execute(make).await.unwrap();
    client
        .batch_execute("TABLE public.notes; TABLE own")
        .await
        .unwrap();
    let choose = "ALTER DATABASE sites SET search_path = pg_catalog";
    client.batch_execute(choose).await.unwrap();
    cluster.stop().await.unwrap();

    let cluster = own.start().await;
    let client = connect(cluster.url()).await;
    let path = client.query_one("SHOW search_path", &[]).await.unwrap();
    assert_eq!(
        path.get::<_, &str>(0),
        "pg_catalog",
        "an operator's choice stays"
    );
    cluster.stop().await.unwrap();
}
