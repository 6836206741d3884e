//! The load: wrk with a fixed number of kept-alive connections, each asking again as soon as it is
//! answered.

use std::process::Stdio;

use serde::Deserialize;

use super::RouterBenchError;
use super::contender::Contender;
use super::process::pinned;
use super::stage::Stage;
use crate::shell;

/// The host of the one site.
pub(super) const HOST: &str = "bench.example";
/// What is asked for.
pub(super) const TARGET: &str = "/articles/2026/a-page/?from=home";
/// Headers such as a browser sends, so that reading and handing on a head counts.
pub(super) const HEADERS: [&str; 6] = [
    ANONYMOUS[0],
    ANONYMOUS[1],
    ANONYMOUS[2],
    ANONYMOUS[3],
    ANONYMOUS[4],
    "Cookie: sessionid=4f1c7d0b9a6e4f58b1c2; csrftoken=Zk3vT0pQm8",
];
/// The same from one who never logged in: what caches may answer.
pub(super) const ANONYMOUS: [&str; 5] = [
    "Host: bench.example",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
];

const FIGURES_LUA: &str = include_str!("figures.lua");

/// What wrk saw.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Load {
    /// Answers received.
    pub(super) requests: u64,
    /// Answers with a bad status, and errors of the connections.
    pub(super) failed: u64,
    /// How long it lasted.
    pub(super) duration_us: u64,
    /// Half of the answers came within this.
    pub(super) p50_us: u64,
    /// 99 of 100 answers came within this.
    pub(super) p99_us: u64,
}

/// Puts load on one contender.
pub(super) fn run(
    stage: &Stage,
    contender: &Contender,
    connections: u32,
    seconds: u32,
) -> Result<Load, RouterBenchError> {
    run_script(stage, contender, FIGURES_LUA, connections, seconds)
}

/// The same for pages that are picked by lot, `/many/0` and so many.
pub(super) fn run_over_pages(
    stage: &Stage,
    contender: &Contender,
    pages: u32,
    connections: u32,
    seconds: u32,
) -> Result<Load, RouterBenchError> {
    let pick = format!("return wrk.format(nil, '/many/' .. math.random(0, {pages} - 1))");
    let script = format!("{FIGURES_LUA}\nrequest = function() {pick} end\n");
    run_script(stage, contender, &script, connections, seconds)
}

fn run_script(
    stage: &Stage,
    contender: &Contender,
    script: &str,
    connections: u32,
    seconds: u32,
) -> Result<Load, RouterBenchError> {
    let script = stage.write("figures.lua", script)?;
    let mut wrk = pinned(stage.load_core, "wrk");
    wrk.arg("--threads=1");
    wrk.arg(format!("--connections={connections}"));
    wrk.arg(format!("--duration={seconds}s"));
    wrk.arg("--script").arg(script);
    for header in contender.headers() {
        wrk.args(["--header", header]);
    }
    wrk.arg(format!("http://{}{TARGET}", contender.address()));
    let said = shell::output(wrk.stdin(Stdio::null()))?;
    let load = parse(&said)?;
    if load.failed > 0 || load.requests == 0 {
        return Err(RouterBenchError::FailedRequests {
            contender: contender.name().to_owned(),
            failed: load.failed,
            requests: load.requests,
        });
    }
    Ok(load)
}

fn parse(said: &str) -> Result<Load, RouterBenchError> {
    let line = said.lines().rfind(|line| line.starts_with('{'));
    let load = line.and_then(|line| serde_json::from_str(line).ok());
    load.ok_or_else(|| RouterBenchError::Wrk {
        said: said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_found_after_what_wrk_says_by_itself() {
        let line = r#"{"requests":9,"failed":0,"duration_us":3000000,"p50_us":410,"p99_us":990}"#;
        let load = parse(&format!("Running 3s test\n  1 threads\n\n{line}\n")).unwrap();
        assert_eq!((load.requests, load.p50_us, load.p99_us), (9, 410, 990));
        assert!(parse("unable to connect").is_err());
    }

    #[test]
    fn the_host_asked_for_is_that_of_the_site() {
        assert_eq!(HEADERS[0], format!("Host: {HOST}"));
    }
}
