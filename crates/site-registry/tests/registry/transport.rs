//! TLS, passwords and pooling proxies, with the real programs.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use site_registry::cluster::find_programs;
use site_registry::{ConnectionState, DatabaseTarget, LinkError, schema_status};
use tokio_postgres::NoTls;

use crate::support::{
    Database, OwnCluster, Running, command, connect, insert_a, options, run, soon,
};

const PASSWORD: &str = "correct-horse-battery";

/// A port nobody listens at now, below those that the kernel gives out for outgoing connections: it is
/// bound only after a while.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A child that ends with its test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ended = self.0.kill();
        let _collected = self.0.wait();
    }
}

/// Makes an authority and a certificate for `localhost` that it signed.
fn certificates(dir: &Path) {
    let path = |name: &str| dir.join(name).display().to_string();
    let key = ["req", "-newkey", "rsa:2048", "-nodes", "-subj"];
    let authority = [
        "/CN=Test authority",
        "-x509",
        "-days",
        "2",
        "-keyout",
        &path("ca.key"),
        "-out",
        &path("ca.pem"),
    ];
    run("openssl", &[&key[..], &authority[..]].concat());
    let request = [
        "/CN=localhost",
        "-keyout",
        &path("server.key"),
        "-out",
        &path("server.csr"),
    ];
    run("openssl", &[&key[..], &request[..]].concat());
    std::fs::write(dir.join("ext"), "subjectAltName = DNS:localhost\n").unwrap();
    run(
        "openssl",
        &[
            "x509",
            "-req",
            "-days",
            "2",
            "-in",
            &path("server.csr"),
            "-CA",
            &path("ca.pem"),
            "-CAkey",
            &path("ca.key"),
            "-CAcreateserial",
            "-extfile",
            &path("ext"),
            "-out",
            &path("server.pem"),
        ],
    );
}

/// Puts a certificate and the rules of access into the data folder.
fn accept_tls_only(own: &OwnCluster, data: &Path) {
    certificates(own.dir.path());
    let owner = std::fs::metadata(data).unwrap();
    for name in ["server.key", "server.pem"] {
        let inside = data.join(name);
        std::fs::copy(own.dir.path().join(name), &inside).unwrap();
        std::fs::set_permissions(&inside, PermissionsExt::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&inside, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    let rules = "local all all trust\nhostssl all all all scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), rules).unwrap();
}

/// A server that listens on TCP, lets only TLS in, and asks for a password.
async fn tls_server(own: &OwnCluster, port: u16) -> Background {
    let cluster = own.start().await;
    let set = format!("ALTER ROLE emperor PASSWORD '{PASSWORD}'");
    connect(cluster.url())
        .await
        .batch_execute(&set)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
    let data = own.options.dir.join("data");
    let owner = std::fs::metadata(&data).unwrap();
    accept_tls_only(own, &data);
    let programs = find_programs(std::env::var_os("PATH").as_deref()).await;
    let postgres = programs[0].postgres();
    let child = command(postgres.to_str().unwrap())
        .arg("-D")
        .arg(&data)
        .args([
            "-p",
            &port.to_string(),
            "-c",
            "ssl=on",
            "-c",
            "listen_addresses=127.0.0.1,::1",
        ])
        .args([
            "-c",
            "ssl_cert_file=server.pem",
            "-c",
            "ssl_key_file=server.key",
        ])
        .args(["-c", "fsync=off", "-c"])
        .arg(format!(
            "unix_socket_directories={}",
            own.options.socket_dir.display()
        ))
        .current_dir("/")
        .uid(owner.uid())
        .gid(owner.gid())
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let child = Background(child);
    soon("the server", async {
        let url = site_registry::cluster::url(&own.options.socket_dir);
        let url = url.replace("/sites", &format!(":{port}/sites"));
        while tokio_postgres::connect(&url, NoTls).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    child
}

async fn check_tls(url: &str, expected: fn(&Result<(), LinkError>) -> bool) {
    let opened = schema_status(&DatabaseTarget::parse(url).unwrap())
        .await
        .map(drop);
    assert!(expected(&opened), "{url}: {opened:?}");
    let said = format!("{opened:?}");
    assert!(!said.contains(PASSWORD), "{said}");
}

#[tokio::test]
async fn sslmode_means_what_it_means_in_libpq() {
    let own = OwnCluster::new();
    let port = free_port();
    let _server = tls_server(&own, port).await;
    let root = own.dir.path().join("ca.pem").display().to_string();
    let login = format!("postgresql://emperor:{PASSWORD}");
    let (name, address) = (
        format!("{login}@localhost:{port}/sites"),
        format!("{login}@127.0.0.1:{port}/sites"),
    );
    let tls: fn(&Result<(), LinkError>) -> bool = |r| matches!(r, Err(LinkError::Tls(_)));
    let refused: fn(&Result<(), LinkError>) -> bool =
        |r| matches!(r, Err(LinkError::LoginRefused(_)));
    let file: fn(&Result<(), LinkError>) -> bool =
        |r| matches!(r, Err(LinkError::RootCertificates { .. }));
    for (url, expected) in [
        (format!("{name}?sslmode=disable"), refused),
        (name.clone(), Result::is_ok),
        (format!("{address}?sslmode=require"), Result::is_ok),
        (
            format!("{name}?sslmode=verify-full&sslrootcert={root}"),
            Result::is_ok,
        ),
        (
            format!("{address}?sslmode=verify-full&sslrootcert={root}"),
            tls,
        ),
        (
            format!("{address}?sslmode=verify-ca&sslrootcert={root}"),
            Result::is_ok,
        ),
        (
            format!("{address}?sslmode=require&sslrootcert={root}"),
            Result::is_ok,
        ),
        (
            format!("{name}?sslmode=verify-full&sslrootcert=/nowhere.pem"),
            file,
        ),
        (name.replace(PASSWORD, "wrong"), refused),
        (name.replace(&format!(":{PASSWORD}"), ""), refused),
    ] {
        check_tls(&url, expected).await;
    }
    // An authority of the same name is not the same authority.
    certificates(own.dir.path());
    check_tls(
        &format!("{name}?sslmode=verify-full&sslrootcert={root}"),
        tls,
    )
    .await;
    check_tls(&format!("{name}?sslmode=verify-ca&sslrootcert={root}"), tls).await;
}

/// A `PgBouncer` before the shared server.
async fn pgbouncer(database: &Database, mode: &str) -> (Background, String) {
    let dir = database.dir.path();
    let host = database.url.split(['@', '/']).nth(3).unwrap();
    let server = percent_encoding::percent_decode_str(host)
        .decode_utf8()
        .unwrap()
        .into_owned();
    let owner = std::fs::metadata(&server).unwrap();
    let front = dir.join("front");
    std::fs::create_dir(&front).unwrap();
    std::os::unix::fs::chown(&front, Some(owner.uid()), Some(owner.gid())).unwrap();
    std::fs::write(dir.join("users"), "\"emperor\" \"\"\n").unwrap();
    let settings = format!(
        "[databases]\n* = host={server}\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\n\
         unix_socket_dir = {}\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\n",
        front.display(),
        dir.join("users").display()
    );
    let file = dir.join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    let child = command("pgbouncer")
        .arg(&file)
        .uid(owner.uid())
        .gid(owner.gid())
        .current_dir("/")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let child = Background(child);
    let url = site_registry::cluster::url(&front);
    let url = url.replace("/sites", &format!(":6432/{}", database.name));
    soon("pgbouncer", async {
        while tokio_postgres::connect(&url, NoTls).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    (child, url)
}

#[tokio::test]
async fn a_proxy_that_pools_transactions_is_named() {
    let database = Database::new().await;
    let (_proxy, url) = pgbouncer(&database, "transaction").await;
    let target = DatabaseTarget::parse(&url).unwrap();
    let running = Running::start_unread(options(target, &database.snapshot_path()));
    let mut connection = running.registry.handle().connection();
    let lost = connection.wait_for(|status| status.state.as_str() == "lost");
    let status = soon("the finding", lost).await.unwrap().clone();
    assert_eq!(status.state, ConnectionState::Lost(LinkError::Pooled));
    assert!(
        status.detail().contains("pool_mode=session"),
        "{}",
        status.detail()
    );
    running.registry.shutdown().await;
}

#[tokio::test]
async fn a_proxy_that_pools_sessions_is_as_good_as_none() {
    let database = Database::new().await;
    let (_proxy, url) = pgbouncer(&database, "session").await;
    let target = DatabaseTarget::parse(&url).unwrap();
    let mut running = Running::start(options(target, &database.snapshot_path())).await;
    let client = database.client().await;
    insert_a(&client).await;
    running.until_rows(1).await;
    running.registry.shutdown().await;
}
