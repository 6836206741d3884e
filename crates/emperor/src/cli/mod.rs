//! The commands. Each asks the daemon through its control socket and says what it was told; only
//! `run`, `quickstart`, `check`, `db`, `import`, `completions` and `man` do without one.
//!
//! | module | what it is |
//! |---|---|
//! | `args` | the grammar |
//! | `client` | the way to the daemon |
//! | `failure` | failures and their exit statuses |
//! | `output`, `text` | standard output; how things are written for people |
//! | the others | one command each |

mod args;
mod cache;
mod check;
mod client;
mod db;
mod failure;
mod import;
mod logs;
mod orders;
pub(crate) mod output;
mod pages;
mod rewriting;
mod site;
mod source;
mod status;
mod template;
pub(crate) mod text;
mod watches;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tracing::Level;

use crate::config::{self, Config, Surroundings};
use crate::daemon::{self, ClusterFailure};
use crate::logging::{self, LogStyle};
use crate::{quickstart, runtime};
use args::{Cli, Command, LogFormat, Logging};
#[cfg(test)]
pub(crate) use client::Stream;
pub(crate) use client::{Client, ClientError};
use failure::{Failure, Status};

/// Runs the command line of a process.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    let Err(failure) = dispatch(&cli) else {
        return ExitCode::SUCCESS;
    };
    let status = failure.status();
    if status != Status::Done && !failure.is_shown() {
        // Where standard error is closed too, the exit status still says it.
        drop(writeln!(
            anstream::stderr(),
            "{}",
            headed(&failure.to_string())
        ));
    }
    status.into()
}

/// A failure as it is told. Diagnostics come with a heading of their own.
fn headed(failure: &str) -> String {
    if failure.starts_with("error: ") {
        return failure.to_owned();
    }
    format!("emperor: {failure}")
}

fn dispatch(cli: &Cli) -> Result<(), Failure> {
    let file = cli.config.as_deref();
    match &cli.command {
        Command::Completions(command) => Ok(pages::completions(command.shell)?),
        Command::Man => Ok(pages::manual()?),
        Command::Import(command) => import::run(command),
        Command::Run(command) => {
            logging::start(style(&command.logging), Level::INFO);
            let config = config::load(file, &Surroundings::of_this_process())?;
            Ok(runtime::all_cores()?.block_on(daemon::run(config, ClusterFailure::Retried))?)
        }
        Command::Quickstart(command) => {
            // What it has to say, it says itself; of the log, only what is wrong.
            logging::start(style(&command.logging), Level::WARN);
            let running = quickstart::run(&command.dir, &command.listen);
            Ok(runtime::all_cores()?.block_on(running)?)
        }
        Command::Check(command) => {
            runtime::one_thread()?.block_on(check::run(command.format, file))
        }
        Command::Status(command) => asking(file, async |ask, _| status::run(command, ask).await),
        Command::Site(command) => asking(file, async |ask, _| site::run(command, ask).await),
        Command::Reload(command) => asking(file, async |ask, _| orders::reload(command, ask).await),
        Command::Purge(command) => asking(file, async |ask, _| cache::purge(command, ask).await),
        Command::Cache(command) => asking(file, async |ask, _| cache::run(command, ask).await),
        Command::Reread => asking(file, async |ask, _| orders::reread(ask).await),
        Command::Logs(command) => asking(file, async |ask, _| logs::run(command, ask).await),
        Command::ConfirmRemovals => {
            asking(file, async |ask, _| orders::confirm_removals(ask).await)
        }
        Command::Template(command) => {
            asking(file, async |ask, _| template::run(command, ask).await)
        }
        Command::Db(command) => asking(file, async |ask, config| {
            db::run(command, config, ask).await
        }),
    }
}

/// A command that asks the daemon which the configuration leads to.
fn asking(
    file: Option<&Path>,
    run: impl AsyncFnOnce(&Client, &Config) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let surroundings = Surroundings::of_this_process();
    let config = config::load(file, &surroundings)?;
    let client = Client::of(&config, &surroundings);
    runtime::one_thread()?.block_on(run(&client, &config))
}

fn style(logging: &Logging) -> LogStyle {
    match logging.log_format {
        LogFormat::Auto => LogStyle::Fitting,
        LogFormat::Compact => LogStyle::Compact,
        LogFormat::Json => LogStyle::Json,
    }
}
