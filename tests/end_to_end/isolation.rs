//! What a worker is given and what it can't reach.

use std::collections::BTreeSet;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;

use serde_json::Value;
use support::emperor::TIME_ZONE;
use support::place::{is_root, walk};
use support::processes::Process;
use support::{House, PATIENCE, Row, eventually, program};

async fn house_with_two_sites() -> (House, [Process; 2]) {
    let house = House::open().await;
    let mut workers = Vec::new();
    for slug in ["one", "two"] {
        house.insert_tiny(slug, "").await;
        let page = house.page(&format!("{slug}.example")).await;
        workers.push(process(&page));
    }
    (house, workers.try_into().unwrap())
}

fn process(page: &Value) -> Process {
    Process::new(i32::try_from(page["pid"].as_i64().unwrap()).unwrap())
}

fn uid(process: Process) -> u32 {
    let line = process.status_line("Uid:").unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn each_worker_and_the_router_run_as_somebody_of_their_own() {
    let (house, workers) = house_with_two_sites().await;
    let router = house.emperor.router().await;
    let uids: BTreeSet<_> = workers.into_iter().chain([router]).map(uid).collect();
    let own = nix::unistd::geteuid().as_raw();
    if is_root() {
        assert_eq!(uids.len(), 3, "{uids:?}");
        assert!(!uids.contains(&own), "{uids:?}");
    } else {
        assert_eq!(
            uids,
            BTreeSet::from([own]),
            "there is nobody else to become"
        );
    }
    for process in workers.into_iter().chain([router]) {
        assert_eq!(process.status_line("NoNewPrivs:").unwrap(), "1");
        let groups = process.status_line("Groups:").unwrap();
        assert!(
            !groups.split_whitespace().any(|group| group == "0"),
            "{groups}"
        );
    }
}

#[tokio::test]
async fn a_site_has_the_same_user_at_every_start() {
    let (mut house, workers) = house_with_two_sites().await;
    let before = workers.map(uid);
    assert_eq!(house.emperor.stop(), 0);
    house.emperor.start_again().await;
    let one = process(&house.page("one.example").await);
    let two = process(&house.page("two.example").await);
    assert_eq!(before, [one, two].map(uid));
}

#[tokio::test]
async fn a_worker_s_environment_is_clean_and_says_who_it_is() {
    let (_house, [worker, _]) = house_with_two_sites().await;
    let environment = String::from_utf8(worker.environment()).unwrap();
    let names: BTreeSet<_> = environment
        .split('\0')
        .filter_map(|variable| variable.split_once('='))
        .map(|(name, _)| name)
        .collect();
    let expected = BTreeSet::from([
        "EMPEROR_INSTANCE",
        "EMPEROR_VASSAL",
        "HOME",
        "LANG",
        "LISTEN_FDNAMES",
        "LISTEN_FDS",
        "LISTEN_PID",
        "MARKER",
        "NOTIFY_SOCKET",
        "PATH",
        "SITE_DOMAIN",
        "SITE_ID",
        "SITE_SLUG",
        "TZ",
        "USER",
    ]);
    assert_eq!(names, expected);
    let variable = |name: &str| worker.variable(name).unwrap();
    assert_eq!(variable("TZ"), TIME_ZONE);
    assert_eq!(variable("SITE_SLUG"), "one");
    assert_eq!(variable("SITE_DOMAIN"), "one.example");
    assert_eq!(variable("LISTEN_FDS"), "1");
    assert_eq!(variable("LISTEN_PID"), worker.pid().to_string());
    assert_eq!(
        variable("PATH"),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    );
}

#[tokio::test]
async fn no_socket_is_open_to_the_world_and_private_folders_are() {
    let (house, workers) = house_with_two_sites().await;
    let runtime = house.emperor.runtime_dir();
    let mut sockets = 0;
    let mut private = Vec::new();
    walk(&runtime, &mut |path, found| {
        if found.file_type().is_socket() || found.file_type().is_fifo() {
            assert_eq!(
                found.mode() & 0o007,
                0,
                "{} {:o}",
                path.display(),
                found.mode()
            );
            sockets += usize::from(found.file_type().is_socket());
        }
        if path.ends_with("private") {
            assert_eq!(found.mode() & 0o777, 0o700, "{}", path.display());
            private.push((path.to_owned(), found.uid()));
        }
    });
    assert!(
        sockets >= 4,
        "two sites, the control API and the link: {sockets} sockets"
    );
    let mut owners: Vec<_> = private.iter().map(|(_, uid)| *uid).collect();
    let mut users = workers.map(uid).to_vec();
    owners.sort_unstable();
    users.sort_unstable();
    assert_eq!(owners, users);
    if is_root() {
        nobody_enters_another_s_folder(&private);
    }
}

/// Each folder opens for its own user and for no other site's.
fn nobody_enters_another_s_folder(private: &[(std::path::PathBuf, u32)]) {
    for (folder, owner) in private {
        for (_, user) in private {
            let mut look = program::command("/bin/ls");
            let look = look.arg(folder).uid(*user).gid(*user).output().unwrap();
            assert_eq!(look.status.success(), owner == user, "{look:?}");
        }
    }
}

#[tokio::test]
async fn a_worker_s_output_has_its_own_file_that_others_can_t_read() {
    let house = House::open().await;
    for slug in ["one", "two"] {
        house.insert(&Row::new(slug, "grumbler", "")).await;
    }
    eventually("two logs", PATIENCE, async || {
        let mut logs = 0;
        walk(&house.emperor.state_dir(), &mut |path, found| {
            if path.extension().is_some_and(|extension| extension == "log") {
                assert_eq!(found.mode() & 0o007, 0, "{}", path.display());
                logs += 1;
            }
        });
        (logs >= 2).then_some(()).ok_or_else(|| logs.to_string())
    })
    .await;
}
