//! Servers, databases and waiting for the tests of this binary.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use site_model::{Site, SiteId, SiteState, SiteStatus};
use site_registry::cluster::{ClusterOptions, Durability, Owner, PrivateCluster};
use site_registry::{
    DatabaseTarget, Desired, NewSite, Registry, RegistryOptions, Row, RowSource, migrate,
};
use tokio::sync::{OnceCell, watch};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::FromSql;
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Far more than anything here takes, also on a machine that does ten other things; a test that waits so
/// long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// A folder that PostgreSQL's user can get to.
pub(crate) fn open_folder() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("registry-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Options of a cluster whose data are worth nothing.
pub(crate) fn cluster_options(dir: &Path) -> ClusterOptions {
    ClusterOptions {
        dir: dir.join("postgres"),
        socket_dir: dir.join("sock"),
        fallback_owner: Some(Owner {
            uid: 65534,
            gid: 65534,
        }),
        durability: Durability::None,
    }
}

/// A cluster for one test.
pub(crate) struct OwnCluster {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) options: ClusterOptions,
}

impl OwnCluster {
    pub(crate) fn new() -> Self {
        let dir = open_folder();
        let options = cluster_options(dir.path());
        Self { dir, options }
    }

    pub(crate) async fn start(&self) -> PrivateCluster {
        PrivateCluster::start(self.options.clone()).await.unwrap()
    }

    /// The number in `postmaster.pid`.
    pub(crate) fn pid(&self) -> u32 {
        server_pid(&self.options.dir)
    }
}

impl Drop for OwnCluster {
    /// A test that failed must not leave its server.
    fn drop(&mut self) {
        let lock = self.options.dir.join("data/postmaster.pid");
        if lock.exists() {
            // It may be ending already.
            let _gone = kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGQUIT);
        }
    }
}

pub(crate) fn server_pid(dir: &Path) -> u32 {
    let text = std::fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().trim().parse().unwrap()
}

/// Kills a process.
pub(crate) fn kill_process(pid: u32) {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).unwrap();
}

/// Runs a program that has to succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = command(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests run the real programs beside the registry"
)]
pub(crate) fn command(program: &str) -> std::process::Command {
    std::process::Command::new(program)
}

struct Shared {
    url: String,
    /// Ends the server when this process ends, however it does: its standard input closes then.
    _watchdog: Child,
}

static SHARED: OnceCell<Shared> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

async fn start_shared() -> Shared {
    let dir = open_folder().keep();
    let cluster = PrivateCluster::start(cluster_options(&dir)).await.unwrap();
    let url = cluster.url().to_owned();
    // Dropped without being stopped, the server goes on.
    drop(cluster);
    let pid = server_pid(&dir.join("postgres"));
    let script = format!(
        "cat >/dev/null; kill -QUIT {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.05; done; \
         rm -rf {}",
        dir.display()
    );
    let watchdog = command("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    Shared {
        url,
        _watchdog: watchdog,
    }
}

/// A database of the shared server.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) name: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Database {
    /// An empty one.
    pub(crate) async fn empty() -> Self {
        let shared = SHARED.get_or_init(start_shared).await;
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{number}");
        let admin = connect(&shared.url).await;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        let base = shared.url.rsplit_once('/').unwrap().0;
        Self {
            url: format!("{base}/{name}"),
            name,
            dir: open_folder(),
        }
    }

    /// One with the schema.
    pub(crate) async fn new() -> Self {
        let database = Self::empty().await;
        migrate(&database.target(), &RowSource::Emperor)
            .await
            .unwrap();
        database
    }

    pub(crate) fn target(&self) -> DatabaseTarget {
        DatabaseTarget::parse(&self.url).unwrap()
    }

    /// A session with every right.
    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    pub(crate) fn snapshot_path(&self) -> PathBuf {
        self.dir.path().join("snapshot.json")
    }

    pub(crate) fn options(&self) -> RegistryOptions {
        options(self.target(), &self.snapshot_path())
    }

    /// A running registry that has read everything once.
    pub(crate) async fn registry(&self) -> Running {
        Running::start(self.options()).await
    }
}

/// Options with the defaults of the configuration.
pub(crate) fn options(target: DatabaseTarget, snapshot: &Path) -> RegistryOptions {
    RegistryOptions {
        target,
        cluster: None,
        source: RowSource::Emperor,
        node: "node1".into(),
        migrate: true,
        resync_interval: Duration::from_mins(5),
        max_removals_percent: 50,
        snapshot_path: snapshot.to_owned(),
        configured: vec![],
    }
}

/// A registry and its levels.
pub(crate) struct Running {
    pub(crate) registry: Registry,
    pub(crate) desired: watch::Receiver<Arc<Desired>>,
}

impl Running {
    pub(crate) async fn start(options: RegistryOptions) -> Self {
        let mut running = Self::start_unread(options);
        running.until("the first reading", Desired::is_known).await;
        running
    }

    pub(crate) fn start_unread(options: RegistryOptions) -> Self {
        let registry = Registry::start(options);
        let desired = registry.handle().desired();
        Self { registry, desired }
    }

    /// Waits until desired state is as it should be.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Desired) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.desired.wait_for(|d| holds(d))).await;
        let held = waited.is_ok_and(|seen| seen.is_ok());
        if !held {
            let status = self.registry.handle().connection().borrow().clone();
            panic!("{what}: {:?}; {status:?}", self.desired.borrow());
        }
    }

    /// Waits until so many rows are known.
    pub(crate) async fn until_rows(&mut self, count: usize) {
        let what = format!("{count} rows");
        self.until(&what, |desired| desired.rows.len() == count)
            .await;
    }

    pub(crate) fn site(&self, id: i64) -> Option<Arc<Site>> {
        site(&self.desired.borrow(), id)
    }
}

/// The site with an id, if it is there and valid.
pub(crate) fn site(desired: &Desired, id: i64) -> Option<Arc<Site>> {
    match desired.rows.get(&site_id(id))? {
        Row::Site(site) => Some(Arc::clone(site)),
        Row::Rejected(_) => None,
    }
}

/// A site of which nothing is given but its slug.
pub(crate) fn new_site(slug: &str) -> NewSite {
    NewSite {
        slug: slug.parse().unwrap(),
        id: None,
        domain: None,
        aliases: vec![],
        enabled: true,
        template: None,
        extra_config: String::new(),
        run_as: None,
        pool: None,
    }
}

/// The status of a site that has nothing else to tell.
pub(crate) fn bare_status(id: SiteId, state: SiteState) -> SiteStatus {
    SiteStatus {
        id,
        state,
        detail: String::new(),
        hosts: vec![],
        revision: None,
        wanted: None,
        restarts: 0,
        instances: vec![],
    }
}

pub(crate) fn site_id(id: i64) -> SiteId {
    SiteId::new(id).unwrap()
}

/// A session over a unix socket, driven until it is dropped.
pub(crate) async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async move {
        // A session that is terminated on purpose ends with an error.
        if let Err(error) = connection.await {
            writeln!(std::io::stderr(), "test session: {error}").unwrap();
        }
    });
    client
}

/// Inserts site 1, called `a`.
pub(crate) async fn insert_a(client: &Client) {
    let insert = "INSERT INTO emperor.sites (id, slug) VALUES (1, 'a')";
    client.batch_execute(insert).await.unwrap();
}

/// The one value that a query yields.
pub(crate) async fn scalar<T: for<'a> FromSql<'a>>(client: &Client, query: &str) -> T {
    client.query_one(query, &[]).await.unwrap().get(0)
}

/// Has statements refused for a reason that says this, and yields its code.
pub(crate) async fn refused(client: &Client, statement: &str, said: &str) -> SqlState {
    let error = client.batch_execute(statement).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert!(
        error.message().contains(said),
        "{statement}: {}",
        error.message()
    );
    error.code().clone()
}

/// Awaits something that has to happen.
pub(crate) async fn soon<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, awaited).await;
    waited.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Asks until a query answers `true`, for what tells nobody when it happens.
pub(crate) async fn until_true(client: &Client, query: &str) {
    soon(query, async {
        while !scalar::<bool>(client, query).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// The payloads that one statement is notified with.
pub(crate) async fn payloads_of(database: &Database, statement: &str) -> Vec<String> {
    payloads_on(database, "emperor", statement).await
}

/// The payloads on one channel that one statement is notified with.
pub(crate) async fn payloads_on(
    database: &Database,
    channel: &str,
    statement: &str,
) -> Vec<String> {
    let (client, mut connection) = tokio_postgres::connect(&database.url, NoTls).await.unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1_000);
    let driver = tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
            if let AsyncMessage::Notification(said) = message.unwrap() {
                sender.send(said.payload().to_owned()).await.unwrap();
            }
        }
    });
    let listen = format!("LISTEN {channel}");
    client.batch_execute(&listen).await.unwrap();
    client.batch_execute(statement).await.unwrap();
    let end = format!("NOTIFY {channel}, 'end'");
    client.batch_execute(&end).await.unwrap();
    let mut payloads = Vec::new();
    while let Some(payload) = receiver.recv().await.filter(|payload| payload != "end") {
        payloads.push(payload);
    }
    drop(client);
    driver.await.unwrap();
    payloads
}

pub(crate) async fn check_payloads(database: &Database, statement: &str, expected: &[&str]) {
    assert_eq!(
        payloads_of(database, statement).await,
        expected,
        "{statement}"
    );
}
