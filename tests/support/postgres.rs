//! A PostgreSQL server of the test's own, reached by TCP with a password, and what can happen to
//! it: a stop, a restart, a hang, terminated sessions.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::Signal;
use nix::unistd::User;
use tokio_postgres::{Client, Config, NoTls};

use crate::place::{Place, free_port, is_root};
use crate::processes::Process;
use crate::program;
use crate::wait::{PATIENCE, eventually};

/// The emperor's password. It must be seen nowhere but in its configuration.
pub const PASSWORD: &str = "canary-5rT9wQ2x";
/// The emperor's role, and the database it owns.
pub const ROLE: &str = "emperor";
/// Its database.
pub const DATABASE: &str = "sites";

/// The role of the applications, which is no concern of the emperor's.
pub const APPLICATION_ROLE: &str = "application";
/// Its password.
pub const APPLICATION_PASSWORD: &str = "of-the-application";
/// Its database.
pub const APPLICATION_DATABASE: &str = "application";

const SUPERUSER: &str = "postgres";

/// A server.
#[derive(Debug)]
pub struct Postgres {
    folder: PathBuf,
    port: u16,
    owner: Option<User>,
    server: Option<Child>,
}

impl Postgres {
    /// Makes a cluster in a place, starts it, and makes the emperor's role and database.
    pub async fn start(place: &Place) -> Self {
        let owner = is_root().then(unprivileged_user);
        let folder = place.folder("pg");
        if let Some(owner) = &owner {
            chown(&folder, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).unwrap();
        }
        let mut postgres = Self {
            folder,
            port: free_port(),
            owner,
            server: None,
        };
        postgres.initialise();
        postgres.start_again().await;
        postgres.make_database(DATABASE, ROLE, PASSWORD).await;
        postgres
    }

    /// Makes the role and the database of the applications.
    pub async fn make_application_database(&self) {
        let (role, password) = (APPLICATION_ROLE, APPLICATION_PASSWORD);
        self.make_database(APPLICATION_DATABASE, role, password)
            .await;
    }

    /// Makes the role of the applications, and lets it make tables in the emperor's database, where
    /// it has no right in the schema of the emperor. Returns the name of that database.
    pub async fn let_applications_in(&self) -> &'static str {
        let client = self.client().await;
        let role = APPLICATION_ROLE;
        let statements = format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{APPLICATION_PASSWORD}';
            GRANT CREATE ON SCHEMA public TO {role}"
        );
        client.batch_execute(&statements).await.unwrap();
        DATABASE
    }

    async fn make_database(&self, name: &str, owner: &str, password: &str) {
        let client = self.client_of("postgres").await;
        for statement in [
            format!("CREATE ROLE {owner} LOGIN PASSWORD '{password}'"),
            format!("CREATE DATABASE {name} OWNER {owner}"),
        ] {
            client.batch_execute(&statement).await.unwrap();
        }
    }

    /// What the emperor connects with.
    pub fn url(&self) -> String {
        format!(
            "postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{}/{DATABASE}",
            self.port
        )
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A session of the superuser in the emperor's database.
    pub async fn client(&self) -> Client {
        self.client_of(DATABASE).await
    }

    /// A session of the superuser in some database.
    pub async fn client_of(&self, database: &str) -> Client {
        let client = eventually("a session", PATIENCE, async || {
            self.connect(database)
                .await
                .map_err(|error| error.to_string())
        });
        client.await
    }

    async fn connect(&self, database: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config
            .host_path(&self.folder)
            .port(self.port)
            .user(SUPERUSER)
            .dbname(database)
            .application_name("end-to-end");
        let (client, connection) = config.connect(NoTls).await?;
        // It ends with the client, or with the server.
        tokio::spawn(connection);
        Ok(client)
    }

    /// Starts it once more, with what it had.
    pub async fn start_again(&mut self) {
        let mut server = self.command("postgres");
        server
            .arg("-D")
            .arg(self.data())
            .args(["-c", &format!("port={}", self.port)])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .arg("-c")
            .arg(format!("unix_socket_directories={}", self.folder.display()))
            .args(["-c", "fsync=off", "-c", "max_connections=40"])
            // Every statement is told with the name of who asked it.
            .args(["-c", "log_statement=all", "-c", "log_line_prefix=%a|%d|"]);
        self.server = Some(program::start_logged(&mut server, &self.log()));
        self.connected("postgres").await;
    }

    async fn connected(&self, database: &str) {
        drop(self.client_of(database).await);
    }

    /// Ends every session and the server: `SIGINT`, which PostgreSQL calls a fast shutdown.
    pub fn stop(&mut self) {
        self.end_by(Signal::SIGINT);
    }

    /// Ends it without a farewell, so that it has to recover at the next start.
    pub fn crash(&mut self) {
        self.end_by(Signal::SIGQUIT);
    }

    /// Stops the clock of every process of it: connections are accepted by the kernel, and nothing
    /// is ever answered.
    pub fn freeze(&self) {
        self.signal_all(Signal::SIGSTOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal_all(Signal::SIGCONT);
    }

    /// Ends the emperor's sessions, as an administrator or a failover would.
    pub async fn terminate_sessions(&self) -> i64 {
        let statement = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{ROLE}'"
        );
        let client = self.client().await;
        client.query_one(&statement, &[]).await.unwrap().get(0)
    }

    /// How many statements the emperor's role has sent so far.
    pub fn statements_of_the_emperor(&self) -> usize {
        let log = fs::read_to_string(self.log()).unwrap();
        let ours = |line: &&str| {
            let mut parts = line.splitn(3, '|');
            let (application, database) = (parts.next(), parts.next());
            let text = parts.next().unwrap_or_default();
            application != Some("end-to-end")
                && database == Some(DATABASE)
                && (text.contains("statement: ") || text.contains("execute "))
        };
        log.lines().filter(ours).count()
    }

    fn initialise(&self) {
        let password = self.folder.join("password");
        fs::write(&password, "of-the-superuser").unwrap();
        program::run(
            self.command("initdb")
                .arg("-D")
                .arg(self.data())
                .args(["-U", SUPERUSER, "-E", "UTF8", "--locale=C", "--no-sync"])
                .args(["--auth-local=trust", "--auth-host=scram-sha-256"])
                .arg(format!("--pwfile={}", password.display())),
        );
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn command(&self, name: &str) -> Command {
        let mut command = program::command(programs().join(name));
        command.current_dir(&self.folder);
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        command
    }

    fn postmaster(&self) -> Option<Process> {
        let pid = self.server.as_ref()?.id();
        Some(Process::new(i32::try_from(pid).unwrap()))
    }

    fn signal_all(&self, signal: Signal) {
        let postmaster = self.postmaster().unwrap();
        // The postmaster first, so that no child appears unseen.
        postmaster.signal(signal);
        for child in postmaster.children() {
            child.signal(signal);
        }
    }

    fn end_by(&mut self, signal: Signal) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        Process::new(i32::try_from(server.id()).unwrap()).signal(signal);
        let ended = program::wait_for_end(&mut server, PATIENCE);
        if ended.is_none() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.server.is_some() {
            self.thaw();
        }
        self.crash();
    }
}

/// PostgreSQL refuses to run as root.
fn unprivileged_user() -> User {
    let named = |name| User::from_name(name).unwrap();
    let user = named("postgres").or_else(|| named("nobody"));
    user.unwrap()
}

fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let folders = versions.map(|version| version.unwrap().path().join("bin"));
    let installed = folders
        .filter(|folder| folder.join("initdb").is_file())
        .max();
    installed.unwrap_or_else(|| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = std::env::split_paths(&path);
        folders
            .find(|folder| folder.join("initdb").is_file())
            .unwrap_or_else(|| Path::new("/usr/bin").to_owned())
    })
}
