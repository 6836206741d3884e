//! `cargo xtask bench`: measurements, not tests. Each prints a table; none has a bound that fails.

mod density;
mod document;
mod measurements;
mod purge;
mod router;
mod spawn;
mod supervision;

use clap::Subcommand;

use crate::error::TaskError;
use crate::workspace::Workspace;

pub(crate) use document::DocumentError;
pub(crate) use router::RouterBenchError;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Arguments {
    /// The fastrouter beside nginx and HAProxy: CPU, requests per second, latency, system calls
    Router(router::Arguments),
    /// What stands behind the proxies of `router`; started by it, with a socket as standard input
    #[command(hide = true)]
    Backend(router::backend::Arguments),
    /// Hits of the page cache beside nginx and Varnish, and purges under load
    Cache(router::cache::Arguments),
    /// The public test-suite of HTTP caches against the fastrouter
    HttpCache(router::http_cache::Arguments),
    /// From the commit of a row to the `exec` of its worker
    Spawn(spawn::Arguments),
    /// From a commit to the next visitor's page, and what watching a table costs the database
    Purge(purge::Arguments),
    /// Many sites of one Django project: memory, wake-ups, requests, beside uWSGI's emperor
    Density(density::Arguments),
    /// What happens by the thousands: kills, cold starts, a crash storm, an update of every row
    Supervision(supervision::Arguments),
}

/// Measures.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<(), TaskError> {
    match arguments {
        Arguments::Router(arguments) => Ok(router::run(workspace, arguments)?),
        Arguments::Backend(arguments) => Ok(router::backend::serve(arguments)?),
        Arguments::Cache(arguments) => Ok(router::cache::run(workspace, arguments)?),
        Arguments::HttpCache(arguments) => Ok(router::http_cache::run(workspace, arguments)?),
        Arguments::Spawn(arguments) => spawn::run(workspace, arguments),
        Arguments::Purge(arguments) => purge::run(workspace, arguments),
        Arguments::Density(arguments) => density::run(workspace, arguments),
        Arguments::Supervision(arguments) => supervision::run(workspace, arguments),
    }
}
