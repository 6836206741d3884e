//! Real caches in front of the router, configured as `docs/PURGING.md` says: what a transaction changes
//! is gone from them too, also when they were away meanwhile.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::Signal;
use support::paper::HOST;
use support::place::free_port;
use support::wait::{PATIENCE, eventually};
use support::{Client, House, Paper, Place, program};

const GUIDE: &str = include_str!("../../docs/PURGING.md");
const NGINX_MODULE: &str = "/usr/lib/nginx/modules/ngx_http_cache_purge_module.so";
const SECRET: &str = "of this test\n";
/// A host that is now one site's and now another's.
const MOVING: &str = "moving.example";

#[tokio::test]
async fn varnish_in_front_drops_what_was_changed_also_while_it_or_the_emperor_was_away() {
    let place = Place::new();
    let mut varnish = Varnish::prepare(&place);
    let mut paper = Paper::open(3, &varnish.target()).await;
    paper.watch().await;
    varnish.start(paper.house.port);
    let front = Client::new(varnish.port);
    filled(&front, &["/1", "/2", "/3"]).await;

    write(&paper, "UPDATE page SET version = 1 WHERE path = '/1'").await;
    shows(&front, "/1", 1).await;
    assert_eq!(version(&front, "/2").await, 0);

    // It answers nobody, and the emperor is gone before it does again.
    varnish.signal(Signal::SIGSTOP);
    write(&paper, "UPDATE page SET version = 2 WHERE path = '/2'").await;
    eventually("a purge that waits", PATIENCE, async || {
        let status = paper.house.emperor.status().await;
        let target = &status["emperor"]["purges"]["targets"][0];
        let fails = target["failing"].is_string() && target["queued"] == 1;
        fails.then_some(()).ok_or_else(|| target.to_string())
    })
    .await;
    paper.house.emperor.signal(Signal::SIGKILL);
    paper.house.emperor.ended(PATIENCE);
    varnish.signal(Signal::SIGCONT);
    assert_eq!(version(&front, "/2").await, 0, "nobody purged it yet");
    paper.house.emperor.start_again().await;
    shows(&front, "/2", 2).await;
    assert_eq!(version(&front, "/3").await, 0);
}

#[tokio::test]
async fn nginx_in_front_drops_what_was_changed() {
    let place = Place::new();
    let mut nginx = Nginx::prepare(&place);
    let paper = Paper::open(2, &nginx.target()).await;
    paper.watch().await;
    nginx.start(paper.house.port);
    let front = Client::new(nginx.port);
    filled(&front, &["/1", "/2"]).await;
    write(&paper, "UPDATE page SET version = 1 WHERE path = '/1'").await;
    shows(&front, "/1", 1).await;
    assert_eq!(version(&front, "/2").await, 0);
}

#[tokio::test]
async fn a_host_that_moves_shows_no_page_of_the_site_before_whenever_the_emperor_dies() {
    let place = Place::new();
    let mut varnish = Varnish::prepare(&place);
    let mut house = House::open_with(&varnish.target()).await;
    let one = house.insert_tiny("one", "one").await;
    let two = house.insert_tiny("two", "two").await;
    let moving = "INSERT INTO emperor.domains (host, site_id) VALUES ($1, $2)";
    house.sql(moving, &[&MOVING, &one]).await;
    varnish.start(house.port);
    let front = Client::new(varnish.port);
    leads_to(&front, "one").await;

    // The router leads to the other site, and the purge can't be recorded yet.
    let locker = house.postgres.client().await;
    let lock = "BEGIN; LOCK TABLE emperor.purges IN SHARE MODE";
    locker.batch_execute(lock).await.unwrap();
    give(&house, two).await;
    leads_to(&house.client, "two").await;
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
    locker.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(
        shown(&front).await,
        Ok("one".to_owned()),
        "nobody purged it"
    );
    house.emperor.start_again().await;
    leads_to(&front, "two").await;

    // It moves while no emperor runs.
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
    give(&house, one).await;
    assert_eq!(shown(&front).await, Ok("two".to_owned()));
    house.emperor.start_again().await;
    leads_to(&front, "one").await;

    // An emperor that ended in order, and another one: whoever moved nothing has lost nothing.
    house.emperor.stop();
    house.emperor.start_again().await;
    leads_to(&front, "one").await;
    give(&house, two).await;
    leads_to(&front, "two").await;
    let client = house.postgres.client().await;
    let recorded = "SELECT DISTINCT kind, unnest(names) FROM emperor.purges";
    let recorded = client.query(recorded, &[]).await.unwrap();
    let purged: Vec<(String, String)> = recorded
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(purged, [("host".to_owned(), MOVING.to_owned())]);
}

async fn give(house: &House, site: i64) {
    let give = "UPDATE emperor.domains SET site_id = $1 WHERE host = $2";
    house.sql(give, &[&site, &MOVING]).await;
}

/// The marker of the site whose page is under the host that moves.
async fn shown(front: &Client) -> Result<String, String> {
    let answer = front.try_get(MOVING, "/").await;
    let answer = answer.map_err(|failure| format!("{failure:?}"))?;
    if !answer.status.is_success() {
        return Err(answer.text());
    }
    Ok(answer.json()["marker"].as_str().unwrap().to_owned())
}

async fn leads_to(front: &Client, site: &str) {
    eventually(&format!("a page of {site}"), PATIENCE, async || {
        let shown = shown(front).await?;
        (shown == site).then_some(()).ok_or(shown)
    })
    .await;
}

async fn write(paper: &Paper, statement: &str) {
    paper.writer().await.batch_execute(statement).await.unwrap();
}

/// Asks for pages until each comes.
async fn filled(front: &Client, paths: &[&str]) {
    for path in paths {
        eventually(&format!("{path} through the cache"), PATIENCE, async || {
            let answer = front.try_get(HOST, path).await;
            let answer = answer.map_err(|failure| format!("{failure:?}"))?;
            let is_there = answer.status.is_success();
            is_there.then_some(()).ok_or_else(|| answer.text())
        })
        .await;
    }
}

async fn version(front: &Client, path: &str) -> i64 {
    let page = front.get(HOST, path).await.json();
    page["version"].as_i64().unwrap()
}

async fn shows(front: &Client, path: &str, expected: i64) {
    eventually(
        &format!("version {expected} of {path}"),
        PATIENCE,
        async || {
            let shown = version(front, path).await;
            (shown == expected)
                .then_some(())
                .ok_or_else(|| shown.to_string())
        },
    )
    .await;
}

/// The example in this language.
fn example(language: &str) -> &'static str {
    let (_, from) = GUIDE.split_once(&format!("```{language}\n")).unwrap();
    from.split_once("```").unwrap().0
}

struct Varnish {
    folder: PathBuf,
    port: u16,
    admin: u16,
    program: Option<Running>,
}

impl Varnish {
    fn prepare(place: &Place) -> Self {
        let folder = place.folder("varnish");
        fs::write(folder.join("secret"), SECRET).unwrap();
        Self {
            folder,
            port: free_port(),
            admin: free_port(),
            program: None,
        }
    }

    fn target(&self) -> String {
        let (admin, folder) = (self.admin, self.folder.display());
        format!(
            "[[purge.target]]\nname = \"front\"\nkind = \"varnish\"\naddress = \"127.0.0.1:{admin}\"\n\
             secret_file = \"{folder}/secret\"\ntimeout = \"1s\"\n"
        )
    }

    fn start(&mut self, origin: u16) {
        let vcl = example("vcl").replace("8080", &origin.to_string());
        // The pages themselves say nothing of how long they are good.
        let kept = "sub vcl_backend_response {\n    set beresp.ttl = 1h;";
        let vcl = vcl.replace("sub vcl_backend_response {", kept);
        fs::write(self.folder.join("default.vcl"), vcl).unwrap();
        let file = |name: &str| self.folder.join(name).to_str().unwrap().to_owned();
        let mut varnish = program::command("/usr/sbin/varnishd");
        varnish.args(["-F", "-j", "none", "-s", "malloc,16M"]);
        varnish.args(["-n", &file("work"), "-f", &file("default.vcl")]);
        varnish.args(["-a", &format!("127.0.0.1:{}", self.port)]);
        varnish.args([
            "-T",
            &format!("127.0.0.1:{}", self.admin),
            "-S",
            &file("secret"),
        ]);
        self.program = Some(Running::start(varnish, &self.folder.join("log")));
    }

    /// To the process that listens for commands.
    fn signal(&self, signal: Signal) {
        let running = self.program.as_ref().unwrap();
        running.process().signal(signal);
    }
}

struct Nginx {
    folder: PathBuf,
    port: u16,
    program: Option<Running>,
}

impl Nginx {
    fn prepare(place: &Place) -> Self {
        let folder = place.folder("nginx");
        // Workers of a root's nginx belong to nobody.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        Self {
            folder,
            port: free_port(),
            program: None,
        }
    }

    fn target(&self) -> String {
        let port = self.port;
        format!(
            "[[purge.target]]\nname = \"edge\"\nkind = \"nginx\"\nurl = \"http://127.0.0.1:{port}\"\n"
        )
    }

    fn start(&mut self, origin: u16) {
        let (folder, port) = (self.folder.display(), self.port);
        let server = example("nginx")
            .replace("/var/cache/nginx/pages", &format!("{folder}/pages"))
            .replace("listen 80;", &format!("listen 127.0.0.1:{port};"))
            .replace(
                "proxy_cache pages;",
                "proxy_cache pages; proxy_cache_valid 200 1h;",
            )
            .replace("127.0.0.1:8080", &format!("127.0.0.1:{origin}"));
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary = temporary.map(|name| format!("{name}_temp_path {folder}/{name};\n"));
        let configuration = format!(
            "load_module {NGINX_MODULE};\ndaemon off;\nmaster_process off;\npid {folder}/pid;\n\
             error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{}{server}}}\n",
            temporary.concat()
        );
        fs::write(self.folder.join("nginx.conf"), configuration).unwrap();
        let mut nginx = program::command("/usr/sbin/nginx");
        nginx.arg("-p").arg(&self.folder).args(["-c", "nginx.conf"]);
        self.program = Some(Running::start(nginx, &self.folder.join("log")));
    }
}

/// A program that ends with its test.
struct Running(Child);

impl Running {
    fn start(mut command: std::process::Command, log: &Path) -> Self {
        Self(program::start_logged(&mut command, log))
    }

    fn process(&self) -> support::processes::Process {
        support::processes::Process::new(i32::try_from(self.0.id()).unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process().signal(Signal::SIGCONT);
        self.process().signal(Signal::SIGTERM);
        if program::wait_for_end(&mut self.0, Duration::from_secs(10)).is_none() {
            let _gone = self.0.kill();
            let _gone = self.0.wait();
        }
    }
}
