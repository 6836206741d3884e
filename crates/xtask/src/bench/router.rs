//! `cargo xtask bench router`: the fastrouter beside nginx and HAProxy, doing the same work.
//!
//! One backend, one load generator and every contender run at once; the rounds take turns (A, B, C,
//! A, B, C, …), so that whatever else the machine does meets all alike, and ratios are made within
//! a round. What the figures mean and how to read them is in `docs/PERFORMANCE.md`.
//!
//! | module | what |
//! |---|---|
//! | [`backend`] | the worker that stands behind all of them |
//! | [`contender`] | how each is configured and started |
//! | [`emperor`] | what the fastrouter is told over its link |
//! | [`stage`] | the private folder, the cores, the backend |
//! | [`process`], [`cpu`] | processes that end with their owner, and the CPU they take |
//! | [`request`], [`client`] | what is asked, and one who asks |
//! | [`effort`], [`load`], [`syscalls`] | how much is measured; wrk, strace |
//! | [`cache`], [`flat`] | the page cache beside those of nginx and Varnish, and with ever more pages |
//! | [`http_cache`] | the public test-suite of HTTP caches |
//! | [`error`] | why nothing is measured |
//! | [`figures`], [`float`], [`report`] | medians and ratios, and how they are written down |

pub(super) mod backend;
pub(super) mod cache;
mod client;
mod contender;
mod cpu;
mod effort;
mod emperor;
mod error;
mod figures;
mod flat;
mod float;
pub(super) mod http_cache;
mod load;
mod process;
mod report;
mod request;
mod stage;
mod syscalls;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use contender::{Contender, Headers, Plan};
use effort::Effort;
use figures::{Round, Series};
use load::Load;
use stage::Stage;

pub(crate) use error::RouterBenchError;

use super::document;
use crate::progress::say;
use crate::provision::{self, Need};
use crate::shell;
use crate::workspace::Workspace;

/// Where the figures are kept.
const DOCUMENT: &str = "docs/PERFORMANCE.md";
const SECTION: &str = "bench router";

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How many rounds each contender has
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long a round is
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// How many kept-alive connections the load generator has
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// These contenders alone
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<Program>,
    /// Another build of the fastrouter, to be measured beside this one
    #[arg(long, value_name = "PATH")]
    also: Vec<PathBuf>,
    /// nginx and HAProxy once more, without the headers that the fastrouter adds to a request
    #[arg(long)]
    bare: bool,
    /// Write the figures into docs/PERFORMANCE.md
    #[arg(long)]
    write: bool,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Program {
    Nginx,
    Haproxy,
    Fastrouter,
}

/// Measures, prints the tables and, if asked to, writes them down.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), RouterBenchError> {
    provision::for_measurements(&[Need::Nginx, Need::HaProxy, Need::Wrk, Need::Strace])?;
    let plans = plans(workspace, arguments)?;
    let stage = Stage::set()?;
    let contenders = plans
        .iter()
        .map(|plan| Contender::start(plan, &stage))
        .collect::<Result<Vec<_>, _>>()?;
    let effort = Effort {
        times: arguments.rounds,
        seconds: arguments.seconds,
        connections: arguments.connections,
    };
    let series = measure(&stage, &contenders, effort)?;
    let report = report::markdown(&series, effort);
    let printed = io::stdout().write_all(report.as_bytes());
    printed.map_err(|source| RouterBenchError::File {
        path: "/dev/stdout".into(),
        source,
    })?;
    if arguments.write {
        document::replace_section(&workspace.path(DOCUMENT), SECTION, &report)?;
    }
    Ok(())
}

fn plans(workspace: &Workspace, arguments: &Arguments) -> Result<Vec<Plan>, RouterBenchError> {
    let wanted = |program| arguments.only.is_empty() || arguments.only.contains(&program);
    let mut references = Vec::new();
    if wanted(Program::Nginx) {
        references.push(Plan::Nginx as fn(Headers) -> Plan);
    }
    if wanted(Program::Haproxy) {
        references.push(Plan::HaProxy);
    }
    let of_all = |headers| references.iter().map(move |plan| plan(headers));
    let mut plans: Vec<_> = of_all(Headers::Forwarding).collect();
    if arguments.bare {
        plans.extend(of_all(Headers::Bare));
    }
    if wanted(Program::Fastrouter) {
        say("Building an optimised fastrouter");
        let mut build = workspace.cargo("build");
        shell::run(build.args(["--release", "-p", "fastrouter"]))?;
        let programs = workspace.programs(crate::workspace::Profile::Release);
        plans.push(Plan::Fastrouter {
            program: programs.join("fastrouter"),
            label: None,
        });
    }
    plans.extend(arguments.also.iter().map(|program| Plan::Fastrouter {
        program: program.clone(),
        label: Some(program.display().to_string()),
    }));
    Ok(plans)
}

fn measure(
    stage: &Stage,
    contenders: &[Contender],
    effort: Effort,
) -> Result<Vec<Series>, RouterBenchError> {
    let run =
        |contender: &Contender, seconds| load::run(stage, contender, effort.connections, seconds);
    say("Warming up");
    for contender in contenders {
        run(contender, 1)?;
    }
    let rounds = take_turns(contenders, effort.times, |_, contender| {
        run(contender, effort.seconds)
    })?;
    say("Counting system calls");
    let mut series = Vec::new();
    for (contender, rounds) in contenders.iter().zip(rounds) {
        let load = || run(contender, 1);
        series.push(Series {
            name: contender.name().to_owned(),
            role: contender.role(),
            rounds,
            syscalls: syscalls::count(stage, contender.processes(), load)?,
        });
    }
    Ok(series)
}

/// So many rounds of each, in turn: what else the machine does meanwhile is the same for all.
fn take_turns(
    contenders: &[Contender],
    times: u32,
    run: impl Fn(usize, &Contender) -> Result<Load, RouterBenchError>,
) -> Result<Vec<Vec<Round>>, RouterBenchError> {
    let mut rounds = vec![Vec::new(); contenders.len()];
    for number in 1..=times {
        for (place, contender) in contenders.iter().enumerate() {
            let before = cpu::taken_by(contender.processes())?;
            let load = run(place, contender)?;
            let taken = cpu::taken_by(contender.processes())?.since(before);
            let round = Round::new(&load, taken);
            say(&format!("Round {number}: {}: {round}", contender.name()));
            rounds[place].push(round);
        }
    }
    Ok(rounds)
}
