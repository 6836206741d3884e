//! The daemon and its command line: one program, so that what an operator types and what runs are
//! of one version.
//!
//! | module | what it is |
//! |---|---|
//! | `cli` | the commands; all but a few speak to the daemon through its control socket |
//! | `config` | `emperor.toml` |
//! | `control` | the control API on `control.sock` |
//! | `quickstart` | a private house in one folder |
//! | `logging`, `runtime` | the daemon's own log; the tokio runtime |
//! | `port_owner` | who listens on a port, for messages |
//! | `socket_path` | how long the path of a unix socket may be |
//! | `daemon` | the event loop, vassals, processes, the fastrouter |

mod cli;
mod config;
mod control;
mod daemon;
#[cfg(test)]
mod let_go;
mod logging;
mod port_owner;
mod quickstart;
mod runtime;
mod socket_path;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
