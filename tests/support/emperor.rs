//! The daemon in a test's place, and its command line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::place::{OWN_PROGRAMS, Place};
use crate::processes::Process;
use crate::program;
use crate::wait::{PATIENCE, eventually};

/// The time zone that the daemon is started with.
pub const TIME_ZONE: &str = "Europe/Zurich";

/// A running daemon.
#[derive(Debug)]
pub struct Emperor {
    folder: PathBuf,
    config: PathBuf,
    log: PathBuf,
    daemon: Option<Child>,
}

/// What a command of the command line ended with.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit status.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Outcome {
    /// Runs a command to its end.
    pub async fn of(mut command: Command) -> Self {
        // Off this thread, where visitors of the router have to go on.
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = output.await.unwrap().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Emperor {
    /// Writes the configuration and starts the daemon; returns once it answers on its control
    /// socket.
    pub async fn start(place: &Place, config: &str) -> Self {
        let mut emperor = Self::prepare(place, config);
        emperor.start_again().await;
        emperor
    }

    /// Writes the configuration alone.
    pub fn prepare(place: &Place, config: &str) -> Self {
        let emperor = Self {
            folder: place.path().to_owned(),
            config: place.join("emperor.toml"),
            log: place.join("emperor.log"),
            daemon: None,
        };
        emperor.configure(config);
        emperor
    }

    /// Writes another configuration, to be read at the next SIGHUP or start.
    pub fn configure(&self, config: &str) {
        fs::write(&self.config, config).unwrap();
    }

    /// Starts the daemon on what is there.
    pub async fn start_again(&mut self) {
        self.launch();
        self.answers().await;
    }

    /// Starts the daemon on what is there, and waits for nothing.
    pub fn launch(&mut self) {
        let mut daemon = program::command(self.program());
        daemon.arg("run").arg("--config").arg(&self.config);
        // What is measured should not pay for what only a failed test is told.
        let filter = std::env::var("EMPEROR_LOG");
        let filter = filter.as_deref().unwrap_or("debug,tokio_postgres=info");
        daemon.env("EMPEROR_LOG", filter).env("TZ", TIME_ZONE);
        // What the emperor happens to have is no worker's business.
        daemon.env("OF_THE_EMPEROR", "secret");
        daemon.current_dir(&self.folder);
        self.daemon = Some(program::start_logged(&mut daemon, &self.log));
    }

    /// Waits until it answers on its control socket.
    pub async fn answers(&self) {
        eventually("the control socket", PATIENCE, async || {
            let outcome = self.run(&["status", "--json"]).await;
            if outcome.code == 0 {
                return Ok(());
            }
            Err(format!("{outcome:?}; the log: {}", self.log_text()))
        })
        .await;
    }

    /// Its process.
    pub fn process(&self) -> Process {
        let pid = self.daemon.as_ref().unwrap().id();
        Process::new(i32::try_from(pid).unwrap())
    }

    /// Runs a command of the command line.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = program::command(self.program());
        command.args(arguments).env("EMPEROR_CONFIG", &self.config);
        command.current_dir(&self.folder);
        Outcome::of(command).await
    }

    /// `emperor status --json`.
    pub async fn status(&self) -> Value {
        let outcome = self.run(&["status", "--json"]).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
        serde_json::from_str(&outcome.out).unwrap()
    }

    /// Waits for its link to the database.
    pub async fn connected(&self) {
        eventually("the database", PATIENCE, async || {
            let database = &self.status().await["emperor"]["database"];
            let connected = database["state"] == "connected";
            connected.then_some(()).ok_or_else(|| database.to_string())
        })
        .await;
    }

    /// One site of it.
    pub async fn site(&self, slug: &str) -> Option<Value> {
        let status = self.status().await;
        let mut sites = status["sites"].as_array().unwrap().iter();
        sites.find(|site| site["slug"] == slug).cloned()
    }

    /// Waits until a site is in a state, and returns what is told about it then.
    pub async fn in_state(&self, slug: &str, state: &str) -> Value {
        eventually(&format!("{slug} {state}"), PATIENCE, async || {
            let site = self.site(slug).await;
            let found = site.filter(|site| site["state"] == state);
            found.ok_or_else(|| format!("{:?}", self.log_tail()))
        })
        .await
    }

    /// The router's process, once it runs and has opened its link: a daemon that has just begun, or taken
    /// over what it found, tells of none yet.
    pub async fn router(&self) -> Process {
        eventually("the router", PATIENCE, async || {
            let router = &self.status().await["router"];
            let pid = router["pid"].as_i64().and_then(|pid| pid.try_into().ok());
            let pid = pid.filter(|_| router["state"] == "running");
            pid.map(Process::new).ok_or_else(|| router.to_string())
        })
        .await
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// SIGTERM; waits for the end and returns its exit status.
    pub fn stop(&mut self) -> i32 {
        self.signal(Signal::SIGTERM);
        self.ended(PATIENCE)
    }

    /// Waits for its end.
    pub fn ended(&mut self, within: Duration) -> i32 {
        let mut daemon = self.daemon.take().unwrap();
        let Some(status) = program::wait_for_end(&mut daemon, within) else {
            self.daemon = Some(daemon);
            panic!(
                "the emperor still runs after {within:?}: {}",
                self.log_tail()
            );
        };
        status.code().unwrap_or(-1)
    }

    /// Everything it logged.
    pub fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of its log, for a panic.
    pub fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// A folder of its state.
    pub fn state_dir(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// A folder of its sockets.
    pub fn runtime_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    /// Everything that runs in this place but PostgreSQL.
    pub fn processes(&self) -> Vec<Process> {
        Process::of_without(&self.folder, &self.folder.join("pg"))
    }

    /// The place's own copy, where there is one.
    fn program(&self) -> PathBuf {
        let own = self.folder.join(OWN_PROGRAMS).join("emperor");
        if own.exists() {
            return own;
        }
        program::built("emperor")
    }

    fn clear(folder: &Path) {
        for process in Process::of(folder) {
            process.signal(Signal::SIGKILL);
        }
    }
}

impl Drop for Emperor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _closed = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("--- the end of the emperor's log:\n{}\n", self.log_tail()).as_bytes(),
            );
        }
        if let Some(mut daemon) = self.daemon.take() {
            Process::new(i32::try_from(daemon.id()).unwrap()).signal(Signal::SIGTERM);
            if program::wait_for_end(&mut daemon, Duration::from_secs(20)).is_none() {
                let _gone = daemon.kill();
                let _gone = daemon.wait();
            }
        }
        // Whatever a failed test left behind.
        Self::clear(&self.folder.join("run"));
    }
}
