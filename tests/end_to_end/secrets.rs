//! The password of the database URL is seen nowhere but in the configuration file.

use std::fs;
use std::path::Path;

use support::place::{there, walk};
use support::postgres::PASSWORD;
use support::processes::Process;
use support::{House, PATIENCE, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

#[tokio::test]
async fn the_password_is_in_no_argument_environment_log_status_or_answer() {
    let mut house = House::open().await;
    house.insert_tiny("one", "").await;
    house.page("one.example").await;
    // A lost connection is where a careless log line would tell it.
    house.postgres.stop();
    eventually("the loss", PATIENCE, async || {
        let status = house.emperor.status().await;
        let lost = status["emperor"]["database"]["state"] != "connected";
        lost.then_some(()).ok_or_else(|| status.to_string())
    })
    .await;
    told_by_no_command(&house).await;
    house.postgres.start_again().await;
    house.set_marker("one", "after").await;
    house
        .page_where("one.example", |page| page["marker"] == "after")
        .await;
    told_by_no_command(&house).await;
    told_by_no_process(&house);
    told_by_no_file(&house.emperor.state_dir());
    told_by_no_file(&house.emperor.runtime_dir());
    absent("the log", house.emperor.log_text().as_bytes());
    told_by_no_answer(&house).await;
    told_by_no_row(&house).await;
}

async fn told_by_no_command(house: &House) {
    for command in [
        ["status", "--json"],
        ["status", "one"],
        ["db", "status"],
        ["check", "--json"],
        ["logs", "one"],
        ["template", "render"],
    ] {
        let mut command = command.to_vec();
        if command[1] == "render" {
            command.push("one");
        }
        let outcome = house.emperor.run(&command).await;
        absent(&command.join(" "), outcome.out.as_bytes());
        absent(&command.join(" "), outcome.err.as_bytes());
    }
}

fn told_by_no_process(house: &House) {
    let processes = house.emperor.processes();
    assert!(
        processes.len() >= 3,
        "emperor, fastrouter and a worker: {processes:?}"
    );
    for process in Process::all() {
        absent("an argument", &process.arguments());
    }
    for process in processes {
        absent("an environment", &process.environment());
    }
}

fn told_by_no_file(folder: &Path) {
    let mut seen = 0;
    walk(folder, &mut |path, found| {
        if found.is_file()
            && let Some(text) = there(path, fs::read(path))
        {
            absent(&path.display().to_string(), &text);
            seen += 1;
        }
    });
    assert!(seen > 0 || !folder.ends_with("state"), "the state is empty");
}

async fn told_by_no_answer(house: &House) {
    for path in [
        "/v1/status",
        "/openapi.json",
        "/v1/openapi.json",
        "/v1/sites",
        "/",
    ] {
        let socket = house.emperor.runtime_dir().join("control.sock");
        let mut stream = UnixStream::connect(socket).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 "), "{path}");
        absent(path, &answer);
    }
}

async fn told_by_no_row(house: &House) {
    let client = house.postgres.client().await;
    let statement = "SELECT coalesce(string_agg(s::text, ''), '') FROM emperor.site_status s";
    let rows: String = client.query_one(statement, &[]).await.unwrap().get(0);
    absent("emperor.site_status", rows.as_bytes());
}

fn absent(place: &str, text: &[u8]) {
    let canary = PASSWORD.as_bytes();
    let found = text.windows(canary.len()).position(|part| part == canary);
    if let Some(at) = found {
        let around = &text[at.saturating_sub(80)..(at + canary.len()).min(text.len())];
        panic!(
            "{place} tells the password: {}",
            String::from_utf8_lossy(around)
        );
    }
}
