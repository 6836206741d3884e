//! System calls per request, counted by strace in a run of its own: being traced makes a program
//! several times slower, so no other figure is taken from that run.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use rustix::process::Signal;

use super::cpu::family;
use super::error::{RouterBenchError, file};
use super::float::float;
use super::load::Load;
use super::process::{Process, pinned};
use super::stage::Stage;
use crate::progress::say;

/// Calls per request, by name.
pub(super) type PerRequest = BTreeMap<String, f64>;

/// Counts what a program and its children call while it is under load. `None`: tracing is not
/// allowed here.
pub(super) fn count(
    stage: &Stage,
    root: u32,
    load: impl FnOnce() -> Result<Load, RouterBenchError>,
) -> Result<Option<PerRequest>, RouterBenchError> {
    let processes = family(root)?;
    let summary = stage.folder().join("strace.txt");
    let mut command = pinned(stage.load_core, "strace");
    command.args(["-f", "-c", "-U", "calls,name", "-o"]);
    command.arg(&summary);
    for process in &processes {
        command.args(["-p", &process.to_string()]);
    }
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut strace = Process::start(&mut command)?;
    // Kept open until strace has ended: a closed pipe would end it before its summary. The few
    // lines that it says after these fit into the pipe.
    let mut said = strace.child().stderr.take().map(BufReader::new);
    if !attached(said.as_mut(), processes.len()) {
        say(
            "strace may not trace here (try as root, or kernel.yama.ptrace_scope = 0); \
             system calls are left out",
        );
        return Ok(None);
    }
    let load = load()?;
    strace.end(Signal::INT);
    let text = fs::read_to_string(&summary).map_err(file(&summary))?;
    Ok(Some(parse(&text, load.requests)))
}

/// Reads what strace says until it has attached to each process; `false` where it says anything
/// else, or nothing more.
fn attached(said: Option<impl BufRead>, processes: usize) -> bool {
    let lines = said.into_iter().flat_map(BufRead::lines);
    let lines = lines.take(processes).map_while(Result::ok);
    lines.filter(|line| line.contains(" attached")).count() == processes
}

fn parse(summary: &str, requests: u64) -> PerRequest {
    let lines = summary.lines().filter_map(|line| {
        let (calls, name) = line.trim().split_once(' ')?;
        let calls = calls.parse::<u64>().ok()?;
        (name != "total").then(|| (name.trim().to_owned(), float(calls) / float(requests)))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_divided_by_requests() {
        let summary = "    calls syscall\n--------- ----------------\n      200 writev\n       50 \
                       epoll_wait\n--------- ----------------\n      250 total\n";
        let expected = [("writev", 2.0), ("epoll_wait", 0.5)];
        let expected = expected.map(|(name, calls)| (name.to_owned(), calls));
        assert_eq!(parse(summary, 100), PerRequest::from(expected));
    }
}
