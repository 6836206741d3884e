//! The load: wrk with a fixed number of kept-alive connections, each asking again as soon as it is
//! answered.

use std::process::Stdio;

use serde::Deserialize;

use super::contender::Contender;
use super::error::RouterBenchError;
use super::process::pinned;
use super::request::TARGET;
use super::stage::Stage;
use crate::shell;

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
}
