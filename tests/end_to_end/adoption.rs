//! The death of the emperor: nobody notices, and the next one goes on with everything.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::processes::Process;
use support::{House, Load, PATIENCE, Row, eventually};

/// Kills the emperor and nothing else.
fn kill(house: &mut House) {
    house.emperor.signal(Signal::SIGKILL);
    house.emperor.ended(PATIENCE);
}

fn process(pid: &Value) -> Process {
    Process::new(i32::try_from(pid.as_i64().unwrap()).unwrap())
}

/// The pids of the router and of the worker of each site's page.
async fn pids(house: &House, hosts: &[&str]) -> Vec<Value> {
    let mut pids = vec![house.emperor.router().await.pid().into()];
    for host in hosts {
        pids.push(house.page(host).await["pid"].clone());
    }
    pids
}

/// Lets every visitor be answered some times more.
async fn go_on(load: &Load) {
    let before = load.answered();
    eventually("more answers", PATIENCE, async || {
        let answered = load.answered();
        let enough = answered > before + 40;
        enough.then_some(()).ok_or_else(|| answered.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_killed_emperor_costs_no_request_and_the_next_one_goes_on_with_everything() {
    let mut house = House::open().await;
    let hosts = ["one.example", "two.example"];
    for slug in ["one", "two"] {
        house.insert_tiny(slug, "").await;
    }
    let before = pids(&house, &hosts).await;
    let load = Load::start(house.client, &hosts, "/");
    for signal in [Signal::SIGKILL, Signal::SIGUSR2] {
        house.emperor.signal(signal);
        house.emperor.ended(PATIENCE);
        go_on(&load).await;
        house.emperor.start_again().await;
        for slug in ["one", "two"] {
            let site = house.emperor.in_state(slug, "ready").await;
            assert_eq!(site["restarts"], 0);
        }
        go_on(&load).await;
    }
    load.stop().await;
    assert_eq!(pids(&house, &hosts).await, before);
    // What was adopted is supervised as before, and ends with the emperor.
    process(&before[1]).signal(Signal::SIGKILL);
    house
        .page_where("one.example", |page| page["pid"] != before[1])
        .await;
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
}

#[tokio::test]
async fn rows_that_changed_while_there_was_no_emperor_are_followed_without_loss() {
    let mut house = House::open().await;
    for slug in ["same", "changed", "removed"] {
        house.insert_tiny(slug, "old").await;
    }
    let hosts = ["same.example", "changed.example"];
    let before = pids(&house, &hosts).await;
    let removed = house.page("removed.example").await["pid"].clone();
    let load = Load::start(house.client, &hosts, "/");
    kill(&mut house);
    house.set_marker("changed", "new").await;
    house
        .sql("DELETE FROM emperor.sites WHERE slug = 'removed'", &[])
        .await;
    house.emperor.start_again().await;
    let changed = house
        .page_where("changed.example", |page| page["marker"] == "new")
        .await;
    assert_ne!(changed["pid"], before[2]);
    for pid in [&before[2], &removed] {
        eventually("the end of an old worker", PATIENCE, async || {
            let ended = !process(pid).is_alive();
            ended.then_some(()).ok_or_else(|| pid.to_string())
        })
        .await;
    }
    load.stop().await;
    let after = pids(&house, &hosts).await;
    assert_eq!(after[..2], before[..2]);
}

#[tokio::test]
async fn an_emperor_that_refuses_to_start_touches_nothing() {
    let mut house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = pids(&house, &["one.example"]).await;
    let good = house.config_text();
    kill(&mut house);
    let load = Load::start(house.client, &["one.example"], "/");
    house
        .emperor
        .configure(&good.replace("postgresql://", "nonsense://"));
    let refused = house.emperor.run(&["run"]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    house.emperor.configure(&good);
    house.emperor.start_again().await;
    go_on(&load).await;
    load.stop().await;
    assert_eq!(pids(&house, &["one.example"]).await, before);
}

#[tokio::test]
async fn a_worker_that_ended_while_there_was_no_emperor_is_noticed() {
    let mut house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = house.page("one.example").await["pid"].clone();
    kill(&mut house);
    process(&before).signal(Signal::SIGKILL);
    house.emperor.start_again().await;
    house
        .page_where("one.example", |page| page["pid"] != before)
        .await;
    let site = house.emperor.in_state("one", "ready").await;
    assert_eq!(site["restarts"], 1);
}

/// Says that it is ready once there is a file `go`, and then that it said so, whoever heard it.
const SLOW_TO_BE_READY: &str = r#"
import os, socket, sys, time

notes = sys.argv[1]
while not os.path.exists(notes + "/go"):
    time.sleep(0.01)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
try:
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
except OSError:
    pass
open(f"{notes}/said-{os.getpid()}", "w").close()
listener = socket.socket(fileno=3)
page = b'{"pid": %d}' % os.getpid()
head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page)
while True:
    client, _ = listener.accept()
    if client.recv(16384):
        client.sendall(head + page)
    client.close()
"#;

#[tokio::test]
async fn a_worker_that_said_to_nobody_that_it_is_ready_is_started_anew_and_not_waited_for() {
    let mut house = House::open().await;
    let notes = house.place.folder("notes");
    fs::set_permissions(&notes, Permissions::from_mode(0o777)).unwrap();
    let program = house.place.join("slow.py");
    fs::write(&program, SLOW_TO_BE_READY).unwrap();
    // A deadline that nobody here would live to see.
    let ready = "[ready]\nprobe = \"notify\"\ntimeout = \"1h\"\n";
    let vars = format!(
        "[vars]\nprogram = \"python3\"\nargs = [\"{}\", \"{}\"]\n",
        program.display(),
        notes.display()
    );
    let row = Row::new("slow", "command", &format!("{ready}{vars}"));
    house.insert(&row).await;
    let worker = eventually("the worker", PATIENCE, async || {
        let mut all = house.emperor.processes().into_iter();
        let found = all.find(|process| process.name() == "python3");
        found.ok_or_else(|| house.emperor.log_tail())
    })
    .await;
    kill(&mut house);
    fs::write(notes.join("go"), "").unwrap();
    let said = notes.join(format!("said-{}", worker.pid()));
    eventually("what the worker said", PATIENCE, async || {
        fs::metadata(&said).map_err(|error| error.to_string())
    })
    .await;
    house.emperor.start_again().await;
    house.emperor.in_state("slow", "ready").await;
    let page = house.page("slow.example").await;
    assert_ne!(page["pid"], worker.pid());
    eventually("the end of the first", PATIENCE, async || {
        let ended = !worker.is_alive();
        ended.then_some(()).ok_or_else(|| format!("{worker:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_router_that_would_be_started_otherwise_now_is_replaced_without_loss() {
    let mut house = House::open().await;
    house.insert_tiny("one", "").await;
    let before = pids(&house, &["one.example"]).await;
    let load = Load::start(house.client, &["one.example"], "/");
    kill(&mut house);
    house.configure("threads = 1");
    house.emperor.start_again().await;
    eventually("another router alone", PATIENCE, async || {
        let router = house.emperor.router().await;
        let alone = before[0] != router.pid() && !process(&before[0]).is_alive();
        alone.then_some(()).ok_or_else(|| format!("{router:?}"))
    })
    .await;
    go_on(&load).await;
    load.stop().await;
    assert_eq!(house.page("one.example").await["pid"], before[1]);
}

#[tokio::test]
async fn a_replacement_that_an_emperor_did_not_finish_is_finished_by_the_next() {
    let mut house = House::open().await;
    house.insert_tiny("one", "old").await;
    let before = house.page("one.example").await["pid"].clone();
    let load = Load::start(house.client, &["one.example"], "/");
    house.set_marker("one", "new").await;
    // Wherever it is when the signal comes.
    kill(&mut house);
    house.emperor.start_again().await;
    house
        .page_where("one.example", |page| page["marker"] == "new")
        .await;
    eventually("the end of the old worker", PATIENCE, async || {
        let ended = !process(&before).is_alive();
        ended.then_some(()).ok_or_else(|| before.to_string())
    })
    .await;
    load.stop().await;
    assert_eq!(house.emperor.stop(), 0);
    assert_eq!(house.emperor.processes(), []);
}
