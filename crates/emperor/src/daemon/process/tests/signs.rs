//! What is seen of real workers without asking them.

use std::time::Duration;

use futures_util::StreamExt;
use rustix::process::{Pid, Signal, kill_process};
use vassal_core::ExitReason;
use vassal_core::settings::StopSignal;

use super::support::{House, within};
use crate::daemon::process::RunningInstance;

/// Says that it lives, that it wants to be watched more seldom, and that it is broken.
const TALKER: &str = "
import os, socket, time
def say(text):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(
        text.encode(), os.environ['NOTIFY_SOCKET'])
assert os.environ['WATCHDOG_PID'] == str(os.getpid())
asked = int(os.environ['WATCHDOG_USEC'])
say(f'WATCHDOG=1\\nWATCHDOG_USEC={asked * 2}')
say('WATCHDOG=trigger')
time.sleep(600)
";

fn signal(instance: &RunningInstance, signal: Signal) {
    let pid = Pid::from_raw(instance.pid().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn a_process_that_is_stopped_or_goes_on_is_seen_to_be() {
    let house = House::open().await;
    let run = house.command(7, &["sleep", "600"]);
    let instance = house.start(run).await.unwrap();
    let mut stirs = instance.stirs();
    assert!(!instance.look().stopped);
    signal(&instance, Signal::STOP);
    assert_eq!(within(stirs.next()).await, Some(()));
    assert!(instance.look().stopped);
    instance.let_go_on();
    assert_eq!(within(stirs.next()).await, Some(()));
    assert!(!instance.look().stopped);
    instance.remove().await;
    assert_eq!(within(stirs.next()).await, None);
}

#[tokio::test]
async fn a_stopped_process_obeys_its_stop_signal() {
    let house = House::open().await;
    let instance = house
        .start(house.command(7, &["sleep", "600"]))
        .await
        .unwrap();
    let mut stirs = instance.stirs();
    signal(&instance, Signal::STOP);
    assert_eq!(within(stirs.next()).await, Some(()));
    instance.signal(StopSignal::Term);
    let ended = ExitReason::Killed {
        signal: 15,
        core_dumped: false,
    };
    assert_eq!(within(instance.exited()).await, ended);
    instance.remove().await;
}

#[tokio::test]
async fn what_a_worker_says_of_its_watchdog_is_seen() {
    let house = House::open().await;
    let mut run = house.python(7, TALKER);
    run.order.watchdog = Duration::from_secs(30);
    let instance = house.start(run).await.unwrap();
    let mut stirs = instance.stirs();
    while !instance.look().broken {
        assert_eq!(within(stirs.next()).await, Some(()));
    }
    let sight = instance.look();
    assert_eq!(sight.watchdog, Some(Duration::from_mins(1)));
    assert!(sight.spoke.is_some());
    instance.remove().await;
}
