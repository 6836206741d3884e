//! Where the emperor's cgroup is, and whether it is the emperor's to divide.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, getxattr};

use super::made::PREFIX;

/// The variable that names a cgroup to divide: as the path of its folder, or as a unit of systemd's
/// beside the emperor's own.
const GIVEN: &str = "EMPEROR_CGROUP";

/// A cgroup to work in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The folder of the cgroup that is divided.
    pub(super) base: PathBuf,
    /// How the emperor came by it.
    pub(super) standing: Standing,
}

/// How the emperor stands to the cgroup that it divides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was given. The emperor's own processes are elsewhere; one that keeps it there may be in it.
    Given,
    /// They are in it, and have to step into a leaf.
    Within,
    /// They are in it, and so will be the next emperor's, which systemd puts there. That fails as
    /// soon as the cgroup hands controllers down to one in which a worker lives on.
    Unit,
    /// It was made for this emperor, and goes with it.
    Made,
}

impl Place {
    /// The cgroup of this process, or the one that it was given.
    pub(super) fn of_this_process(runtime_dir: &Path) -> Result<Self, String> {
        let given = std::env::var_os(GIVEN).filter(|given| !given.is_empty());
        match given.map(PathBuf::from) {
            Some(path) if path.is_absolute() => Self::given(path),
            Some(unit) => Self::given(beside(&own_folder()?, &unit)?),
            None => Self::of_its_own(runtime_dir),
        }
    }

    fn of_its_own(runtime_dir: &Path) -> Result<Self, String> {
        let folder = own_folder()?;
        // Only the root of all cgroups has no type.
        if !folder.join("cgroup.type").exists() {
            return Self::below_the_root(&folder, runtime_dir);
        }
        Self::around(folder, is_delegated)
    }

    fn given(base: PathBuf) -> Result<Self, String> {
        if !base.join("cgroup.controllers").exists() {
            let base = base.display();
            return Err(format!(
                "{GIVEN}: {base} is no folder of a cgroup, version 2; if it is a unit's, start that \
                 and restart the emperor"
            ));
        }
        check_writable(&base)?;
        Ok(Self {
            base,
            standing: Standing::Given,
        })
    }

    fn around(own: PathBuf, is_delegated: impl Fn(&Path) -> bool) -> Result<Self, String> {
        let (base, standing) = match own.parent() {
            // `DelegateSubgroup=`: systemd puts each emperor into the leaf, and the rest is free.
            Some(unit) if !is_systemds(&own) && is_systemds(unit) && is_delegated(unit) => {
                (unit.to_path_buf(), Standing::Given)
            }
            _ if !is_systemds(&own) => (own, Standing::Within),
            _ if is_delegated(&own) => (own, Standing::Unit),
            _ => {
                return Err(format!(
                    "the cgroup {} belongs to systemd, which does not delegate it: set \
                     Delegate=yes in the emperor's unit",
                    own.display()
                ));
            }
        };
        check_writable(&base)?;
        Ok(Self { base, standing })
    }

    /// On a machine without systemd everything starts in the root, which isn't the emperor's: it
    /// makes itself a cgroup there, and stays where it is.
    fn below_the_root(root: &Path, runtime_dir: &Path) -> Result<Self, String> {
        check_writable(root)?;
        let hash = blake3::hash(runtime_dir.as_os_str().as_encoded_bytes()).to_hex();
        Ok(Self {
            base: root.join(format!("{PREFIX}{}", &hash[..8])),
            standing: Standing::Made,
        })
    }
}

fn own_folder() -> Result<PathBuf, String> {
    let read = |path: &str| read_to_string(path).map_err(|error| format!("{path}: {error}"));
    folder(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
}

/// The cgroup of a unit in the same slice as the one that `own` belongs to. The path to it differs with
/// the slice and with where the hierarchy is mounted, so a unit's file can't name it.
fn beside(own: &Path, unit: &Path) -> Result<PathBuf, String> {
    let name = unit.display();
    if unit.components().count() != 1 || !is_systemds(unit) {
        return Err(format!(
            "{GIVEN}: {name} is neither an absolute path nor the name of a unit"
        ));
    }
    let own_unit = own.ancestors().find(|folder| is_systemds(folder));
    own_unit.map(|own| own.with_file_name(unit)).ok_or_else(|| {
        let own = own.display();
        format!("{GIVEN}: {name} is looked for beside the emperor's unit, and {own} is in none")
    })
}

/// The folder that stands for a process's cgroup, from its `mountinfo` and `cgroup` in `/proc`.
fn folder(mountinfo: &str, cgroup: &str) -> Result<PathBuf, String> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or("this kernel has no cgroup v2")?;
    let (root, mounted) = mountinfo
        .lines()
        .find_map(mount)
        .ok_or("no cgroup v2 file system is mounted")?;
    let below = Path::new(own).strip_prefix(&root).map_err(|_| {
        let mounted = mounted.display();
        format!("the emperor's cgroup {own} is not visible below {mounted}")
    })?;
    Ok(mounted.join(below))
}

/// Which part of the hierarchy a line mounts, and where, if it is one of cgroup v2.
fn mount(line: &str) -> Option<(PathBuf, PathBuf)> {
    let (left, right) = line.split_once(" - ")?;
    if right.split(' ').next()? != "cgroup2" {
        return None;
    }
    let mut fields = left.split(' ').skip(3);
    Some((unescaped(fields.next()?), unescaped(fields.next()?)))
}

/// The kernel writes blanks and the like as three octal digits after a backslash.
fn unescaped(field: &str) -> PathBuf {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|code| u8::from_str_radix(code, 8).ok());
        match code {
            Some(code) => {
                text.push(char::from(code));
                text.push_str(&part[3..]);
            }
            None => text.push_str(part),
        }
    }
    text.into()
}

fn is_systemds(folder: &Path) -> bool {
    let unit = folder.extension().and_then(|kind| kind.to_str());
    matches!(unit, Some("service" | "scope" | "slice"))
}

/// systemd marks what it gave away; of what it didn't, it may change and remove anything.
fn is_delegated(folder: &Path) -> bool {
    ["trusted.delegate", "user.delegate"].iter().any(|name| {
        let mut value = [0u8; 8];
        getxattr(folder, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
    })
}

fn check_writable(folder: &Path) -> Result<(), String> {
    for path in [folder.to_path_buf(), folder.join("cgroup.procs")] {
        access(&path, Access::WRITE_OK)
            .map_err(|error| format!("{} can't be written to: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const UNIFIED: &str = "24 1 0:22 / /proc rw - proc proc rw\n\
        30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "40 24 0:35 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        41 24 0:36 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn check(mountinfo: &str, cgroup: &str, expected: Result<&str, &str>) {
        let found = folder(mountinfo, cgroup);
        let expected = expected.map(PathBuf::from).map_err(str::to_owned);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_own_cgroup_is_found_below_its_mount() {
        let service = "0::/system.slice/emperor.service\n";
        let expected = "/sys/fs/cgroup/system.slice/emperor.service";
        check(UNIFIED, service, Ok(expected));
        let hybrid = "4:memory:/x\n0::/system.slice/emperor.service\n";
        let expected = "/sys/fs/cgroup/unified/system.slice/emperor.service";
        check(HYBRID, hybrid, Ok(expected));
        check(UNIFIED, "0::/\n", Ok("/sys/fs/cgroup/"));
    }

    #[test]
    fn a_part_of_the_hierarchy_may_be_mounted_anywhere() {
        let mounted = "9 1 0:26 /a\\040b /mnt/c\\040g rw - cgroup2 none rw\n";
        check(mounted, "0::/a b/c\n", Ok("/mnt/c g/c"));
        let elsewhere = "the emperor's cgroup /d is not visible below /mnt/c g";
        check(mounted, "0::/d\n", Err(elsewhere));
    }

    #[test]
    fn a_machine_without_it_is_told() {
        check(
            UNIFIED,
            "4:memory:/x\n",
            Err("this kernel has no cgroup v2"),
        );
        check("", "0::/\n", Err("no cgroup v2 file system is mounted"));
    }

    /// A cgroup in a folder of that name, with one more in it.
    fn cgroups(name: &str) -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let unit = folder.path().join(name);
        let leaf = unit.join("leaf");
        std::fs::create_dir_all(&leaf).unwrap();
        for cgroup in [&unit, &leaf] {
            for file in ["cgroup.procs", "cgroup.controllers"] {
                std::fs::write(cgroup.join(file), "").unwrap();
            }
        }
        (folder, unit, leaf)
    }

    #[track_caller]
    fn check_place(own: &Path, delegated: bool, base: &Path, standing: Standing) {
        let found = Place::around(own.to_path_buf(), |_| delegated);
        let base = base.to_path_buf();
        assert_eq!(found, Ok(Place { base, standing }));
    }

    #[test]
    fn the_unit_of_a_delegated_leaf_is_divided_and_the_unit_itself_only_grouped() {
        let (_folder, unit, leaf) = cgroups("emperor.service");
        check_place(&leaf, true, &unit, Standing::Given);
        check_place(&unit, true, &unit, Standing::Unit);
        // Of what systemd has not given away nothing is touched but what somebody made in it.
        check_place(&leaf, false, &leaf, Standing::Within);
        let refused = Place::around(unit.clone(), |_| false).unwrap_err();
        assert!(refused.contains("Delegate=yes"), "{refused}");
        let (_folder, container, leaf) = cgroups("container");
        check_place(&container, false, &container, Standing::Within);
        check_place(&leaf, true, &leaf, Standing::Within);
    }

    #[test]
    fn a_cgroup_that_is_given_has_to_be_one() {
        let (_folder, unit, _) = cgroups("emperor-sites.service");
        let place = Place::given(unit.clone()).unwrap();
        assert_eq!(
            (place.base, place.standing),
            (unit.clone(), Standing::Given)
        );
        let refused = Place::given(unit.join("no-cgroup")).unwrap_err();
        assert!(refused.starts_with("EMPEROR_CGROUP: "), "{refused}");
    }

    #[test]
    fn a_unit_that_is_given_by_name_is_beside_the_emperor_s() {
        let check = |own: &str, name: &str, expected: Option<&str>| {
            let found = beside(Path::new(own), Path::new(name));
            let found = found.inspect_err(|told| assert!(told.contains(name), "{told}"));
            assert_eq!(found.ok(), expected.map(PathBuf::from), "{own} {name}");
        };
        let sites = "emperor-sites.service";
        let expected = "/sys/fs/cgroup/system.slice/emperor-sites.service";
        let own = "/sys/fs/cgroup/system.slice/emperor.service";
        check(own, sites, Some(expected));
        check(&format!("{own}/emperor"), sites, Some(expected));
        check("/sys/fs/cgroup/machine", sites, None);
        check(own, "a/b.service", None);
        check(own, "sites", None);
    }
}
