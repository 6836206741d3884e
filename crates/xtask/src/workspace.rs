//! Where things lie in this workspace.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::MetadataCommand;
use thiserror::Error;

use crate::shell;

/// The workspace can't be read.
#[derive(Debug, Error)]
#[error("could not read the workspace")]
pub(crate) struct WorkspaceError(#[from] cargo_metadata::Error);

/// The workspace that this command belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
}

/// With what optimisation a program is built.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    fn choose(self, build: &mut Command) {
        match self {
            Self::Dev => {}
            Self::Release => {
                build.arg("--release");
            }
        }
    }
}

impl Workspace {
    /// Asks cargo, about the checkout that it runs this program from: a build that was copied along
    /// with a checkout would else work on the one it was made in.
    pub(crate) fn find() -> Result<Self, WorkspaceError> {
        let manifest_dir = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let metadata = MetadataCommand::new()
            .manifest_path(manifest_dir.join("Cargo.toml"))
            .no_deps()
            .exec()?;
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
        })
    }

    /// Where the programs of one profile are.
    pub(crate) fn programs(&self, profile: Profile) -> PathBuf {
        self.target.join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        })
    }

    /// Builds the three programs, which find each other beside their own executable.
    pub(crate) fn build_programs(&self, profile: Profile) -> Result<PathBuf, shell::CommandError> {
        let mut build = self.cargo("build");
        build.args(["-p", "emperor", "-p", "fastrouter", "-p", "vassal-exec"]);
        profile.choose(&mut build);
        shell::run(&mut build)?;
        Ok(self.programs(profile))
    }

    /// Builds every program, those of the end-to-end package too. In one go, since cargo builds
    /// what they share anew where the packages are named one by one.
    pub(crate) fn build_all(&self, profile: Profile) -> Result<PathBuf, shell::CommandError> {
        let mut build = self.cargo("build");
        build.args(["--workspace", "--bins"]);
        profile.choose(&mut build);
        shell::run(&mut build)?;
        Ok(self.programs(profile))
    }

    /// A cargo command in the root folder.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let mut cargo = shell::cargo();
        cargo.arg(subcommand).current_dir(&self.root);
        cargo
    }

    /// A path below the root.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }
}
