//! `cargo xtask chaos`: every fault under load, a table of what the visitors met, and exit status 1
//! where a bound was broken.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a harness that fails has nothing better to do than to panic, and it prints"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use support::chaos::{Fault, Form, Stage, faults, report, try_fault};

#[derive(Debug, Parser)]
struct Arguments {
    /// The short form: seconds where the long one takes minutes
    #[arg(long)]
    short: bool,
    /// Requests per second over all sites
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Only the faults whose names hold one of these words
    #[arg(long, value_name = "WORD")]
    only: Vec<String>,
    /// Where the requests go that should not have failed, one line of JSON each
    #[arg(long, value_name = "FILE")]
    broken: PathBuf,
}

impl Arguments {
    fn form(&self) -> Form {
        if self.short { Form::Short } else { Form::Long }
    }

    fn wants(&self, fault: &Fault) -> bool {
        let named = |word: &String| fault.name.contains(word.as_str());
        self.only.is_empty() || self.only.iter().any(named)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut stage = Stage::open(arguments.form(), arguments.rate).await;
    let mut trials = Vec::new();
    for fault in faults::ALL.iter().filter(|fault| arguments.wants(fault)) {
        eprintln!("==> {}", fault.name);
        trials.push(try_fault(&mut stage, fault).await);
    }
    println!("{}", report::table(&trials));
    std::fs::write(&arguments.broken, report::broken_requests(&trials)).unwrap();
    let broken: usize = trials.iter().map(|trial| trial.broken().len()).sum();
    if broken == 0 {
        return ExitCode::SUCCESS;
    }
    let file = arguments.broken.display();
    eprintln!("{broken} requests should not have failed; they are in {file}");
    ExitCode::FAILURE
}
