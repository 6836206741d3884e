//! What starts is nicer than what serves.

use std::fs::{read_dir, read_to_string};

use rustix::process::{Pid, getpriority_process};
use vassal_core::settings::Probe;

use super::support::{House, is_root, ready, within};

/// Has a thread, a child, and a child that wants to be nicer than it, tells of them, and is ready.
const FAMILY: &str = "
import os, socket, subprocess, threading, time
child = subprocess.Popen(['sleep', '600'])
nicer = subprocess.Popen(['sleep', '600'], preexec_fn=lambda: os.nice(3))
threading.Thread(target=time.sleep, args=(600,)).start()
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(
    f'STATUS={os.getpid()} {child.pid} {nicer.pid}\\nREADY=1'.encode(), os.environ['NOTIFY_SOCKET'])
time.sleep(600)
";

/// The nice value of each thread of a process.
fn niceness(pid: &str) -> Vec<i32> {
    let threads = read_dir(format!("/proc/{pid}/task")).unwrap();
    let number = |name: std::ffi::OsString| name.to_str().unwrap().parse().unwrap();
    let threads = threads.map(|thread| number(thread.unwrap().file_name()));
    threads
        .map(|thread| getpriority_process(Pid::from_raw(thread)).unwrap())
        .collect()
}

/// So much nicer than the tests, which may be nice themselves.
fn nicer(by: i32) -> i32 {
    (getpriority_process(None).unwrap() + by).min(19)
}

#[tokio::test]
async fn what_starts_is_nicer_until_it_is_ready_but_for_what_chose_to_be() {
    if !is_root() {
        return;
    }
    let house = House::open().await;
    let instance = house.start(house.python(7, FAMILY)).await.unwrap();
    let mut notified = instance.notified.clone();
    let told = within(notified.wait_for(|told| told.status.is_some())).await;
    let pids = told.unwrap().status.clone().unwrap();
    let family: Vec<_> = pids.split(' ').collect();
    let niceness_of_all = || family.iter().map(|pid| niceness(pid)).collect::<Vec<_>>();
    let group = || read_to_string(format!("/proc/{}/autogroup", family[0])).unwrap_or_default();

    let chosen = nicer(13);
    assert_eq!(
        niceness_of_all(),
        [vec![nicer(10); 2], vec![nicer(10)], vec![chosen]]
    );
    let group_before = group();
    let probed = instance.probe(
        &ready(Probe::Notify),
        &"www.site-7.example"
            .parse::<site_model::Hostname>()
            .unwrap()
            .into(),
        site_model::Protocol::Http,
    );
    assert_eq!(within(probed).await, Ok(()));
    assert_eq!(
        niceness_of_all(),
        [vec![nicer(0); 2], vec![nicer(0)], vec![chosen]]
    );
    if group_before.contains(" nice ") {
        assert!(
            group().trim().ends_with(" nice 0"),
            "{group_before} {}",
            group()
        );
    }
    instance.remove().await;
}
