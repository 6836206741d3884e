//! Which paths the worker can reach: Landlock, which also a process without any rights may put on
//! itself, and which nothing that it starts can take off.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetStatus,
};
use nix::errno::Errno;
use wire::exec::{ExecFailure, ExecStep, PathRules};

use crate::failure::AtStep;
use crate::walls::Obstacle;

const STEP: ExecStep = ExecStep::Paths;

/// With this version (Linux 6.2) every way to change a file's content is known to the kernel. An
/// earlier one does what it can, and is reported.
const WANTED: ABI = ABI::V3;

/// Restricts this process for good.
pub(crate) fn restrict(rules: &PathRules) -> Result<(), Obstacle> {
    let parts = [
        (&rules.readable, AccessFs::from_read(WANTED)),
        (&rules.writable, AccessFs::from_write(WANTED)),
    ];
    let asked = parts.iter().filter(|(paths, _)| paths.is_some());
    let handled = asked.fold(BitFlags::empty(), |all, (_, access)| all | *access);
    let ruleset = Ruleset::default().handle_access(handled);
    let mut ruleset = ruleset.and_then(Ruleset::create).map_err(unexpected)?;
    for (paths, access) in parts {
        for path in paths.iter().flatten() {
            ruleset = allow(ruleset, path, access)?;
        }
    }
    let status = ruleset.restrict_self().map_err(unexpected)?;
    let unavailable = |subject: &str, errno| {
        let failure: Result<(), _> = Err(errno).at(STEP, || subject.to_owned());
        failure.map_err(Obstacle::from)
    };
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => unavailable(
            "wholly: a file that can't be written can still be truncated before Linux 6.2,",
            Errno::EOPNOTSUPP,
        ),
        RulesetStatus::NotEnforced => unavailable("with Landlock", Errno::ENOSYS),
    }
}

fn allow(
    ruleset: RulesetCreated,
    path: &PathBuf,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, ExecFailure> {
    let opened = PathFd::new(path).map_err(|_| cause(path))?;
    // A file knows no right that is about what lies in a folder.
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(WANTED)
    };
    ruleset
        .add_rule(PathBeneath::new(opened, access))
        .map_err(unexpected)
}

/// The crate's error doesn't tell the kernel's.
fn cause(path: &Path) -> ExecFailure {
    let error = std::fs::metadata(path).err();
    let errno = error.and_then(|error| error.raw_os_error());
    ExecFailure {
        step: STEP,
        subject: format!("to {}", path.display()),
        errno: errno.unwrap_or(Errno::EACCES as i32),
    }
}

/// What the kernel doesn't know is left out by the crate and told in the end; this is a refusal that
/// nobody foresaw.
fn unexpected(error: impl std::error::Error) -> ExecFailure {
    ExecFailure {
        step: STEP,
        subject: format!("with Landlock ({error})"),
        errno: Errno::last_raw(),
    }
}
