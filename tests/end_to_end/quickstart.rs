//! `emperor quickstart` as a newcomer runs it: in an empty folder, and once more on what is there.

use std::process::Child;

use nix::sys::signal::Signal;
use support::place::free_port;
use support::processes::Process;
use support::{Client, PATIENCE, Place, eventually, program};

/// A quickstart in the foreground, with its output in a file.
#[derive(Debug)]
struct Quickstart<'a> {
    place: &'a Place,
    child: Child,
}

impl<'a> Quickstart<'a> {
    fn start(place: &'a Place, port: u16, log: &str) -> Self {
        let mut command = program::command(program::built("emperor"));
        command
            .arg("quickstart")
            .arg("--dir")
            .arg(place.join("data"))
            .args(["--listen", &format!("127.0.0.1:{port}")]);
        let child = program::start_logged(&mut command, &place.join(log));
        Self { place, child }
    }

    fn stop(mut self) {
        self.process().signal(Signal::SIGINT);
        let ended = program::wait_for_end(&mut self.child, PATIENCE);
        assert_eq!(ended.and_then(|status| status.code()), Some(0));
        assert_eq!(Process::of(&self.place.join("data")), []);
    }

    fn process(&self) -> Process {
        Process::new(i32::try_from(self.child.id()).unwrap())
    }
}

impl Drop for Quickstart<'_> {
    fn drop(&mut self) {
        for process in Process::of(self.place.path()) {
            process.signal(Signal::SIGKILL);
        }
        let _ended = self.child.wait();
    }
}

#[tokio::test]
async fn a_newcomer_gets_three_sites_and_adds_a_fourth() {
    let place = Place::new();
    let port = free_port();
    let client = Client::new(port);
    let first = Quickstart::start(&place, port, "first.log");
    let printed = printed(&place, "first.log", port).await;
    let hosts = hosts(&printed, port);
    assert!(hosts.len() >= 3, "three addresses are printed: {printed}");
    for host in &hosts[..3] {
        answers(client, host).await;
    }
    let line = psql_line(&printed);
    program::run(program::command("/bin/sh").args(["-c", line]));
    let fourth = fourth_host(line);
    answers(client, &fourth).await;
    first.stop();

    let second = Quickstart::start(&place, port, "second.log");
    for host in hosts[..3].iter().chain([&fourth]) {
        answers(client, host).await;
    }
    second.stop();
}

/// What was printed once the line with psql is there.
async fn printed(place: &Place, log: &str, port: u16) -> String {
    eventually("the addresses and the psql line", PATIENCE, async || {
        let text = std::fs::read_to_string(place.join(log)).unwrap();
        let whole = text.contains("psql ") && hosts(&text, port).len() >= 3;
        if whole { Ok(text) } else { Err(text) }
    })
    .await
}

/// The hosts of the printed addresses, in their order.
fn hosts(printed: &str, port: u16) -> Vec<String> {
    let end = format!(":{port}");
    let mut hosts = Vec::new();
    for (_, after) in printed
        .match_indices("http://")
        .map(|(at, http)| printed.split_at(at + http.len()))
    {
        let host = after.split(&end).next().unwrap_or_default();
        let is_host = host.ends_with(".localhost") && !host.contains(char::is_whitespace);
        if is_host && !hosts.iter().any(|known| known == host) {
            hosts.push(host.to_owned());
        }
    }
    hosts
}

fn psql_line(printed: &str) -> &str {
    let mut lines = printed.lines().map(str::trim);
    let line = lines.find(|line| line.contains("psql ") && line.contains("INSERT"));
    line.unwrap_or_else(|| panic!("no psql line: {printed}"))
}

/// The slug in `VALUES ('SLUG'…`.
fn fourth_host(line: &str) -> String {
    let (_, values) = line.split_once("VALUES").unwrap();
    let slug = values.split('\'').nth(1).unwrap();
    format!("{slug}.localhost")
}

async fn answers(client: Client, host: &str) {
    let slug = host.split('.').next().unwrap();
    eventually(&format!("the page of {host}"), PATIENCE, async || {
        let answer = client.try_get(host, "/").await;
        let answer = answer.map_err(|failure| format!("{failure:?}"))?;
        let names_itself = answer.status.is_success() && answer.text().contains(slug);
        names_itself.then_some(()).ok_or_else(|| answer.text())
    })
    .await;
}
