//! From `[sandbox]` to the walls that `vassal-exec` puts up, and from what it reports to the keys
//! that asked for it.

use std::path::{Path, PathBuf};

use vassal_core::settings::{Sandbox, Syscalls};
use vassal_core::{Launch, Reach};
use wire::exec::{ExecFailure, ExecStep, Mounts, PathRules, Walls};

use super::folder::InstanceFolder;

/// Where every program finds its interpreter, its libraries and the machine's configuration.
const SYSTEM: [&str; 15] = [
    "/bin",
    "/dev",
    "/etc",
    "/gnu/store",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/proc",
    "/run/resolvconf",
    "/run/systemd/resolve",
    "/sbin",
    "/sys",
    "/usr",
];

/// What a program may write to whatever else is closed: devices, itself in `/proc`, temporary files.
const SCRATCH: [&str; 4] = ["/dev", "/proc", "/tmp", "/var/tmp"];

/// What a `[sandbox]` comes to for one instance.
pub(super) fn walls(sandbox: &Sandbox, launch: &Launch, folder: &InstanceFolder) -> Walls {
    let own = folder.path();
    Walls {
        required: sandbox.required,
        mounts: mounts(sandbox, launch, own),
        capabilities: Some(sandbox.capabilities.bits()),
        paths: paths(launch, own),
        filter_syscalls: match sandbox.syscalls {
            Syscalls::Service => true,
            Syscalls::Off => false,
        },
    }
}

fn mounts(sandbox: &Sandbox, launch: &Launch, own: &Path) -> Option<Mounts> {
    let Reach {
        writable,
        readable,
        inaccessible,
    } = &launch.reach;
    let is_own = sandbox.private_tmp || sandbox.read_only_system || !inaccessible.is_empty();
    let needed = [own].into_iter().chain(launch.working_dir.as_deref());
    is_own.then(|| Mounts {
        private_tmp: sandbox.private_tmp.then_some(sandbox.tmp_size_bytes),
        kept: all(needed, [readable, writable]),
        inaccessible: inaccessible.clone(),
        read_only_but: sandbox.read_only_system.then(|| to_write(own, writable)),
    })
}

fn paths(launch: &Launch, own: &Path) -> Option<PathRules> {
    let Reach {
        writable, readable, ..
    } = &launch.reach;
    let rules = PathRules {
        readable: (!readable.is_empty()).then(|| {
            let needed = there(&SYSTEM).chain(there(&SCRATCH)).chain([own]);
            all(
                needed.chain(launch.working_dir.as_deref()),
                [readable, writable],
            )
        }),
        writable: (!writable.is_empty()).then(|| to_write(own, writable)),
    };
    (rules != PathRules::default()).then_some(rules)
}

fn to_write(own: &Path, writable: &[PathBuf]) -> Vec<PathBuf> {
    all(there(&SCRATCH).chain([own]), [writable])
}

/// Of the usual paths, those that this machine has.
fn there<'a>(paths: &'static [&str]) -> impl Iterator<Item = &'a Path> {
    paths.iter().map(Path::new).filter(|path| path.exists())
}

fn all<'a, const N: usize>(
    needed: impl Iterator<Item = &'a Path>,
    asked: [&[PathBuf]; N],
) -> Vec<PathBuf> {
    let asked = asked.into_iter().flatten().cloned();
    needed.map(Path::to_path_buf).chain(asked).collect()
}

/// Says of a wall that can't be put up which keys asked for it.
pub(super) fn missing(failure: &ExecFailure, walls: &Walls) -> String {
    let keys = match failure.step {
        ExecStep::MountNamespace => mount_keys(walls.mounts.as_ref()),
        ExecStep::PrivateTmp => vec!["sandbox.private_tmp"],
        ExecStep::Inaccessible => vec!["sandbox.inaccessible"],
        ExecStep::ReadOnly => vec!["sandbox.read_only_system"],
        ExecStep::Capabilities => vec!["sandbox.capabilities"],
        ExecStep::Paths => path_keys(walls.paths.as_ref()),
        ExecStep::Syscalls => vec!["sandbox.syscalls"],
        ExecStep::Plan
        | ExecStep::Session
        | ExecStep::Descriptors
        | ExecStep::Rlimit
        | ExecStep::OpenProgram
        | ExecStep::Groups
        | ExecStep::Gid
        | ExecStep::Uid
        | ExecStep::NoNewPrivs
        | ExecStep::WorkingDir
        | ExecStep::Exec => Vec::new(),
    };
    format!("{}: {failure}", keys.join(", "))
}

fn mount_keys(mounts: Option<&Mounts>) -> Vec<&'static str> {
    let Some(mounts) = mounts else {
        return Vec::new();
    };
    let asked = [
        ("sandbox.private_tmp", mounts.private_tmp.is_some()),
        ("sandbox.read_only_system", mounts.read_only_but.is_some()),
        ("sandbox.inaccessible", !mounts.inaccessible.is_empty()),
    ];
    let asked = asked.into_iter().filter(|(_, is_asked)| *is_asked);
    asked.map(|(key, _)| key).collect()
}

fn path_keys(rules: Option<&PathRules>) -> Vec<&'static str> {
    let Some(rules) = rules else {
        return Vec::new();
    };
    let asked = [
        ("sandbox.readable", rules.readable.is_some()),
        ("sandbox.writable", rules.writable.is_some()),
    ];
    let asked = asked.into_iter().filter(|(_, is_asked)| *is_asked);
    asked.map(|(key, _)| key).collect()
}
