//! What becomes of a worker's output.

use std::process::Stdio;

use rustix::pipe::{fcntl_getpipe_size, fcntl_setpipe_size};
use site_model::SiteId;

use super::support::{House, within};
use crate::daemon::process::folder::{InstanceFolder, PIPE_BYTES};

#[tokio::test]
async fn everything_is_in_the_log_when_the_instance_is_removed() {
    let house = House::open().await;
    let script = "seq 1 5000; echo last >&2; printf unended";
    let lines = house.output_of(house.shell(7, script)).await;
    let of = |stream: &str| -> Vec<String> {
        let streams = lines
            .iter()
            .filter(|line| line.split(' ').nth(1) == Some(stream));
        streams
            .map(|line| line.splitn(3, ' ').nth(2).unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("err"), ["last"]);
    let mut expected: Vec<String> = (1..=5000).map(|n| n.to_string()).collect();
    expected.push("unended".to_owned());
    assert_eq!(of("out"), expected);
}

#[tokio::test]
async fn the_last_lines_of_standard_error_are_there_with_the_exit() {
    let house = House::open().await;
    let instance = house
        .start(house.shell(7, "seq 1 100 >&2; exit 1"))
        .await
        .unwrap();
    within(instance.exited()).await;
    let lines = instance.last_stderr();
    assert_eq!(lines.len(), 50);
    assert_eq!(lines.last().map(String::as_str), Some("100"));
    instance.remove().await;
}

#[tokio::test]
async fn two_instances_of_a_site_share_its_log() {
    let house = House::open().await;
    let first = house.output_of(house.shell(7, "echo a")).await;
    let second = house.output_of(house.shell(7, "echo b")).await;
    assert_eq!(first[..], second[..1]);
    assert_eq!(second.len(), 2);
    assert!(
        !house
            .path(&format!("state/logs/{}.log", SiteId::new(8).unwrap()))
            .exists()
    );
}

#[tokio::test]
async fn a_worker_goes_on_writing_when_nobody_reads_any_more() {
    let house = House::open().await;
    let folder = InstanceFolder::make(house.path("run/i/x")).unwrap();
    let own = house.launcher.router_identity();
    let [out, _err] = folder.make_pipes(own).unwrap();
    drop(out.own_end);
    let status = writer(out.process_end.into()).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn what_is_written_between_two_emperors_has_more_room_than_a_pipe_has_by_itself() {
    let house = House::open().await;
    let folder = InstanceFolder::make(house.path("run/i/x")).unwrap();
    let own = house.launcher.router_identity();
    let [out, err] = folder.make_pipes(own).unwrap();
    let (reader, _writer) = rustix::pipe::pipe().unwrap();
    let expected = match fcntl_setpipe_size(&reader, PIPE_BYTES) {
        Ok(room) => room,
        // The kernel gives this process no more than everybody has.
        Err(_) => fcntl_getpipe_size(&reader).unwrap(),
    };
    for pipe in [out, err] {
        assert_eq!(fcntl_getpipe_size(&pipe.process_end), Ok(expected));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a plain process with a pipe, without everything else a worker has"
)]
fn writer(stdout: Stdio) -> std::process::Command {
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", "echo one && echo two && exec echo three"])
        .stdout(stdout);
    command
}
