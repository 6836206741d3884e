//! What one instance is started with, once its number, folder and socket are known.

use std::path::PathBuf;

use thiserror::Error;

use crate::diagnostic::Diagnostics;

/// What is known of an instance only when it is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceContext {
    /// `instance.number`
    pub number: u32,
    /// `instance.dir`: its private folder.
    pub dir: PathBuf,
    /// `socket.path`
    pub socket_path: PathBuf,
}

/// What one instance is started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where it runs; `None`: its private folder.
    pub working_dir: Option<PathBuf>,
    /// `[env]` of template and site: what comes on top of the emperor's own variables.
    pub env: Vec<(String, String)>,
    /// Files to write into its private folder before it starts.
    pub files: Vec<RenderedFile>,
    /// Which paths it may reach.
    pub reach: Reach,
}

/// The paths of `[sandbox]`, all absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// The only ones that it may write to, besides its own; empty: as file modes say.
    pub writable: Vec<PathBuf>,
    /// The only ones that it may read, besides its own, the system's and writable ones; empty: as
    /// file modes say.
    pub readable: Vec<PathBuf>,
    /// Those that look empty and closed to it.
    pub inaccessible: Vec<PathBuf>,
}

/// A rendered `[files]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Its name in the private folder.
    pub name: String,
    /// Its content.
    pub text: String,
}

/// A vassal's texts yield nothing that could be started.
///
/// What a site's texts yield is tried when it is resolved, so this is rare afterwards: a text that
/// depends on the instance's number or folder.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RenderError {
    /// Some of its texts are wrong.
    #[error(transparent)]
    Text(#[from] Diagnostics),
    /// There is no command.
    #[error("there is no command to run; the template needs a `command`")]
    NoCommand,
}
