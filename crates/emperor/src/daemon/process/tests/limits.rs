//! Limits and walls around a worker: where this machine has what it takes they hold, and where it
//! doesn't it is told.

use vassal_core::lifecycle::Prospect;
use vassal_core::settings::Limits;

use super::support::{House, Watched, first_line, within};
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
