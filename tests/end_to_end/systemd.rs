//! The service under a real systemd, installed by hand as `docs/SYSTEMD.md` says.

mod package;

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use support::client::NoAnswer;
use support::place::{free_port, is_root};
use support::processes::Process;
use support::{Client, Load, Machine, PATIENCE, Place, eventually, program};

const SERVICE: &str = "emperor.service";
/// Holds the workers.
const HOLDER: &str = "emperor-sites.service";
const SITES: [&str; 3] = ["one", "two", "three"];

/// Three demo sites and a private cluster, to be read by an emperor that listens where
/// `emperor.socket` does.
const CONFIG: &str = r#"
[router]
listen = ["systemd:http"]

[vassal]
template = "demo"

[[site]]
slug = "one"
[[site]]
slug = "two"
[[site]]
slug = "three"
"#;

/// Every unit that is shipped.
const UNITS: [&str; 5] = [
    SERVICE,
    HOLDER,
    "emperor.socket",
    "emperor-stop.service",
    "emperor-leftovers.service",
];

/// A machine with the service installed. The fields end in their order: the machine first.
#[derive(Debug)]
struct Installed {
    machine: Machine,
    client: Client,
    port: u16,
    _place: Place,
}

impl Installed {
    /// Installs, with a drop-in for the service, and boots; `None` for a user who may not boot a
    /// machine.
    async fn boot(drop_in: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let place = Place::new();
        let root = Machine::folder(&place);
        let port = free_port();
        install(&place, &root, port);
        put(
            &root,
            "etc/systemd/system/emperor.service.d/test.conf",
            drop_in,
        );
        Some(Self {
            machine: Machine::boot(&place).await,
            client: Client::new(port),
            port,
            _place: place,
        })
    }

    /// Installs, boots, and starts the service.
    async fn started() -> Option<Self> {
        let installed = Self::boot("").await?;
        installed.start().await;
        Some(installed)
    }

    async fn start(&self) {
        let started = self.systemctl("start").await;
        assert!(started, "{}", self.journal().await);
    }

    async fn systemctl(&self, verb: &str) -> bool {
        let outcome = self.machine.run(&["systemctl", verb, SERVICE]).await;
        outcome.code == 0
    }

    async fn property(&self, name: &str) -> String {
        self.machine.property(SERVICE, name).await
    }

    async fn journal(&self) -> String {
        self.machine.journal(SERVICE).await
    }

    fn configure(&self, config: &str) {
        put(self.machine.root(), "etc/emperor/emperor.toml", config);
    }

    /// Waits for a property to become what is wanted.
    async fn until(&self, name: &str, wanted: impl Fn(&str) -> bool) -> String {
        eventually(name, PATIENCE, async || {
            let value = self.property(name).await;
            if wanted(&value) {
                Ok(value)
            } else {
                Err(value)
            }
        })
        .await
    }

    /// Waits until each of the three sites answers with a page that names it.
    async fn serves(&self) {
        for slug in SITES {
            let host = format!("{slug}.localhost");
            eventually(&format!("the page of {host}"), PATIENCE, async || {
                let answer = self.client.try_get(&host, "/json").await;
                let answer = answer.map_err(|failure| format!("{failure:?}"))?;
                let its_own = answer.status.is_success() && answer.text().contains(slug);
                its_own.then_some(()).ok_or_else(|| answer.text())
            })
            .await;
        }
    }

    /// The emperor as the machine numbers it.
    async fn main_pid(&self) -> String {
        self.property("MainPID").await
    }

    /// What the service runs: its own processes, and those of sites.
    fn processes(&self) -> Vec<Process> {
        [SERVICE, HOLDER]
            .map(|unit| self.machine.processes_of(unit))
            .concat()
    }

    /// Waits until nothing of it runs.
    async fn ends(&self) {
        eventually("no process", PATIENCE, async || {
            let left = self.processes();
            left.is_empty().then_some(()).ok_or(format!("{left:?}"))
        })
        .await;
    }

    /// The fastrouter and the workers.
    fn others(&self) -> Vec<Process> {
        let mut found = self.processes();
        found.retain(|process| ["fastrouter", "python3"].contains(&process.name().as_str()));
        assert_eq!(found.len(), 1 + SITES.len());
        found
    }

    /// Sends a signal to the emperor alone.
    fn signal(&self, signal: Signal) {
        self.process("emperor").signal(signal);
    }

    /// The service's process that runs this program.
    fn process(&self, program: &str) -> Process {
        let mut all = self.machine.processes_of(SERVICE).into_iter();
        let runs = |process: &Process| process.name() == program;
        all.find(runs).unwrap()
    }
}

/// Puts every file where `docs/SYSTEMD.md` puts it, and the address of a test into a drop-in.
fn install(place: &Place, root: &Path, port: u16) {
    for name in ["emperor", "fastrouter", "vassal-exec"] {
        let to = place.join("usr-local/bin").join(name);
        fs::copy(program::built(name), to).unwrap();
    }
    let local = place.join("usr-local/lib");
    for unit in UNITS {
        put(&local, &format!("systemd/system/{unit}"), &shipped(unit));
    }
    for kind in ["sysusers", "tmpfiles"] {
        let file = format!("{kind}.d/emperor.conf");
        put(&local, &file, &shipped(&format!("{kind}.conf")));
    }
    put(root, "etc/emperor/emperor.toml", CONFIG);
    // Debian's package of PostgreSQL makes this account.
    put(root, "etc/sysusers.d/postgres.conf", "u postgres - - /\n");
    listen_at(root, port);
}

fn listen_at(root: &Path, port: u16) {
    let address = format!("[Socket]\nListenStream=\nListenStream=127.0.0.1:{port}\n");
    put(
        root,
        "etc/systemd/system/emperor.socket.d/address.conf",
        &address,
    );
}

fn shipped(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/emperor/systemd");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn put(root: &Path, path: &str, text: &str) -> PathBuf {
    let file = root.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    file
}

#[tokio::test]
async fn systemd_finds_nothing_wrong_with_the_units_and_little_exposed() {
    let Some(installed) = Installed::boot("").await else {
        return;
    };
    let files = UNITS.map(|unit| format!("/usr/local/lib/systemd/system/{unit}"));
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let verify = [&["systemd-analyze", "verify"], files.as_slice()].concat();
    let verified = installed.machine.run(&verify).await;
    assert_eq!((verified.code, verified.err.as_str()), (0, ""));
    // In tenths. Why it isn't less is in docs/decisions.
    let threshold = |unit: &str| if unit == SERVICE { 47 } else { 15 };
    for unit in UNITS.iter().filter(|unit| unit.ends_with(".service")) {
        let threshold = format!("--threshold={}", threshold(unit));
        let security = ["systemd-analyze", "security", &threshold, unit];
        installed.machine.must(&security).await;
    }
}

/// The fastrouter is the emperor's child and has no unit; `fixtures/systemd/fastrouter.service` says its
/// walls in systemd's words. This looks for each of them, and asks systemd what they are worth.
#[tokio::test]
async fn the_fastrouter_stands_behind_the_walls_that_its_exposure_is_reckoned_from() {
    let Some(installed) = Installed::started().await else {
        return;
    };
    installed.serves().await;
    let router = installed.process("fastrouter");
    let of_router = |field: &str| router.status_line(field).unwrap();
    let user = installed
        .machine
        .must(&["id", "-u", "emperor-router"])
        .await;
    assert_eq!(
        of_router("Uid:").split_whitespace().next(),
        Some(user.trim())
    );
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(of_router(set), "0000000000000000", "{set}");
    }
    assert_eq!(of_router("NoNewPrivs:"), "1");
    // 2: a filter of system calls. The machine and the unit have theirs; the router's own are more.
    assert_eq!(of_router("Seccomp:"), "2");
    let filters = |process: Process| process.status_line("Seccomp_filters:").unwrap();
    let filters = |process| filters(process).parse::<u32>().unwrap();
    assert!(filters(router) > filters(installed.process("emperor")));
    for mount in router.mounts() {
        assert!(mount.is_read_only(), "{mount:?}");
    }
    for hidden in ["/dev", "/home", "/root", "/tmp", "/var/lib"] {
        let seen = fs::read_dir(router.path(&format!("root{hidden}"))).unwrap();
        let seen: Vec<_> = seen.map(|entry| entry.unwrap().path()).collect();
        assert!(seen.is_empty(), "{seen:?}");
    }

    let walls = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/systemd/fastrouter.service");
    let text = fs::read_to_string(walls).unwrap();
    put(installed.machine.root(), "etc/fastrouter.service", &text);
    let offline = ["systemd-analyze", "security", "--offline=yes"];
    let threshold = ["--threshold=30", "/etc/fastrouter.service"];
    installed
        .machine
        .must(&[offline.as_slice(), &threshold].concat())
        .await;
}

#[tokio::test]
async fn a_started_service_serves_and_a_stopped_one_leaves_no_process() {
    let Some(installed) = Installed::started().await else {
        return;
    };
    assert_eq!(installed.property("ActiveState").await, "active");
    installed.serves().await;
    let told = |text: &str| text == "3 of 3 sites ready";
    installed.until("StatusText", told).await;
    let workers = installed.machine.processes_of(HOLDER);
    let workers = workers.iter().filter(|process| process.name() == "python3");
    let journal = installed.journal().await;
    assert_eq!(workers.count(), SITES.len(), "{journal}");

    assert!(installed.systemctl("stop").await);
    assert_eq!(installed.property("Result").await, "success");
    assert_eq!(installed.machine.processes_of(SERVICE), []);
    installed.ends().await;
    socket_closes(&installed).await;
    let holder = installed.machine.property(HOLDER, "Result").await;
    assert_eq!(holder, "success");

    installed.start().await;
    installed.serves().await;
}

/// The next request must not start what was stopped.
async fn socket_closes(installed: &Installed) {
    eventually("a closed socket", PATIENCE, async || {
        let state = installed.machine.property("emperor.socket", "ActiveState");
        let state = state.await;
        (state == "inactive").then_some(()).ok_or(state)
    })
    .await;
    let asked = installed.client.try_get("one.localhost", "/").await;
    assert!(matches!(asked, Err(NoAnswer::Connect(_))), "{asked:?}");
    assert_eq!(installed.property("ActiveState").await, "inactive");
}

#[tokio::test]
async fn a_reload_is_done_when_it_returns_or_fails_with_its_cause() {
    let Some(installed) = Installed::started().await else {
        return;
    };
    installed.serves().await;

    installed.configure(&format!(
        "{CONFIG}\n[vassal.env]\nDEMO_GREETING = \"Reloaded.\"\n"
    ));
    assert!(
        installed.systemctl("reload").await,
        "{}",
        installed.journal().await
    );
    eventually("the new page", PATIENCE, async || {
        let page = installed.client.get("one.localhost", "/").await.text();
        page.contains("Reloaded.").then_some(()).ok_or(page)
    })
    .await;

    installed.configure(&format!("{CONFIG}\n[vassal]\ntemplat = \"demo\"\n"));
    assert!(
        !installed.systemctl("reload").await,
        "a broken file was taken"
    );
    let journal = installed.journal().await;
    assert!(journal.contains("/etc/emperor/emperor.toml:"), "{journal}");
    assert_eq!(installed.property("ActiveState").await, "active");
    installed.serves().await;
}

#[tokio::test]
async fn a_restart_replaces_the_emperor_and_nothing_else() {
    let Some(installed) = Installed::started().await else {
        return;
    };
    installed.serves().await;
    restarts_unnoticed(&installed).await;
}

/// A cgroup that has handed controllers down takes no process of its own. This is what a limit of a site
/// makes of the workers' unit, and systemd has to start emperors beside it all the same.
#[tokio::test]
async fn a_restart_goes_on_beside_workers_whose_cgroups_have_controllers() {
    let Some(installed) = Installed::started().await else {
        return;
    };
    installed.serves().await;
    let group = installed.machine.cgroup_of(HOLDER).unwrap();
    // Without one there is nothing to hand down, and the kernel's rule isn't met.
    if let Some(controller) = installed.machine.hand_down_to(&group.join("sites")) {
        let handed_down = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap();
        assert!(handed_down.contains(&controller), "{handed_down}");
    }
    restarts_unnoticed(&installed).await;
    // What keeps the unit's cgroup isn't what keeps the workers.
    for process in installed.machine.processes_of(HOLDER) {
        if process.name() == "sleep" {
            process.signal(Signal::SIGKILL);
        }
    }
    restarts_unnoticed(&installed).await;
    assert!(installed.systemctl("stop").await);
    installed.ends().await;
    installed.start().await;
    installed.serves().await;
}

#[tokio::test]
async fn an_address_without_a_socket_unit_stays_open_over_a_restart_too() {
    let Some(installed) = Installed::boot("").await else {
        return;
    };
    let machine = &installed.machine;
    machine.must(&["systemctl", "mask", "emperor.socket"]).await;
    let port = installed.port;
    installed.configure(&CONFIG.replace("systemd:http", &format!("127.0.0.1:{port}")));
    installed.start().await;
    installed.serves().await;
    assert_eq!(installed.property("NFileDescriptorStore").await, "1");
    restarts_unnoticed(&installed).await;
}

/// Restarts the service under load. No request may notice, and nothing but the emperor be replaced.
async fn restarts_unnoticed(installed: &Installed) {
    let (before, others) = (installed.main_pid().await, installed.others());
    let hosts = SITES.map(|slug| format!("{slug}.localhost"));
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let load = Load::start(installed.client, &hosts, "/json");
    let restarted = installed.systemctl("restart").await;
    assert!(restarted, "{}", installed.journal().await);
    let told = |text: &str| text == "3 of 3 sites ready";
    installed.until("StatusText", told).await;
    load.stop().await;
    assert_ne!(installed.main_pid().await, before);
    assert_eq!(installed.others(), others);
}

#[tokio::test]
async fn an_emperor_that_hangs_is_replaced() {
    // No core of a process that was only stopped.
    let drop_in = "[Service]\nWatchdogSec=4s\nLimitCORE=0\n";
    let Some(installed) = Installed::boot(drop_in).await else {
        return;
    };
    installed.start().await;
    installed.serves().await;
    let (before, others) = (installed.main_pid().await, installed.others());
    installed.signal(Signal::SIGSTOP);
    installed.until("NRestarts", |count| count != "0").await;
    installed
        .until("SubState", |state| state == "running")
        .await;
    assert_ne!(installed.main_pid().await, before);
    let journal = installed.journal().await;
    assert!(journal.contains("Watchdog timeout"), "{journal}");
    installed.serves().await;
    assert_eq!(installed.others(), others);
}

#[tokio::test]
async fn a_stop_after_a_crash_ends_what_the_crash_left_behind() {
    let drop_in = "[Service]\nRestartSec=10min\n";
    let Some(installed) = Installed::boot(drop_in).await else {
        return;
    };
    installed.start().await;
    installed.serves().await;
    installed.signal(Signal::SIGKILL);
    installed
        .until("SubState", |state| state == "auto-restart")
        .await;
    // It finds all of them, or systemd ended some.
    installed.others();
    installed.serves().await;

    assert!(installed.systemctl("stop").await);
    installed.ends().await;
    socket_closes(&installed).await;
}
