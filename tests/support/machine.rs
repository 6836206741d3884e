//! A machine of the test's own that is run by a real systemd: `systemd-nspawn` boots this machine's
//! `/usr`, which it can't change, on an otherwise empty folder. So the programs are those that are
//! installed here anyway (PostgreSQL, python3), and a boot takes less than a second.
//!
//! The network is this machine's, so that a test's visitor reaches the router.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::Signal;

use crate::emperor::Outcome;
use crate::place::Place;
use crate::processes::Process;
use crate::program;
use crate::wait::{PATIENCE, eventually};

/// Where version 2 of cgroups is mounted, beside version 1 or alone.
const UNIFIED: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// What a machine changes in `/usr`, if it may.
const USR_CHANGES: &str = "usr-changes";

/// A booted machine. It is gone with this value, and everything that runs on it.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    cgroups: Cgroups,
    container: Child,
    log: PathBuf,
    /// Its process 1, as this machine numbers it.
    systemd: Process,
}

impl Machine {
    /// Makes the folder of a machine in a place, to put files into before the boot.
    pub fn folder(place: &Place) -> PathBuf {
        let root = place.folder("machine");
        for folder in ["etc", "proc", "sys", "dev", "run", "tmp", "var"] {
            place.folder(&format!("machine/{folder}"));
        }
        place.folder("machine/usr");
        place.folder("usr-local/bin");
        for link in ["bin", "lib", "lib64", "sbin"] {
            symlink(Path::new("usr").join(link), root.join(link)).unwrap();
        }
        // nspawn looks for this before it mounts /usr.
        fs::copy("/usr/lib/os-release", root.join("etc/os-release")).unwrap();
        // Without an id it would be a first boot, at which systemd enables every service there is.
        fs::write(
            root.join("etc/machine-id"),
            "6f7a3c0d9b1e4e52a8d4c5b6a7980123\n",
        )
        .unwrap();
        root
    }

    /// Lets the machine that is to be booted write to its `/usr`, as a package manager does. What it writes
    /// is in memory, and gone with the place.
    pub fn writable_usr(place: &mut Place) {
        assert!(place.disk(USR_CHANGES, "512m"), "root may mount");
        place.folder(&format!("{USR_CHANGES}/upper"));
    }

    /// Boots what is in the folder, and waits until everything that belongs to the boot has started.
    pub async fn boot(place: &Place) -> Self {
        let root = place.join("machine");
        let log = place.join("machine.log");
        let cgroups = Cgroups::make();
        let container = program::start_logged(&mut nspawn(place, &cgroups), &log);
        let nspawn = Process::new(i32::try_from(container.id()).unwrap());
        let mut machine = Self {
            root,
            cgroups,
            container,
            log,
            systemd: nspawn,
        };
        machine.systemd = machine.first_process(nspawn).await;
        eventually("a booted machine", PATIENCE, async || {
            let outcome = machine.run(&["systemctl", "is-system-running"]).await;
            match outcome.out.trim() {
                "running" => Ok(()),
                "degraded" => panic!("{}", machine.run(&["systemctl", "--failed"]).await.out),
                _ => Err(format!("{outcome:?}; {}", machine.log_text())),
            }
        })
        .await;
        machine
    }

    /// nspawn's child is the new process 1 only once it has become systemd.
    async fn first_process(&self, nspawn: Process) -> Process {
        eventually("systemd", PATIENCE, async || {
            let mut children = nspawn.children().into_iter();
            let systemd = |child: &Process| {
                let first = child.arguments();
                first.starts_with(b"/usr/lib/systemd/systemd") || first.starts_with(b"/sbin/init")
            };
            children.find(systemd).ok_or_else(|| self.log_text())
        })
        .await
    }

    /// Its file system, seen from outside. `/usr` and what is mounted later are not in it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Runs a command on it.
    pub async fn run(&self, arguments: &[&str]) -> Outcome {
        let mut command = program::command("nsenter");
        command.arg(format!("--target={}", self.systemd.pid()));
        command.args(["--mount", "--uts", "--ipc", "--pid", "--root", "--wd=/"]);
        command.arg("--").args(arguments);
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin");
        // Nobody is there to page through what systemctl says.
        command.env("SYSTEMD_PAGER", "");
        Outcome::of(command).await
    }

    /// Runs a command that has to succeed, and returns what it wrote.
    pub async fn must(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments).await;
        assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
        outcome.out
    }

    /// A property of a unit.
    pub async fn property(&self, unit: &str, name: &str) -> String {
        let show = ["systemctl", "show", "--value", "--property", name, unit];
        self.must(&show).await.trim().to_owned()
    }

    /// The processes in a unit's cgroup, numbered as this machine does: those that systemd counts to
    /// it, whatever they are named.
    pub fn processes_of(&self, unit: &str) -> Vec<Process> {
        let in_unit = |process: &Process| {
            let cgroups = process.cgroups();
            let mut lines = cgroups.lines();
            lines.any(|line| {
                let (_, path) = line.rsplit_once(':').unwrap_or_default();
                let mut parts = path.split('/');
                path.contains(&self.cgroups.name) && parts.any(|part| part == unit)
            })
        };
        let mut found = Process::all();
        found.retain(|process| process.is_alive() && in_unit(process));
        found
    }

    /// The folder of a unit's cgroup of version 2, while one of its processes runs.
    pub fn cgroup_of(&self, unit: &str) -> Option<PathBuf> {
        let process = self.processes_of(unit).into_iter().next()?;
        let cgroups = process.cgroups();
        let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let own = UNIFIED.map(|mount| Path::new(mount).join(own));
        let own = own
            .into_iter()
            .find(|own| own.join("cgroup.procs").exists())?;
        let unit = own.ancestors().find(|above| above.ends_with(unit))?;
        Some(unit.to_path_buf())
    }

    /// Hands one controller of version 2 down to the children of a cgroup, if this machine has one, and
    /// says which.
    pub fn hand_down_to(&self, folder: &Path) -> Option<String> {
        let mut above: Vec<_> = folder
            .ancestors()
            .take_while(|above| above.join("cgroup.controllers").exists())
            .collect();
        above.reverse();
        let available = fs::read_to_string(above.first()?.join("cgroup.controllers")).unwrap();
        let controller = available.split_whitespace().next()?.to_owned();
        for cgroup in above {
            fs::write(
                cgroup.join("cgroup.subtree_control"),
                format!("+{controller}"),
            )
            .unwrap();
        }
        Some(controller)
    }

    /// What a unit wrote to the journal.
    pub async fn journal(&self, unit: &str) -> String {
        self.must(&["journalctl", "--output=cat", "--unit", unit])
            .await
    }

    fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With its process 1, everything in a pid namespace ends.
        self.systemd.signal(Signal::SIGKILL);
        if program::wait_for_end(&mut self.container, PATIENCE).is_none() {
            let _gone = self.container.kill();
            let _ended = self.container.wait();
        }
        self.cgroups.remove();
    }
}

fn nspawn(place: &Place, cgroups: &Cgroups) -> Command {
    // The shell takes its place in the cgroup before there is anything else in it.
    let mut command = program::command("/bin/sh");
    let join = "for group in $CGROUPS; do echo $$ > $group/cgroup.procs || exit; done; exec \"$@\"";
    command.args(["-ec", join, "sh", "systemd-nspawn", "--boot"]);
    command.env("CGROUPS", cgroups.paths());
    // Also where version 1 is there as well: Debian has version 2 alone.
    command.env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1");
    command.arg("--directory").arg(place.join("machine"));
    let local = place.join("usr-local");
    let changes = place.join(USR_CHANGES).join("upper");
    if changes.exists() {
        command.arg(format!("--overlay=/usr:{}:/usr", changes.display()));
    } else {
        command.arg("--bind-ro=/usr");
    }
    command.arg(format!("--bind-ro={}:/usr/local", local.display()));
    command.arg(format!("--machine={}", cgroups.name));
    command.args(["--console=pipe", "--link-journal=no", "--quiet"]);
    // What a container is refused and a machine is not: it is how sockets are regained.
    command.arg("--system-call-filter=pidfd_getfd");
    if !cgroups.folders.is_empty() {
        command.args(["--register=no", "--keep-unit"]);
    }
    command
}

/// Where systemd's cgroups of this machine hang: nspawn makes `payload` below the cgroup it is
/// started in, so that two of them need two. Empty where a systemd runs here, which then does it.
#[derive(Debug)]
struct Cgroups {
    name: String,
    folders: Vec<PathBuf>,
}

impl Cgroups {
    fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("emp-{}-{number}", std::process::id());
        let booted = Path::new("/run/systemd/system").exists();
        let hierarchies = if booted { Vec::new() } else { hierarchies() };
        let folders: Vec<_> = hierarchies
            .into_iter()
            .map(|above| above.join(&name))
            .collect();
        for folder in &folders {
            fs::create_dir(folder).unwrap();
        }
        Self { name, folders }
    }

    fn paths(&self) -> String {
        let paths = self.folders.iter().map(|folder| folder.to_str().unwrap());
        paths.collect::<Vec<_>>().join(" ")
    }

    fn remove(&self) {
        for folder in &self.folders {
            remove_cgroup(folder);
        }
    }
}

/// A cgroup is removed from its leaves up; one that isn't empty yet stays, which harms nobody.
fn remove_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    let _busy = fs::remove_dir(folder);
}

/// The cgroups of this process in the hierarchies that systemd uses: version 2's, and the one of
/// version 1 that has systemd's name.
fn hierarchies() -> Vec<PathBuf> {
    let own = Process::new(i32::try_from(std::process::id()).unwrap()).cgroups();
    let mut found = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kind, path) = (parts.next().unwrap(), parts.next().unwrap());
        let mounts: &[&str] = match kind {
            "" => &UNIFIED,
            "name=systemd" => &["/sys/fs/cgroup/systemd"],
            _ => &[],
        };
        let mounted = mounts
            .iter()
            .map(|mount| Path::new(mount).join(path.trim_start_matches('/')))
            .find(|folder| folder.join("cgroup.procs").exists());
        found.extend(mounted);
    }
    found
}
