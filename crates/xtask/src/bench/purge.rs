//! `cargo xtask bench purge`: how soon a commit is a purge, whether anybody sees an older page, and
//! what it costs the database.

use clap::Args;

use super::measurements::Measurements;
use crate::workspace::Workspace;
use crate::{TaskError, provision, shell};

/// What can be said to it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `race` or `cost`, and what it takes: `race --commits 1000`; left out: both
    #[arg(value_name = "MEASUREMENT", num_args = 0.., allow_hyphen_values = true)]
    measurement: Vec<String>,
}

/// Builds and runs it.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    provision::for_quickstart()?;
    let measurements = Measurements::build(workspace)?;
    // As fast as it goes, at a pace that leaves the processors time, and the price.
    let whole = ["race", "race --rate 200 --pause 2", "cost"];
    let whole = whole.map(|words| words.split(' ').map(str::to_owned).collect());
    let given = [arguments.measurement.clone()];
    let runs = if arguments.measurement.is_empty() {
        &whole[..]
    } else {
        &given
    };
    for measurement in runs {
        let mut bench = measurements.command("bench-purge");
        shell::run(bench.args(measurement))?;
    }
    Ok(())
}
