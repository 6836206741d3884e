//! Exits, signals, and what is left over.

use vassal_core::ExitReason;
use vassal_core::settings::StopSignal;

use super::support::{House, Watched, first_line, within};

#[tokio::test]
async fn the_exit_is_told_exactly() {
    let house = House::open().await;
    let killed = |signal| ExitReason::Killed {
        signal,
        core_dumped: false,
    };
    for (script, expected) in [
        ("exit 0", ExitReason::Exited { status: 0 }),
        ("exit 3", ExitReason::Exited { status: 3 }),
        ("kill -TERM $$", killed(15)),
        ("kill -SEGV $$", killed(11)),
    ] {
        let instance = house.start(house.shell(7, script)).await.unwrap();
        assert_eq!(within(instance.exited()).await, expected, "{script}");
        assert_eq!(within(instance.exited()).await, expected, "asked again");
        instance.remove().await;
    }
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_stop_signal_reaches_the_main_process_alone() {
    let house = House::open().await;
    // The child would end the shell's `wait` early if it had the signal as well. It is up once both have
    // said what they do at the signal.
    let script = "trap 'echo main; exit 5' TERM
        sh -c 'trap \"echo child; exit\" TERM; echo up; while :; do sleep 600 & wait $!; done' &
        wait; echo child ended first";
    let instance = house.start(house.shell(7, script)).await.unwrap();
    assert_eq!(first_line(&house, 7).await, "up");
    instance.signal(StopSignal::Term);
    assert_eq!(
        within(instance.exited()).await,
        ExitReason::Exited { status: 5 }
    );
    instance.remove().await;
    let log = house.log(site_model::SiteId::new(7).unwrap());
    assert!(log.iter().all(|line| !line.contains("child")), "{log:?}");
}

#[tokio::test]
async fn what_the_main_process_leaves_in_its_group_is_killed_with_its_end() {
    let house = House::open().await;
    let script = "sh -c 'trap \"\" TERM; echo $$; while :; do sleep 600; done' & wait";
    let instance = house.start(house.shell(7, script)).await.unwrap();
    let left_over = Watched::new(first_line(&house, 7).await.parse().unwrap());
    instance.signal(StopSignal::Term);
    within(instance.exited()).await;
    left_over.ended().await;
    instance.remove().await;
}

#[tokio::test]
async fn a_group_that_ignores_everything_is_killed() {
    let house = House::open().await;
    let script =
        "trap '' TERM INT HUP; sh -c 'echo $$; while :; do sleep 600; done' & wait; sleep 600";
    let instance = house.start(house.shell(7, script)).await.unwrap();
    let child = Watched::new(first_line(&house, 7).await.parse().unwrap());
    instance.signal(StopSignal::Term);
    instance.kill_group();
    let reason = within(instance.exited()).await;
    assert_eq!(reason.to_string(), "was killed by SIGKILL");
    child.ended().await;
    instance.remove().await;
}

#[tokio::test]
async fn a_process_that_left_the_group_is_found_in_the_session() {
    let house = House::open().await;
    let program = "
import os, time
if os.fork() == 0:
    os.setpgid(0, 0)
    print(os.getpid(), flush=True)
time.sleep(600)
";
    let instance = house.start(house.python(7, program)).await.unwrap();
    let escaped = Watched::new(first_line(&house, 7).await.parse().unwrap());
    instance.kill_group();
    within(instance.exited()).await;
    within(instance.remove()).await;
    escaped.ended().await;
}

#[tokio::test]
async fn an_instance_that_is_let_go_is_killed_even_if_somebody_awaits_its_end() {
    let house = House::open().await;
    let instance = house
        .start(house.command(7, &["sleep", "600"]))
        .await
        .unwrap();
    let exited = instance.exited();
    drop(instance);
    assert_eq!(within(exited).await.to_string(), "was killed by SIGKILL");
}

/// None of what has ended, though nobody has waited for it yet.
fn resident_bytes_of(session: u32) -> u64 {
    let resident = crate::daemon::process::resident_bytes(&[session].into());
    resident.get(&session).copied().unwrap_or(0)
}

#[tokio::test]
async fn memory_is_counted_for_the_whole_session() {
    let house = House::open().await;
    let script = "sleep 600 & echo up; wait";
    let instance = house.start(house.shell(7, script)).await.unwrap();
    first_line(&house, 7).await;
    assert!(resident_bytes_of(instance.pid()) > 100 * 1024);
    let session = instance.pid();
    instance.remove().await;
    // What was killed with it ends when it has its turn.
    within(async {
        while resident_bytes_of(session) > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn memory_that_processes_of_a_session_share_is_counted_once() {
    let house = House::open().await;
    // Four processes on the same 32 MiB, which none of them writes to after the fork.
    let program = "
import os, time
held = bytearray(os.urandom(1 << 20) * 32)
for _ in range(3):
    if os.fork() == 0:
        time.sleep(600)
print('up', flush=True)
time.sleep(600)
";
    let instance = house.start(house.python(7, program)).await.unwrap();
    assert_eq!(first_line(&house, 7).await, "up");
    let shared = 32 << 20;
    let proportional = crate::daemon::process::pss_bytes(instance.pid()).unwrap();
    let resident = resident_bytes_of(instance.pid());
    assert!(resident >= 4 * shared, "{resident}");
    assert!(
        proportional >= shared && proportional < 2 * shared,
        "{proportional}"
    );
    instance.remove().await;
    assert_eq!(crate::daemon::process::pss_bytes(0x7fff_ffff), None);
}
