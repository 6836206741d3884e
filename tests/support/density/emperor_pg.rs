//! uWSGI's emperor, which polls the same table with `emperor_pg`, and its HTTP router.
//!
//! Of Debian's packages: the plugin isn't part of what pip installs. The options are those that
//! django-multisite-plus runs its sites with, with one worker.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::Child;

use nix::sys::signal::Signal;

use super::Mode;
use crate::desk::Unserved;
use crate::place::{free_port, python};
use crate::postgres::{APPLICATION_PASSWORD, APPLICATION_ROLE, DATABASE};
use crate::processes::Process;
use crate::wait::eventually;
use crate::{Client, PATIENCE, Postgres, program};

/// What the emperor logs of each vassal once.
const READY: &str = " is ready to accept requests";

/// One master with both in it.
#[derive(Debug)]
pub(super) struct EmperorPg {
    running: Option<Child>,
    project: Unserved,
    sockets: PathBuf,
    log: PathBuf,
    port: u16,
}

impl EmperorPg {
    pub(super) fn new(project: Unserved) -> Self {
        Self {
            running: None,
            sockets: project.place.folder("s"),
            log: project.place.join("uwsgi.log"),
            port: free_port(),
            project,
        }
    }

    pub(super) async fn start(&mut self, mode: Mode, sites: usize) {
        fs::write(&self.log, "").unwrap();
        let mut uwsgi = program::command("uwsgi-core");
        uwsgi
            .args(["--master", "--plugins", "emperor_pg,http"])
            .arg(format!("--http=127.0.0.1:{}", self.port))
            .arg(format!("--http-use-pattern={}/%s", self.sockets.display()))
            .args(["--http-keepalive=75", "--emperor"])
            .arg(self.source(mode));
        self.running = Some(program::start_logged(&mut uwsgi, &self.log));
        eventually("uWSGI's sites", 5 * PATIENCE, async || {
            let there = match mode {
                Mode::Awake => self.said(READY),
                Mode::Asleep => fs::read_dir(&self.sockets).unwrap().count(),
            };
            (there >= sites)
                .then_some(())
                .ok_or_else(|| format!("{there} are there"))
        })
        .await;
    }

    pub(super) fn stop(&mut self) {
        let mut uwsgi = self.running.take().unwrap();
        let tree = Process::new(i32::try_from(uwsgi.id()).unwrap()).tree();
        tree[0].signal(Signal::SIGINT);
        if program::wait_for_end(&mut uwsgi, PATIENCE).is_none() {
            uwsgi.kill().unwrap();
            uwsgi.wait().unwrap();
        }
        for left in tree {
            left.signal(Signal::SIGKILL);
        }
        for socket in fs::read_dir(&self.sockets).unwrap() {
            fs::remove_file(socket.unwrap().path()).unwrap();
        }
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.port)
    }

    pub(super) fn postgres(&self) -> &Postgres {
        &self.project.postgres
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        let uwsgi = self.running.as_ref().unwrap().id();
        Process::new(i32::try_from(uwsgi).unwrap()).tree()
    }

    fn said(&self, words: &str) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        log.matches(words).count()
    }

    /// The connection and the statement, in the columns that `emperor_pg` expects.
    fn source(&self, mode: Mode) -> String {
        let socket = format!("'{}/' || domain", self.sockets.display());
        let (line, waits) = match mode {
            Mode::Awake => (format!("'socket = ' || {socket}"), String::new()),
            // The emperor has it, and starts the vassal at its first connection.
            Mode::Asleep => ("''".to_owned(), format!(", '0', '0', {socket}")),
        };
        let port = self.project.postgres.port();
        format!(
            "pg://host=127.0.0.1 port={port} dbname={DATABASE} user={APPLICATION_ROLE} \
             password={APPLICATION_PASSWORD};SELECT domain || '.ini', E'{}' || {line} || \
             E'\\nenv = SITE_ID=' || id || E'\\n', 1{waits} FROM django_site",
            self.vassal().replace('\n', "\\n")
        )
    }

    fn vassal(&self) -> String {
        let environment = python();
        let environment = environment.ancestors().nth(2).unwrap().display();
        let mut ini = format!(
            "[uwsgi]\nplugins = python3\nvirtualenv = {environment}\nchdir = {}\n\
             module = house.wsgi:application\nmaster = true\nworkers = 1\nlazy-apps = true\n\
             need-app = true\nenable-threads = true\nvacuum = true\nmax-requests = 500\n\
             harakiri = 120\ndisable-logging = true\n",
            self.project.folder.display()
        );
        for (name, value) in self.project.environment() {
            writeln!(ini, "env = {name}={value}").unwrap();
        }
        ini
    }
}

impl Drop for EmperorPg {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.stop();
        }
    }
}
