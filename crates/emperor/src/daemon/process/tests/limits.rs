//! Limits and walls around a worker: where this machine has what it takes they hold, and where it
//! doesn't it is told.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use vassal_core::Reach;
use vassal_core::lifecycle::Prospect;
use vassal_core::settings::Limits;

use super::support::{House, Run, Watched, first_line, is_root, within};
use crate::daemon::process::SpawnFailure;

/// Whether instances get cgroups here; the reason why not is told with each limit.
fn reason_for_no_cgroup(house: &House) -> Option<String> {
    let limits = Limits {
        pids_max: 1 << 20,
        ..Limits::default()
    };
    let admission = house.launcher.tools.cgroups.admit("probe", &limits);
    let without = admission.cgroup.is_none();
    without.then(|| admission.missing.join(" "))
}

#[tokio::test]
async fn what_left_the_session_is_killed_with_its_cgroup() {
    let house = House::open().await;
    let program = "
import os, time
if os.fork() == 0:
    os.setsid()
    print(os.getpid(), flush=True)
time.sleep(600)
";
    let instance = house.start(house.python(7, program)).await.unwrap();
    let pid: u32 = first_line(&house, 7).await.parse().unwrap();
    let escaped = Watched::new(pid);
    within(instance.remove()).await;
    if let Some(reason) = reason_for_no_cgroup(&house) {
        assert!(reason.starts_with("limits.pids_max: "), "{reason}");
        // Nothing else holds such a process; it must not outlive the test.
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    escaped.ended().await;
}

#[tokio::test]
async fn a_limit_holds_or_is_told() {
    let house = House::open().await;
    let mut run = house.shell(7, "cat /proc/self/cgroup; sleep 600");
    run.order.limits.pids_max = 33;
    let incarnation = run.order.incarnation;
    let instance = house.start(run).await.unwrap();
    let first = first_line(&house, 7).await;
    match instance.missing() {
        [] => {
            let log = house.log(site_model::SiteId::new(7).unwrap()).join("\n");
            assert!(log.contains(&format!("/sites/7.{incarnation}")), "{log}");
        }
        [missing] => {
            assert!(
                missing.starts_with("limits.pids_max: "),
                "{first}: {missing}"
            );
        }
        more => panic!("one limit was asked for: {more:?}"),
    }
    instance.remove().await;
}

#[tokio::test]
async fn where_every_limit_is_required_one_that_is_missing_keeps_it_from_starting() {
    let house = House::open().await;
    let mut run = house.shell(7, "true");
    run.order.limits.pids_max = 33;
    run.order.sandbox.required = true;
    match house.start(run).await {
        Ok(instance) => {
            assert_eq!(instance.missing(), [] as [String; 0]);
            instance.remove().await;
        }
        Err(failure) => {
            assert_eq!(failure.prospect(), Prospect::Lasting);
            let SpawnFailure::Required(missing) = &failure else {
                panic!("{failure}");
            };
            assert!(missing[0].starts_with("limits.pids_max: "), "{missing:?}");
            let told = failure.to_string();
            assert!(told.starts_with("sandbox.required is true, and "), "{told}");
        }
    }
    assert_eq!(house.instance_folders(), 0);
}

/// The texts of a site's log, apart from which output they came by.
fn texts(house: &House, site: i64) -> Vec<String> {
    let log = house.log(site_model::SiteId::new(site).unwrap());
    let texts = log.iter().map(|line| line.splitn(3, ' ').nth(2).unwrap());
    texts.map(str::to_owned).collect()
}

/// Runs it to its end. The lines are what it wrote; where a wall can't be had, every wall that is
/// missing is told by its key, and an instance that requires it isn't started.
async fn check_walls(house: &House, run: Run, keys: &str, expected: &[&str]) {
    let (site, again) = (run.order.site.get(), run.clone());
    let instance = house.start(run).await.unwrap();
    within(instance.exited()).await;
    let missing = instance.missing().to_vec();
    within(instance.remove()).await;
    if missing.is_empty() {
        assert_eq!(texts(house, site), expected);
        return;
    }
    assert!(missing[0].starts_with(&format!("{keys}: ")), "{missing:?}");
    let mut required = again;
    required.order.incarnation = house.launcher.next_incarnation();
    required.order.sandbox.required = true;
    let failure = house.start(required).await.unwrap_err();
    assert!(matches!(failure, SpawnFailure::Required(_)), "{failure}");
}

#[tokio::test]
async fn an_instance_with_every_wall_has_what_is_its_own() {
    let house = House::open().await;
    // Apart from /tmp, which may be written to, where there is such a place.
    let elsewhere = if is_root() { "/run" } else { "/tmp" };
    let site = tempfile::tempdir_in(elsewhere).unwrap();
    let site = site.path();
    for below in ["", "media", "secret"] {
        let folder = site.join(below);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
    }
    let script = format!(
        "echo x > {{private}}/own && cat {{private}}/own; echo y > /tmp/mine && cat /tmp/mine; echo out > /dev/stdout
        for f in . media; do {{ echo z > $f/file; }} 2> /dev/null && echo written || echo unwritten; done
        ls {0}/secret 2> /dev/null || echo hidden; ls {0}",
        site.display()
    );
    let mut run = house.shell(7, &script);
    run.order.sandbox.private_tmp = true;
    run.order.sandbox.read_only_system = true;
    run.launch.working_dir = Some(site.to_path_buf());
    run.launch.reach = Reach {
        writable: vec![site.join("media")],
        readable: vec![site.to_path_buf()],
        inaccessible: vec![site.join("secret")],
    };
    let keys = "sandbox.private_tmp, sandbox.read_only_system, sandbox.inaccessible";
    let lines = [
        "x",
        "y",
        "out",
        "unwritten",
        "written",
        "hidden",
        "media",
        "secret",
    ];
    check_walls(&house, run, keys, &lines).await;
}

#[tokio::test]
async fn a_path_that_is_not_there_is_told_with_its_key() {
    let house = House::open().await;
    let mut run = house.shell(7, "true");
    run.launch.reach.writable = vec!["/nowhere/at/all".into()];
    let failure = house.start(run).await.unwrap_err();
    assert_eq!(failure.prospect(), Prospect::Lasting);
    assert_eq!(
        failure.to_string(),
        "sandbox.writable: could not restrict paths to /nowhere/at/all: No such file or directory \
         (os error 2)"
    );
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_worker_that_asked_for_nothing_has_no_right_of_roots_and_its_calls_are_filtered() {
    let house = House::open().await;
    let script = "grep -E '^(CapEff|Seccomp):' /proc/self/status";
    let run = house.shell(7, script);
    let lines = ["CapEff:\t0000000000000000", "Seccomp:\t2"];
    check_walls(&house, run, "sandbox.syscalls", &lines).await;
}
