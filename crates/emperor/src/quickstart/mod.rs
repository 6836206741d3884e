//! `emperor quickstart`: a private PostgreSQL, a router and three demo sites in one folder, with a
//! word on everything it does. What runs is the daemon, with a configuration that this wrote.
//!
//! | module | what it is |
//! |---|---|
//! | `place` | which folders |
//! | `port` | who has the port |
//! | `progress` | lines with the time each step took |
//! | `guide` | following the daemon, the demo sites, what to try |

mod guide;
mod place;
mod port;
mod progress;

use std::path::{Path, PathBuf};

use site_registry::cluster::{self, ClusterError};
use thiserror::Error;
use wire::control::StatusDocument;

use crate::cli::{Client, ClientError};
use crate::config::{self, Config, ConfigError, Surroundings};
use crate::daemon::router::socket;
use crate::daemon::{self, ClusterFailure};

use guide::GuideError;
use place::Place;
pub(crate) use place::PlaceError;
pub(crate) use port::PortError;
use progress::Progress;

/// What the demo sites run on, where workers look for it.
const PYTHON: [&str; 3] = ["/usr/local/bin/python3", "/usr/bin/python3", "/bin/python3"];

/// Why there is nothing to look at.
#[derive(Debug, Error)]
pub(crate) enum QuickstartError {
    /// A folder can't be had.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The port can't be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// PostgreSQL is missing.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Python is missing.
    #[error(
        "the demo sites need python3, and workers find none in /usr/local/bin or /usr/bin: apt \
         install python3"
    )]
    NoPython,
    /// The configuration it wrote is refused: `--listen` is no address.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It runs already.
    #[error("it runs already; look at it: emperor status --config {}", file.display())]
    Running {
        /// Its configuration.
        file: PathBuf,
    },
    /// The daemon ended.
    #[error(transparent)]
    Daemon(#[from] daemon::RunError),
    /// Standard output can't be written.
    #[error("standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs until it is told to end.
pub(crate) async fn run(dir: &Path, listen: &str) -> Result<(), QuickstartError> {
    let surroundings = Surroundings::of_this_process();
    let progress = Progress::new();
    check_programs().await?;
    let place = Place::prepare(dir, &surroundings)?;
    let client = Client::new(&place.runtime_dir);
    if client.get::<StatusDocument>("/v1/status").await.is_ok() {
        let file = place.config_file();
        return Err(QuickstartError::Running { file });
    }
    port::check_free(listen, &socket::path(&place.runtime_dir))?;
    place.write_config(listen)?;
    let config = config::load(Some(&place.config_file()), &surroundings)?;
    progress.say(&place.words())?;
    // The daemon's future is large; the stack of whoever polls this needn't be.
    Box::pin(house(config, &place, &progress)).await
}

async fn check_programs() -> Result<(), QuickstartError> {
    let path = std::env::var_os("PATH");
    if cluster::find_programs(path.as_deref()).await.is_empty() {
        return Err(ClusterError::NoPrograms.into());
    }
    let has_python = PYTHON.iter().any(|path| Path::new(path).exists());
    has_python.then_some(()).ok_or(QuickstartError::NoPython)
}

/// The daemon, and the guide beside it.
async fn house(config: Config, place: &Place, progress: &Progress) -> Result<(), QuickstartError> {
    let shown = config.clone();
    let mut daemon = std::pin::pin!(daemon::run(config, ClusterFailure::Fatal));
    tokio::select! {
        ended = &mut daemon => {
            progress.break_off()?;
            return Ok(ended?);
        }
        guided = guide::guide(&shown, place, progress) => {
            match guided {
                // A daemon that hangs up is ending, and says itself why.
                Ok(()) | Err(GuideError::Client(ClientError::Broken { .. })) => {}
                Err(error) => tracing::warn!(%error, "the house can't be shown around in"),
            }
        }
    }
    daemon.await?;
    let kept = place.state_dir.display();
    Ok(progress.say(&format!("stopped; the data stay in {kept}"))?)
}
