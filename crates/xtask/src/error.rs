//! Why a command failed.

use thiserror::Error;

use crate::bench::{DocumentError, RouterBenchError};
use crate::chaos::ChaosError;
use crate::fuzz::FuzzError;
use crate::provision::ProvisionError;
use crate::shell::CommandError;
use crate::workspace::WorkspaceError;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum TaskError {
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Chaos(#[from] ChaosError),
    #[error(transparent)]
    Fuzz(#[from] FuzzError),
    #[error(transparent)]
    RouterBench(#[from] RouterBenchError),
    #[error(transparent)]
    Document(#[from] DocumentError),
}
