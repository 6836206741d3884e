//! Why something is missing and can't be had.

use std::path::PathBuf;

use thiserror::Error;

use crate::shell::CommandError;

/// Something is missing and can't be had.
#[derive(Debug, Error)]
pub(crate) enum ProvisionError {
    /// Nobody may install packages here.
    #[error("{what} missing, and installing needs root: run `{command}`, then try again")]
    NoRights { what: String, command: String },
    /// There is no apt here.
    #[error(
        "{what} missing, and this machine has no apt-get; install what it calls {packages}, then try again"
    )]
    NoApt { what: String, packages: String },
    /// It was installed and still isn't there.
    #[error("{what} still missing after {packages} were installed; look at what apt-get said")]
    StillMissing { what: String, packages: String },
    /// A file could not be read or written.
    #[error("could not use {path}")]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// A folder in a place that everybody may write to belongs to somebody else.
    #[error("{path} belongs to somebody else; remove it, then try again")]
    Foreign { path: PathBuf },
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}
