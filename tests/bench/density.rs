//! What a site of a plain Django project costs under several supervisors, and how soon it answers.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement prints its figures, and where it is"
)]

use std::time::{Duration, Instant};

use clap::Parser;
use clap::builder::PossibleValuesParser;
use support::density::{Contender, Effort, Figures, measure};
use support::scenario::at;

#[derive(Debug, Parser)]
struct Arguments {
    /// How many sites there are at each stage
    #[arg(long, value_delimiter = ',', default_value = "1,20,100")]
    sites: Vec<usize>,
    /// These contenders alone
    #[arg(long, value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// How many sites are timed one by one at each stage
    #[arg(long, default_value_t = 16)]
    sample: usize,
    /// How many sites are added to the last stage, one after the other
    #[arg(long, default_value_t = 16)]
    added: usize,
    /// How many seconds requests are counted for
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

fn names() -> PossibleValuesParser {
    Contender::ALL.map(Contender::name).into()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments = Arguments::parse();
    let mut sites = arguments.sites;
    sites.sort_unstable();
    let effort = Effort {
        sites,
        sample: arguments.sample,
        counted: Duration::from_secs(arguments.seconds),
        added: arguments.added,
    };
    let wanted = |contender: &Contender| {
        arguments.only.is_empty() || arguments.only.iter().any(|name| name == contender.name())
    };
    let began = Instant::now();
    let say = |text: &str| eprintln!("{:>4} s  {text}", began.elapsed().as_secs());
    println!(
        "| | sites | MB a site | first request | hundredth | later | from asleep, p50 | p99 | \
         commit to answer, p50 | max | requests/s |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for contender in Contender::ALL.into_iter().filter(wanted) {
        for figures in measure(contender, &effort, say).await {
            println!("{}", line(contender, &figures));
        }
    }
}

fn line(contender: Contender, figures: &Figures) -> String {
    let [title, sites] = [contender.title().to_owned(), figures.sites.to_string()];
    let each = figures.memory / figures.sites.max(1) as u64;
    let tenths = each / 100_000;
    let [first] = times([500], &figures.first);
    let [hundredth] = times([500], &figures.hundredth);
    let [later] = times([500], &figures.later);
    let [woken, woken_last] = times([500, 990], &figures.woken);
    let [added, added_last] = times([500, 1000], &figures.added);
    let cells = [
        title,
        sites,
        format!("{}.{}", tenths / 10, tenths % 10),
        first,
        hundredth,
        later,
        woken,
        woken_last,
        added,
        added_last,
        format!("{:.0}", figures.rate),
    ];
    format!("| {} |", cells.join(" | "))
}

/// Nothing where nothing was measured.
fn times<const N: usize>(permilles: [usize; N], times: &[Duration]) -> [String; N] {
    permilles.map(|permille| match times {
        [] => String::new(),
        times => milliseconds(at(permille, times)),
    })
}

fn milliseconds(span: Duration) -> String {
    format!("{:.1} ms", span.as_secs_f64() * 1000.0)
}
