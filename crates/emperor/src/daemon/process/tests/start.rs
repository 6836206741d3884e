//! What a worker finds when it starts, and what is told when it can't.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use std::time::Duration;

use site_model::Protocol;
use vassal_core::RenderedFile;
use vassal_core::lifecycle::Prospect;
use vassal_core::settings::Probe;
use wire::exec::ExecStep;

use super::support::{House, is_root, ready, within};
use crate::daemon::process::{Outcome, SpawnFailure, Start};

#[tokio::test]
async fn a_worker_has_a_clean_environment_that_tells_of_its_site() {
    let house = House::open().await;
    let mut run = house.command(7, &["env"]);
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    run.launch.env = vec![
        own("SECRET", "s"),
        own("LANG", "de_DE.UTF-8"),
        own("SITE_ID", "forged"),
        own("LISTEN_FDS", "9"),
    ];
    let incarnation = run.order.incarnation;
    let account = house
        .launcher
        .identity_of(run.order.site, &run.order.run_as);
    let account = account.await.unwrap();
    let folder = house.path(&format!("run/i/7.{incarnation}"));
    let lines = house.output_of(run).await;

    let prefix = format!("1.{incarnation} out ");
    let mut found: Vec<_> = lines
        .iter()
        .map(|l| l.strip_prefix(&prefix).unwrap())
        .collect();
    found.retain(|line| !line.starts_with("LISTEN_PID=") && !line.starts_with("TZ="));
    let home = account.home.unwrap_or_else(|| folder.join("private"));
    let expected = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        &format!("HOME={}", home.display()),
        &format!("USER={}", account.name),
        "LANG=de_DE.UTF-8",
        "SECRET=s",
        "SITE_ID=7",
        "SITE_SLUG=slug-7",
        "SITE_DOMAIN=www.site-7.example",
        "EMPEROR_VASSAL=slug-7",
        "EMPEROR_INSTANCE=1",
        &format!("NOTIFY_SOCKET={}", folder.join("notify").display()),
        "LISTEN_FDS=1",
        "LISTEN_FDNAMES=listen",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_worker_inherits_its_listening_socket_and_no_other_descriptor() {
    let house = House::open().await;
    let script = "test $LISTEN_PID = $$ && echo me; for n in 0 3 4 5 6 7 8 9; do
        readlink /proc/$$/fd/$n; done; true";
    let lines = house.output_of(house.shell(7, script)).await;
    let found: Vec<_> = lines
        .iter()
        .map(|line| line.split(' ').nth(2).unwrap())
        .collect();
    assert_eq!(found[..2], ["me", "/dev/null"]);
    assert!(
        found[2].starts_with("socket:") && found.len() == 3,
        "{found:?}"
    );
}

#[tokio::test]
async fn rendered_files_lie_in_a_folder_for_its_user_alone() {
    let house = House::open().await;
    let script = "pwd; cat app.ini; stat -c '%a %U %n' . app.ini | sed s/UNKNOWN/me/ | sed s/$USER/me/; umask; id -G";
    let run = house.shell(7, script).with_file("app.ini", "workers = 2\n");
    let incarnation = run.order.incarnation;
    let private = house.path(&format!("run/i/7.{incarnation}/private"));
    let lines = house.output_of(run).await;
    let found: Vec<_> = lines
        .iter()
        .map(|l| l.splitn(3, ' ').nth(2).unwrap())
        .collect();
    let expected = [
        private.to_str().unwrap(),
        "workers = 2",
        "700 me .",
        "600 me app.ini",
        "0027",
    ];
    assert_eq!(found[..5], expected);
    if is_root() {
        assert_eq!(found[5], "271000");
    }
}

#[tokio::test]
async fn a_file_name_that_leads_elsewhere_is_refused() {
    let house = House::open().await;
    for name in ["../x", "a/b", "..", "", "/etc/x"] {
        let run = house.shell(7, "true").with_file(name, "");
        let failure = house.start(run).await.unwrap_err();
        assert!(
            matches!(failure, SpawnFailure::FileName(_)),
            "{name}: {failure}"
        );
    }
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_socket_that_the_emperor_binds_is_the_routers_and_nobody_elses() {
    let house = House::open().await;
    let instance = house
        .start(house.command(7, &["sleep", "600"]))
        .await
        .unwrap();
    let found = instance.socket().metadata().unwrap();
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    assert_eq!(found.gid(), house.launcher.router_identity().gid);
    instance.remove().await;
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_missing_program_and_a_missing_folder_are_told_and_leave_nothing() {
    let house = House::open().await;
    let program = house.command(7, &["no-such-program"]);
    let mut folder = house.shell(7, "true");
    folder.launch.working_dir = Some("/no/such/folder".into());
    for (run, step) in [(program, ExecStep::Exec), (folder, ExecStep::WorkingDir)] {
        let failure = house.start(run).await.unwrap_err();
        assert_eq!(failure.prospect(), Prospect::Lasting);
        let SpawnFailure::Exec(failure) = failure else {
            panic!("{failure}");
        };
        assert_eq!((failure.step, failure.errno), (step, 2));
    }
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_missing_helper_is_told_and_leaves_nothing() {
    let mut house = House::open().await;
    let tools = std::sync::Arc::get_mut(&mut house.launcher.tools).unwrap();
    tools.programs.vassal_exec = "/no/such/vassal-exec".into();
    let failure = house.start(house.shell(7, "true")).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "could not start vassal-exec: No such file or directory (os error 2)"
    );
    assert_eq!(house.instance_folders(), 0);
}

#[tokio::test]
async fn a_wanted_number_of_descriptors_is_the_limit() {
    let house = House::open().await;
    let mut run = house.shell(7, "ulimit -Sn; ulimit -Hn; ulimit -Sc");
    run.order.limits.nofile = 77;
    let lines = house.output_of(run).await;
    let found: Vec<_> = lines
        .iter()
        .map(|line| line.split(' ').nth(2).unwrap())
        .collect();
    assert_eq!(found, ["77", "77", "0"]);
}

#[tokio::test]
async fn the_fastrouter_is_started_with_its_sockets_and_ends() {
    let house = House::open().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let router = house
        .launcher
        .spawn_fastrouter(crate::daemon::process::FastrouterOrder {
            listeners: &[listener.into()],
            access_log: None,
            link: &house.path("run/fastrouter.sock"),
            threads: 1,
            record: &crate::daemon::process::FastrouterRecord {
                places: vec!["127.0.0.1:0".into()],
                make: String::new(),
            },
        })
        .await
        .unwrap();
    assert!(within(router.exited()).await.is_success());
    router.remove().await;
    assert_eq!(house.instance_folders(), 0);
}

fn noted(start: &Start) -> Vec<&'static str> {
    let steps = start.told().steps;
    steps.iter().map(|taken| taken.step.as_str()).collect()
}

#[tokio::test]
async fn a_start_notes_its_steps_up_to_the_one_that_fails() {
    let house = House::open().await;
    let run = house.command(7, &["/nowhere/to/be/found"]);
    let start = Start::begin(run.order.incarnation, Duration::ZERO);
    let failure = house.start_noted(run, start.clone()).await.unwrap_err();
    start.end(Outcome::Failed(failure.to_string()));
    let steps = ["turn", "user", "folder", "socket", "files", "spawn", "exec"];
    assert_eq!(noted(&start), steps);

    let mut run = house.command(7, &["true"]);
    run.launch.files.push(RenderedFile {
        name: "a/b".to_owned(),
        text: String::new(),
    });
    let start = Start::begin(run.order.incarnation, Duration::ZERO);
    house.start_noted(run, start.clone()).await.unwrap_err();
    assert_eq!(noted(&start), steps[..5], "it fails at its files");
}

#[tokio::test]
async fn a_probe_notes_the_first_connection_and_the_first_answer() {
    let house = House::open().await;
    let program = "
import os, socket
s = socket.socket(fileno=3)
while True:
    c, _ = s.accept(); c.recv(9999)
    c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n'); c.close()";
    let run = house.python(7, program);
    let start = Start::begin(run.order.incarnation, Duration::ZERO);
    let instance = house.start_noted(run, start.clone()).await.unwrap();
    let probe = Probe::Http {
        path: "/".into(),
        status: vec![(200, 200)],
    };
    let host: site_model::Hostname = "www.example.com".parse().unwrap();
    let probed = instance.probe(&ready(probe), &host.into(), Protocol::Http);
    within(probed).await.unwrap();
    assert_eq!(noted(&start)[6..], ["exec", "connect", "answer"]);
    instance.remove().await;
}
