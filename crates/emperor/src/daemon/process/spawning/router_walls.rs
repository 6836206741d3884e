//! The walls around the fastrouter. It is what strangers speak to, and needs next to nothing of the
//! machine: its listening sockets and its log, which it inherits; the link and the workers' sockets, which
//! it finds in the runtime folder; and what its own program is loaded from.
//!
//! The emperor puts them up itself, so that they stand with and without systemd. Where the kernel can't
//! give one, the router runs without it: a site that nobody reaches is no safer.

use std::path::{Path, PathBuf};

use wire::exec::{Mounts, PathRules, Walls};

/// What the dynamic linker, the standard library and the time zone are read from. `/proc` and `/sys`
/// tell how many cores may be used.
const READABLE: [&str; 11] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/gnu/store",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
    "/proc",
    "/sys",
    "/usr",
];

/// What belongs to sites, to people, or to the machine's administration.
const HIDDEN: [&str; 11] = [
    "/boot",
    "/dev",
    "/home",
    "/media",
    "/mnt",
    "/root",
    "/run/user",
    "/srv",
    "/var/lib",
    "/var/log",
    "/var/www",
];

/// Nothing is ever written there.
const TMP_BYTES: u64 = 64 << 10;

/// Walls for this program, which finds its sockets in that folder. Without root's rights there is no
/// mount namespace to be had, and nothing to miss: then the user's own files are what it could read,
/// and that the path rules forbid.
pub(super) fn walls(program: &Path, runtime_dir: &Path, is_root: bool) -> Walls {
    let needed = [program, runtime_dir];
    Walls {
        required: false,
        mounts: is_root.then(|| mounts(needed)),
        capabilities: Some(0),
        paths: Some(PathRules {
            readable: Some(there(&READABLE).chain([program.to_owned()]).collect()),
            writable: Some(Vec::new()),
        }),
        filter_syscalls: true,
    }
}

fn mounts(needed: [&Path; 2]) -> Mounts {
    let holds_needed = |hidden: &PathBuf| needed.iter().any(|path| path.starts_with(hidden));
    Mounts {
        private_tmp: Some(TMP_BYTES),
        kept: needed.map(Path::to_owned).into(),
        inaccessible: there(&HIDDEN).filter(|path| !holds_needed(path)).collect(),
        read_only_but: Some(Vec::new()),
    }
}

/// Of these paths, those that this machine has.
fn there(paths: &'static [&str]) -> impl Iterator<Item = PathBuf> {
    paths.iter().map(PathBuf::from).filter(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_router_needs_is_not_hidden_wherever_it_lies() {
        let check = |program: &str, runtime_dir: &str, dev_is_hidden: bool| {
            let walls = walls(Path::new(program), Path::new(runtime_dir), true);
            let mounts = walls.mounts.unwrap();
            let hides = |path: &str| {
                mounts
                    .inaccessible
                    .iter()
                    .any(|of| Path::new(path).starts_with(of))
            };
            assert!(!hides(program) && !hides(runtime_dir), "{mounts:?}");
            assert_eq!(hides("/dev/kmsg"), dev_is_hidden);
            assert!(mounts.kept.contains(&PathBuf::from(runtime_dir)));
        };
        check("/usr/bin/fastrouter", "/run/emperor", true);
        check(
            "/root/emperor/target/debug/fastrouter",
            "/home/me/run",
            true,
        );
        check("/var/lib/emperor/bin/fastrouter", "/dev/shm/emperor", false);
    }

    #[test]
    fn nobody_but_root_can_have_a_mount_namespace() {
        let walls = walls(
            Path::new("/usr/bin/fastrouter"),
            Path::new("/run/emperor"),
            false,
        );
        assert_eq!(walls.mounts, None);
        assert_eq!(walls.paths.unwrap().writable, Some(Vec::new()));
    }
}
