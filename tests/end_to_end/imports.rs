//! Sites that come from uWSGI's emperor.

use std::fs;
use std::process::Child;

use nix::sys::signal::Signal;
use serde_json::Value;
use support::place::{free_port, python};
use support::processes::Process;
use support::{Client, House, PATIENCE, eventually, program};

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        Process::new(i32::try_from(self.0.id()).unwrap()).signal(Signal::SIGINT);
        program::wait_for_end(&mut self.0, PATIENCE);
    }
}

#[tokio::test]
async fn a_vassal_that_uwsgi_runs_is_served_once_its_row_is_inserted() {
    let uwsgi = python().with_file_name("uwsgi");
    let config = format!("[templates.uwsgi]\nvars.uwsgi = {uwsgi:?}");
    let house = House::open_with(&config).await;
    let (app_dir, port) = (house.place.fixture("python"), free_port());
    let vassals = house.place.folder("vassals");
    let vassal = vassals.join("Old_Wiki.ini");
    let text = format!(
        "[uwsgi]\nhttp-socket = 127.0.0.1:{port}\nmaster = true\nbase = {}\nchdir = %(base)\n\
         module = wsgi_echo:application\nenv = SITE_ID=41\nenv = MARKER=%n\nneed-app\n\
         server-name = wiki.example www.wiki.example\nprocesses = 2\n",
        app_dir.display()
    );
    fs::write(&vassal, text).unwrap();
    let mut plain = program::command(&uwsgi);
    plain.arg("--ini").arg(&vassal);
    let plain = Running(program::start_logged(
        &mut plain,
        &house.place.join("uwsgi.log"),
    ));
    let client = Client::new(port);
    let before: Value = eventually("uWSGI", PATIENCE, async || {
        let answer = client.try_get("wiki.example", "/").await;
        answer
            .map(|answer| answer.json())
            .map_err(|error| format!("{error:?}"))
    })
    .await;
    drop(plain);

    let outcome = house
        .emperor
        .run(&["import", "uwsgi", vassals.to_str().unwrap()])
        .await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(
        outcome.err.contains("Old_Wiki.ini:3: master: not needed"),
        "{outcome:?}"
    );
    let script = house.place.join("sites.sql");
    fs::write(&script, outcome.out).unwrap();
    let insert = ["db", "psql", "--", "-f", script.to_str().unwrap()];
    // What is there already stays as it is.
    for _ in 0..2 {
        let outcome = house.emperor.run(&insert).await;
        assert_eq!(outcome.code, 0, "{outcome:?}");
    }
    for host in ["wiki.example", "www.wiki.example"] {
        let page = house.page(host).await;
        assert_eq!(page["site_id"], "41");
        for name in ["site_id", "marker", "path"] {
            assert_eq!(page[name], before[name], "{name}: {page}");
        }
    }
}
