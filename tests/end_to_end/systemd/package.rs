//! The Debian package: made of the metadata in the emperor's `Cargo.toml`, installed by dpkg, run by the
//! machine's systemd with a PostgreSQL that is somebody else's, upgraded under load, and removed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use support::place::{free_port, is_root};
use support::{Client, Load, Machine, PATIENCE, Place, Postgres, eventually, program};

use super::{CONFIG, Installed, SERVICE, SITES, UNITS, listen_at, put, restarts_unnoticed};

/// Where the package lies on the machine.
const PACKAGE: &str = "/emperor.deb";

#[tokio::test]
async fn the_package_serves_goes_on_over_an_upgrade_and_leaves_nothing_running() {
    if !is_root() {
        return;
    }
    let mut place = Place::new();
    let postgres = Postgres::start(&place).await;
    let root = Machine::folder(&place);
    Machine::writable_usr(&mut place);
    make_package(&place, &root.join(PACKAGE.trim_start_matches('/')));
    adopt_packages(&root);
    let port = free_port();
    listen_at(&root, port);
    let installed = Installed {
        machine: Machine::boot(&place).await,
        client: Client::new(port),
        port,
        _place: place,
    };
    let machine = &installed.machine;

    dpkg(machine, &["--install", PACKAGE]).await;
    assert_eq!(installed.property("ActiveState").await, "inactive");
    let units = UNITS.map(|unit| format!("/usr/lib/systemd/system/{unit}"));
    let units: Vec<_> = units.iter().map(String::as_str).collect();
    machine.must(&[&["ls"], units.as_slice()].concat()).await;
    let owner = ["stat", "--format=%U:%G %a", "/etc/emperor/emperor.toml"];
    assert_eq!(machine.must(&owner).await.trim(), "root:emperor 640");

    installed.configure(&format!(
        "{CONFIG}\n[database]\nurl = \"{}\"\n",
        postgres.url()
    ));
    installed.start().await;
    installed.serves().await;
    assert!(installed.systemctl("reload").await);
    restarts_unnoticed(&installed).await;

    upgrades_unnoticed(&installed).await;

    dpkg(machine, &["--remove", "emperor"]).await;
    installed.ends().await;
    machine.must(&["ls", "/var/lib/emperor"]).await;
    let gone = machine.run(&["ls", "/usr/bin/emperor"]).await;
    assert_ne!(gone.code, 0);
}

/// Installs the package over itself, while visitors ask.
async fn upgrades_unnoticed(installed: &Installed) {
    let before = installed.main_pid().await;
    let hosts = SITES.map(|slug| format!("{slug}.localhost"));
    let hosts: Vec<_> = hosts.iter().map(String::as_str).collect();
    let load = Load::start(installed.client, &hosts, "/json");
    dpkg(&installed.machine, &["--install", PACKAGE]).await;
    eventually("another emperor", PATIENCE, async || {
        let (pid, state) = (
            installed.main_pid().await,
            installed.property("SubState").await,
        );
        let replaced = pid != before && state == "running";
        replaced.then_some(()).ok_or(format!("{pid} {state}"))
    })
    .await;
    load.stop().await;
}

/// Makes the package of what was built for the tests, which takes the place of a release, and without the
/// time that a good compression takes.
fn make_package(place: &Place, to: &Path) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = place.folder("target");
    let release = place.folder("target/release");
    for name in ["emperor", "fastrouter", "vassal-exec"] {
        symlink(program::built(name), release.join(name)).unwrap();
    }
    let mut deb = program::command(env!("CARGO"));
    deb.current_dir(workspace).env("CARGO_TARGET_DIR", target);
    deb.args(["deb", "--package=emperor", "--no-build", "--fast"]);
    deb.arg("--output").arg(to);
    program::run(&mut deb);
}

/// The machine has this machine's `/usr`, so it has its packages.
fn adopt_packages(root: &Path) {
    let dpkg = PathBuf::from("var/lib/dpkg");
    for folder in ["info", "updates", "triggers"] {
        fs::create_dir_all(root.join(&dpkg).join(folder)).unwrap();
    }
    let known = fs::read_to_string(Path::new("/").join(&dpkg).join("status")).unwrap();
    put(root, "var/lib/dpkg/status", &known);
}

async fn dpkg(machine: &Machine, arguments: &[&str]) {
    let dpkg = ["env", "PATH=/usr/sbin:/usr/bin", "dpkg"];
    machine.must(&[dpkg.as_slice(), arguments].concat()).await;
    let left = ["systemctl", "list-jobs", "--no-legend", SERVICE];
    assert_eq!(machine.must(&left).await, "", "dpkg waits for its jobs");
}
