//! A launcher over folders of its own, and orders for it.

use std::fs::{Permissions, read_to_string};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::process::Pid;
use site_model::{InstanceNumber, Protocol, Revision, RunAs, SiteId};
use tempfile::TempDir;
use vassal_core::settings::{Limits, Probe, Ready, Sandbox, Stop, StopSignal};
use vassal_core::{InstanceContext, Launch, ListenMode, Reach, RenderedFile};

use crate::daemon::process::cgroup::Cgroups;
use crate::daemon::process::order::Order;
use crate::daemon::process::pidfd::Pidfd;
use crate::daemon::process::{
    Launcher, LauncherOptions, OwnPrograms, RunningInstance, SpawnFailure, Start,
};

/// Longer than anything here takes, so that a test that hangs says where.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// A launcher, with the folders it works in.
pub(super) struct House {
    pub(super) launcher: Launcher,
    folder: TempDir,
}

/// What one instance is to run, with the defaults of a test.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) order: Order,
    pub(super) launch: Launch,
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl House {
    pub(super) async fn open() -> Self {
        let mode = Permissions::from_mode(0o755);
        let folder = tempfile::Builder::new()
            .permissions(mode)
            .tempdir()
            .unwrap();
        let launcher = Self::prepare(folder.path()).await;
        Self { launcher, folder }
    }

    async fn prepare(folder: &Path) -> Launcher {
        let options = LauncherOptions {
            programs: OwnPrograms {
                vassal_exec: vassal_exec(),
                fastrouter: "/bin/true".into(),
            },
            runtime_dir: folder.join("run"),
            state_dir: folder.join("state"),
            router_run_as: None,
            uid_range: 271_000..=271_999,
            meeting_place: None,
            allow_root: false,
            nice: 10,
            log_max_size_bytes: 0,
            logs_kept: 1,
        };
        Launcher::prepare(options).await.unwrap()
    }

    /// Has instances in cgroups of this folder, of which nobody has one yet.
    pub(super) fn divide(&mut self, cgroups: Cgroups) {
        let tools = Arc::get_mut(&mut self.launcher.tools);
        tools.expect("nothing was started yet").cgroups = cgroups;
    }

    /// As after the death of the emperor: another one, on the same folders.
    pub(super) async fn another_launcher(&self) -> Launcher {
        Self::prepare(self.folder.path()).await
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A shell script as the instance of a site.
    pub(super) fn shell(&self, site: i64, script: &str) -> Run {
        self.command(site, &["sh", "-c", script])
    }

    /// A Python program as the instance of a site.
    pub(super) fn python(&self, site: i64, program: &str) -> Run {
        self.command(site, &["python3", "-c", program])
    }

    pub(super) fn command(&self, site: i64, argv: &[&str]) -> Run {
        Run {
            order: Order {
                site: SiteId::new(site).unwrap(),
                slug: format!("slug-{site}"),
                pool: None,
                domain: format!("www.site-{site}.example"),
                listen: ListenMode::Fd,
                run_as: self.run_as(),
                watchdog: Duration::ZERO,
                stop: Stop {
                    signal: StopSignal::Term,
                    grace: PATIENCE,
                },
                limits: Limits::default(),
                sandbox: Sandbox::default(),
                number: InstanceNumber::new(1),
                incarnation: self.launcher.next_incarnation(),
                revision: Revision::from_bytes([1; 16]),
                protocol: Protocol::Http,
                row: String::new(),
            },
            launch: Launch {
                argv: argv.iter().map(|&arg| arg.to_owned()).collect(),
                working_dir: None,
                env: Vec::new(),
                files: Vec::new(),
                reach: Reach::default(),
            },
        }
    }

    /// A user of the site's own as root, else whoever runs the tests.
    pub(super) fn run_as(&self) -> RunAs {
        if is_root() {
            RunAs::Auto
        } else {
            RunAs::User(self.launcher.router_identity().uid.to_string().into())
        }
    }

    pub(super) async fn start(&self, run: Run) -> Result<RunningInstance, SpawnFailure> {
        let start = Start::begin(run.order.incarnation, Duration::ZERO);
        self.start_noted(run, start).await
    }

    pub(super) async fn start_noted(
        &self,
        run: Run,
        start: Start,
    ) -> Result<RunningInstance, SpawnFailure> {
        let Run { order, launch } = run;
        let socket = "{socket}";
        let render = move |context: &InstanceContext| {
            let mut launch = launch;
            for argument in &mut launch.argv {
                *argument = argument.replace(socket, context.socket_path.to_str().unwrap());
                *argument = argument.replace("{private}", context.dir.to_str().unwrap());
            }
            Ok(launch)
        };
        self.launcher.spawn_order(order, start, render).await
    }

    /// Runs it to its end, and returns what it wrote.
    pub(super) async fn output_of(&self, run: Run) -> Vec<String> {
        let site = run.order.site;
        let instance = self.start(run).await.unwrap();
        within(instance.exited()).await;
        instance.remove().await;
        self.log(site)
    }

    /// The lines of a site's log, without times.
    pub(super) fn log(&self, site: SiteId) -> Vec<String> {
        let text = read_to_string(self.path(&format!("state/logs/{site}.log"))).unwrap();
        text.lines()
            .map(|line| line.split_once(' ').unwrap().1.to_owned())
            .collect()
    }

    /// The folders of instances that are there.
    pub(super) fn instance_folders(&self) -> usize {
        std::fs::read_dir(self.path("run/i")).unwrap().count()
    }
}

impl Run {
    pub(super) fn listening_by_itself(mut self) -> Self {
        self.order.listen = ListenMode::Path;
        self
    }

    pub(super) fn with_file(mut self, name: &str, text: &str) -> Self {
        self.launch.files.push(RenderedFile {
            name: name.to_owned(),
            text: text.to_owned(),
        });
        self
    }
}

pub(super) fn ready(probe: Probe) -> Ready {
    Ready {
        probe,
        warm: Arc::default(),
        timeout: PATIENCE,
    }
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("what is awaited takes milliseconds")
}

/// Any process, watched.
pub(super) struct Watched(Pidfd);

impl Watched {
    pub(super) fn new(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.cast_signed()).unwrap();
        Self(Pidfd::open(pid).unwrap())
    }

    pub(super) async fn ended(&self) {
        within(self.0.ended()).await;
    }
}

/// Waits for a line that a worker writes, and returns the text after its stream.
pub(super) async fn first_line(house: &House, site: i64) -> String {
    let site = SiteId::new(site).unwrap();
    let log = house.launcher.tools.logbook.of(site);
    let lines = within(async {
        loop {
            log.settled().await;
            let path = house.path(&format!("state/logs/{site}.log"));
            if read_to_string(path).is_ok_and(|text| text.contains('\n')) {
                break house.log(site);
            }
            tokio::task::yield_now().await;
        }
    });
    lines.await[0].splitn(3, ' ').nth(2).unwrap().to_owned()
}

/// `vassal-exec` lies beside the folder of the test programs. It is another package's, so cargo does
/// not build it for these tests by itself.
fn vassal_exec() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let own = std::env::current_exe().unwrap();
            let folder = own.parent().and_then(Path::parent).unwrap();
            if let Some(cargo) = std::env::var_os("CARGO") {
                build(&cargo, folder.ends_with("release"));
            }
            let path = folder.join("vassal-exec");
            assert!(path.exists(), "{} is not built", path.display());
            path
        })
        .clone()
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo is no worker; a test builds what it drives"
)]
fn build(cargo: &std::ffi::OsStr, release: bool) {
    let mut command = std::process::Command::new(cargo);
    // Not quietly: where another cargo builds, this waits for minutes, and says so.
    command.args(["build", "--package", "vassal-exec"]);
    if release {
        command.arg("--release");
    }
    assert!(command.status().unwrap().success());
}
