//! Probes against real workers.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use site_model::{Hostname, InstanceNumber, Protocol};
use vassal_core::lifecycle::{InstanceMemory, Stage};
use vassal_core::settings::{Probe, Ready};

use super::support::{House, is_root, ready, within};
use crate::daemon::process::probe::ProbeMiss;
use crate::daemon::process::{ProbeFailure, RunningInstance, memory};

/// Serves on the inherited socket; answers 200 to the emperor's question for its own host alone.
const SERVER: &str = "
import socket
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    head = b''
    while b'\\r\\n\\r\\n' not in head:
        head += connection.recv(4096)
    lines = head.decode().lower().split('\\r\\n')
    asked = lines[0] == 'get /ready http/1.1' and 'host: www.site-7.example' in lines
    named = any(line.startswith('user-agent: emperor/') for line in lines)
    status = b'200 OK' if asked and named else b'500 No'
    connection.sendall(b'HTTP/1.1 ' + status + b'\\r\\nContent-Length: 2\\r\\n\\r\\nok')
    connection.close()
";

/// Binds its own socket, wide open and in its own group, and waits.
const BINDER: &str = "
import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
os.chown(sys.argv[1], -1, os.getgid())
listener.listen()
time.sleep(600)
";

const NOTIFIER: &str = "
import os, socket, sys, time
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(
    sys.argv[1].encode(), os.environ['NOTIFY_SOCKET'])
time.sleep(600)
";

fn host() -> Hostname {
    "www.site-7.example".parse().unwrap()
}

async fn probe(instance: &RunningInstance, ready: &Ready) -> Result<(), ProbeFailure> {
    instance.probe(ready, &host().into(), Protocol::Http).await
}

fn http() -> Probe {
    Probe::Http {
        path: "/ready".to_owned(),
        status: vec![(200, 299)],
    }
}

#[tokio::test]
async fn a_worker_is_asked_with_its_own_host() {
    let house = House::open().await;
    let instance = house.start(house.python(7, SERVER)).await.unwrap();
    assert_eq!(within(probe(&instance, &ready(http()))).await, Ok(()));
    instance.remove().await;
}

#[tokio::test]
async fn what_is_ready_is_written_down_for_the_next_emperor() {
    let house = House::open().await;
    let mut instance = house.start(house.python(7, SERVER)).await.unwrap();
    // Nobody keeps this one.
    instance.notebook = Arc::default();
    instance.remember(&InstanceMemory {
        number: InstanceNumber::new(1),
        rollout: 3,
        stage: Stage::Starting,
        watchdog: None,
    });
    assert_eq!(within(probe(&instance, &ready(http()))).await, Ok(()));
    let page = memory::file_of(&instance.process.folder);
    let text = std::fs::read_to_string(page).unwrap();
    assert!(text.contains("\"starting\""), "{text}");
    instance.remove().await;
}

#[tokio::test]
async fn a_worker_says_itself_that_it_is_ready() {
    let house = House::open().await;
    let run = house.command(7, &["python3", "-c", NOTIFIER, "STATUS=up\nREADY=1"]);
    let instance = house.start(run).await.unwrap();
    let ready = ready(Probe::Notify);
    assert_eq!(within(probe(&instance, &ready)).await, Ok(()));
    instance.remove().await;
}

#[tokio::test]
async fn what_a_worker_said_instead_is_told() {
    let house = House::open().await;
    let run = house.command(7, &["python3", "-c", NOTIFIER, "STATUS=migrating"]);
    let instance = house.start(run).await.unwrap();
    let mut notified = instance.notified.clone();
    let told = within(notified.wait_for(|told| told.status.is_some())).await;
    assert!(told.is_ok());
    drop(told);
    tokio::time::pause();
    let failure = probe(&instance, &ready(Probe::Notify)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "not ready within 1m: it has not sent READY=1; it said: migrating"
    );
    tokio::time::resume();
    instance.remove().await;
}

#[tokio::test]
async fn nobody_else_says_it_in_its_place() {
    if !is_root() {
        return;
    }
    let house = House::open().await;
    let instance = house
        .start(house.command(7, &["sleep", "600"]))
        .await
        .unwrap();
    let notify = instance.socket().with_file_name("notify");
    let stranger = UnixDatagram::unbound().unwrap();
    stranger.send_to(b"READY=1", notify).unwrap();
    tokio::time::pause();
    let failure = probe(&instance, &ready(Probe::Notify)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "not ready within 1m: it has not sent READY=1"
    );
    tokio::time::resume();
    instance.remove().await;
}

#[tokio::test]
async fn a_socket_that_the_worker_binds_is_closed_to_the_world_when_it_is_found() {
    let house = House::open().await;
    let run = house.command(7, &["python3", "-c", BINDER, "{socket}"]);
    let instance = house.start(run.listening_by_itself()).await.unwrap();
    assert_eq!(
        within(probe(&instance, &ready(Probe::Connect))).await,
        Ok(())
    );
    let found = instance.socket().metadata().unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    assert_eq!(found.gid(), house.launcher.router_identity().gid);
    instance.remove().await;
}

#[tokio::test]
async fn a_link_in_the_place_of_a_socket_is_not_followed() {
    let house = House::open().await;
    let other = house
        .start(house.command(1, &["sleep", "600"]))
        .await
        .unwrap();
    let script = format!("ln -s {} {{socket}}", other.socket().display());
    let run = house.shell(7, &script).listening_by_itself();
    let instance = house.start(run).await.unwrap();
    within(instance.exited()).await;
    let bound = bound_socket(&instance);
    tokio::time::pause();
    let failure = probe(&instance, &ready(Probe::Connect)).await.unwrap_err();
    let ProbeFailure::TimedOut { last, .. } = failure else {
        panic!("{failure}");
    };
    assert_eq!(last, ProbeMiss::NotASocket(bound));
    assert!(!instance.socket().exists());
    tokio::time::resume();
    instance.remove().await;
    other.remove().await;
}

#[tokio::test]
async fn what_a_worker_does_to_its_socket_afterwards_leads_nobody_astray() {
    let house = House::open().await;
    let run = house.command(7, &["python3", "-c", BINDER, "{socket}"]);
    let instance = house.start(run.listening_by_itself()).await.unwrap();
    assert_eq!(
        within(probe(&instance, &ready(Probe::Connect))).await,
        Ok(())
    );
    let inode = instance.socket().metadata().unwrap().ino();
    let bound = bound_socket(&instance);
    std::fs::remove_file(&bound).unwrap();
    std::os::unix::fs::symlink("/dev/null", &bound).unwrap();
    assert_eq!(instance.socket().metadata().unwrap().ino(), inode);
    let folder = instance.socket().parent().unwrap().metadata().unwrap();
    assert_eq!(folder.permissions().mode() & 0o7777, 0o710);
    assert_eq!(folder.uid(), rustix::process::geteuid().as_raw());
    instance.remove().await;
}

fn bound_socket(instance: &RunningInstance) -> std::path::PathBuf {
    let folder = instance.socket().parent().and_then(Path::parent).unwrap();
    folder.join("sock/s")
}

#[tokio::test]
async fn what_stood_in_the_way_is_told_when_the_time_is_up() {
    let house = House::open().await;
    let silent = house
        .start(house.command(7, &["sleep", "600"]))
        .await
        .unwrap();
    let unbound = house.command(7, &["sleep", "600"]).listening_by_itself();
    let unbound = house.start(unbound).await.unwrap();
    tokio::time::pause();
    let soon = |probe| Ready {
        timeout: Duration::from_secs(59),
        ..ready(probe)
    };
    for (instance, wanted, expected) in [
        (
            &silent,
            http(),
            "it has not answered GET /ready yet".to_owned(),
        ),
        (
            &unbound,
            Probe::Connect,
            format!(
                "it has not bound its socket {}",
                bound_socket(&unbound).display()
            ),
        ),
    ] {
        let failure = probe(instance, &soon(wanted)).await.unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("not ready within 59s: {expected}")
        );
    }
    tokio::time::resume();
    silent.remove().await;
    unbound.remove().await;
}
