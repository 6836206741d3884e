//! After the death of an emperor.

use std::time::Duration;

use super::support::{House, Watched, first_line, within};

#[tokio::test]
async fn left_over_workers_are_ended_in_order_and_their_folders_removed() {
    let house = House::open().await;
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 600 & wait $!; done";
    let mut left_over = Vec::new();
    for site in [1, 2] {
        let instance = house.start(house.shell(site, script)).await.unwrap();
        first_line(&house, site).await;
        left_over.push(Watched::new(instance.pid()));
        // Nobody does anything to it any more, as after a kill.
        std::mem::forget(instance);
    }
    let launcher = house.another_launcher().await;
    // Nothing was written down of how far they were.
    assert!(within(launcher.left()).await.instances.is_empty());
    for process in left_over {
        process.ended().await;
    }
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn one_that_ignores_its_signal_is_killed_with_its_children_when_its_grace_is_over() {
    let house = House::open().await;
    let script = "trap '' TERM; sh -c 'echo $$; while :; do sleep 600; done' & wait; sleep 600";
    let mut run = house.shell(7, script);
    run.order.stop.grace = Duration::ZERO;
    let instance = house.start(run).await.unwrap();
    let child = Watched::new(first_line(&house, 7).await.parse().unwrap());
    let main = Watched::new(instance.pid());
    std::mem::forget(instance);
    let launcher = house.another_launcher().await;
    assert!(within(launcher.left()).await.instances.is_empty());
    main.ended().await;
    child.ended().await;
}

#[tokio::test]
async fn a_stranger_with_a_recorded_pid_is_left_alone() {
    let house = House::open().await;
    let folder = house.path("run/i/7.1");
    std::fs::create_dir(&folder).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let record = serde_json::json!({
        "pid": std::process::id(), "start_ticks": 1, "boot_id": boot.trim(),
        "uid": 271_000, "stop_signal": "TERM", "grace_ms": 1,
    });
    std::fs::write(folder.join("instance.json"), record.to_string()).unwrap();
    std::fs::create_dir(house.path("run/i/unfinished")).unwrap();
    assert!(within(house.launcher.left()).await.instances.is_empty());
    assert_eq!(house.instance_folders(), 0);
}
