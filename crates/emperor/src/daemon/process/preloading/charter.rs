//! What a preloader is started with.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vassal_core::settings::{Preload, Sandbox};
use vassal_core::spec::RenderError;
use vassal_core::{InstanceContext, Launch, ListenMode, Reach, VassalSpec};

use super::super::failure::{PreloadFailure, SpawnFailure};
use super::super::identity::Account;
use super::super::tools::Tools;

/// Stands for the folder of a preloader that doesn't run yet, so that those are told apart which would
/// be started with different texts, and no others.
const SOME_FOLDER: &str = "/run/emperor/preloader";

/// Everything that decides how a preloader is started. Two that are equal are one.
#[derive(Debug, PartialEq)]
pub(in super::super) struct Charter {
    /// Who it and its workers run as.
    pub(in super::super) account: Account,
    /// As it would be in `SOME_FOLDER`.
    pub(in super::super) launch: Launch,
    pub(in super::super) sandbox: Sandbox,
    pub(in super::super) nofile: u64,
    pub(in super::super) preload: Preload,
    /// Walls that its workers are to have and can't, each with the reason.
    pub(in super::super) missing: Vec<String>,
}

/// Renders what a preloader is started with, for its folder.
#[derive(Clone)]
pub(in super::super) struct Render(Arc<VassalSpec>);

impl fmt::Debug for Render {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Render({})", self.0.site.slug)
    }
}

impl Render {
    pub(in super::super) fn new(spec: &Arc<VassalSpec>) -> Self {
        Self(Arc::clone(spec))
    }

    /// What it is started with there.
    pub(in super::super) fn render(&self, folder: &Path) -> Result<Launch, RenderError> {
        self.0.render(&InstanceContext {
            // Those of instances begin with 1.
            number: 0,
            dir: folder.to_path_buf(),
            socket_path: folder.join("s"),
        })
    }
}

impl Charter {
    /// What is wanted for an instance of a specification. Blocks.
    pub(in super::super) fn of(
        tools: &Tools,
        spec: &VassalSpec,
        render: &Render,
    ) -> Result<Self, SpawnFailure> {
        if spec.listen != ListenMode::Fd {
            return Err(PreloadFailure::Listen.into());
        }
        let account = tools.identities.of(spec.site.id, &spec.run_as)?;
        let launch = render.render(Path::new(SOME_FOLDER))?;
        Ok(Self {
            account,
            missing: missing_walls(&spec.settings.sandbox, &launch.reach),
            launch,
            sandbox: shared(spec.settings.sandbox),
            nofile: spec.settings.limits.nofile,
            preload: spec.settings.preload.clone(),
        })
    }
}

/// The paths that are closed to workers and preloader alike.
pub(in super::super) fn shared_reach(reach: Reach) -> Reach {
    Reach {
        inaccessible: reach.inaccessible,
        ..Reach::default()
    }
}

/// The walls that workers have in common with their preloader.
fn shared(sandbox: Sandbox) -> Sandbox {
    Sandbox {
        private_tmp: false,
        read_only_system: false,
        ..sandbox
    }
}

/// The walls that stand around one instance alone, which a forked one has not, each with the reason.
fn missing_walls(sandbox: &Sandbox, reach: &Reach) -> Vec<String> {
    let is_there = |paths: &[PathBuf]| !paths.is_empty();
    let asked = [
        ("sandbox.private_tmp", sandbox.private_tmp),
        ("sandbox.read_only_system", sandbox.read_only_system),
        ("sandbox.writable", is_there(&reach.writable)),
        ("sandbox.readable", is_there(&reach.readable)),
    ];
    let asked = asked.into_iter().filter(|(_, is_asked)| *is_asked);
    asked
        .map(|(key, _)| format!("{key}: a forked worker sees the files that its preloader sees"))
        .collect()
}
