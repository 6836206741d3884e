//! The folders below the emperor's cgroup.

use std::fs::{create_dir, read_dir, read_to_string, remove_dir, write};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::bounds::{Bound, CONTROLLERS};
use super::made::{self, Claim};
use super::member::Cgroup;
use super::place::{Place, Standing};

/// The emperor's cgroup, divided. Dropped, it is removed where it was made for this emperor and
/// nothing is left in it.
#[derive(Debug)]
pub(super) struct CgroupTree {
    place: Place,
    _claim: Option<Claim>,
    sites: PathBuf,
    /// The controllers that instances have.
    controllers: Vec<&'static str>,
    /// Why they lack the others.
    reason: String,
}

impl CgroupTree {
    /// Makes the folders, steps aside, and hands the controllers down.
    pub(super) fn prepare(place: &Place) -> Result<Self, String> {
        let Place { base, standing } = place;
        let (sites, claim) = match standing {
            Standing::Made => {
                made::sweep(base);
                made::claim(base, || make_room(place))?
            }
            Standing::Given | Standing::Within | Standing::Unit => {
                let claim = made::claim_alone(base)?;
                (make_room(place)?, claim)
            }
        };
        let here = read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
        let here: Vec<_> = here.split_whitespace().collect();
        let available = CONTROLLERS.iter().copied();
        let available: Vec<_> = available.filter(|name| here.contains(name)).collect();
        let handed_down = match standing {
            Standing::Unit => Err(beside_workers(base)),
            Standing::Given | Standing::Within | Standing::Made => {
                hand_down(base, &sites, &available)
            }
        };
        let (controllers, reason) = match handed_down {
            Ok(()) => {
                let reason = format!("{} has no controller for it", base.display());
                (available, reason)
            }
            Err(error) => (Vec::new(), error),
        };
        Ok(Self {
            place: place.clone(),
            _claim: claim,
            sites,
            controllers,
            reason,
        })
    }

    /// Says once what no site will have here.
    pub(super) fn tell_what_is_missing(&self) {
        let missing = CONTROLLERS
            .iter()
            .filter(|name| !self.controllers.contains(name));
        let missing: Vec<_> = missing.copied().collect();
        if !missing.is_empty() {
            let (missing, reason) = (missing.join(", "), &self.reason);
            warn!(
                missing,
                reason, "some of [limits] can't hold here; sites that ask for it are told"
            );
        }
    }

    /// Makes the cgroup of an instance and writes its limits. Yields those that can't be had, with
    /// the reason.
    pub(super) fn make(
        &self,
        name: &str,
        asked: &[Bound],
    ) -> Result<(Cgroup, Vec<String>), String> {
        let path = self.sites.join(name);
        self.make_folder(&path)
            .map_err(|error| told("make", &path, &error))?;
        // The kernel ends all of an instance that has no memory left, and not one process of it
        // that the others wait for.
        if self.controllers.contains(&"memory") {
            let _ = write(path.join("memory.oom.group"), "1");
        }
        let missing = asked
            .iter()
            .filter_map(|bound| self.set(&path, bound).err());
        let missing = missing.collect();
        Ok((Cgroup::new(path), missing))
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match create_dir(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            made => return made,
        }
        // Somebody stopped the unit that holds the sites, and started it again.
        make_room(&self.place)
            .and_then(|sites| hand_down(&self.place.base, &sites, &self.controllers))
            .map_err(io::Error::other)?;
        create_dir(path)
    }

    fn set(&self, cgroup: &Path, bound: &Bound) -> Result<(), String> {
        if !self.controllers.contains(&bound.controller) {
            return Err(bound.missing(&self.reason));
        }
        let file = cgroup.join(bound.file);
        let written = write(&file, &bound.text);
        written.map_err(|error| bound.missing(&told("write", &file, &error)))
    }

    /// The cgroup of this name, if there is one.
    pub(super) fn member(&self, name: &str) -> Option<Cgroup> {
        let path = self.sites.join(name);
        path.is_dir().then(|| Cgroup::new(path))
    }

    /// The cgroups that there are, with their names.
    pub(super) fn members(&self) -> Vec<(String, Cgroup)> {
        let entries = read_dir(&self.sites).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders
            .map(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                (name, Cgroup::new(entry.path()))
            })
            .collect()
    }
}

impl Drop for CgroupTree {
    fn drop(&mut self) {
        match self.place.standing {
            Standing::Made => {
                // What still has a process in it is in use, and stays.
                let _in_use = remove_dir(&self.sites);
                let _in_use = remove_dir(&self.place.base);
            }
            Standing::Given | Standing::Within | Standing::Unit => {}
        }
    }
}

/// Makes the folder of all instances, and sees to it that nothing is in the way of handing controllers
/// down to it.
fn make_room(Place { base, standing }: &Place) -> Result<PathBuf, String> {
    let sites = base.join("sites");
    match standing {
        Standing::Within | Standing::Given => step_aside(base)?,
        Standing::Unit => {}
        Standing::Made => make_if_absent(base)?,
    }
    make_if_absent(&sites)?;
    Ok(sites)
}

fn make_if_absent(folder: &Path) -> Result<(), String> {
    match create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(told("make", folder, &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Moves every process of the cgroup itself into a leaf below it: the emperor, or what keeps a
/// cgroup of systemd's alive that was given to it.
fn step_aside(base: &Path) -> Result<(), String> {
    let leaf = base.join("emperor");
    make_if_absent(&leaf)?;
    let (from, to) = (base.join("cgroup.procs"), leaf.join("cgroup.procs"));
    let processes = read_to_string(&from).map_err(|error| told("read", &from, &error))?;
    for pid in processes.lines() {
        match write(&to, pid) {
            // It ended meanwhile.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            moved => moved.map_err(|error| told("move the emperor to", &to, &error))?,
        }
    }
    Ok(())
}

fn beside_workers(unit: &Path) -> String {
    format!(
        "systemd could not start the emperor again in {} while workers run: have \
         emperor-sites.service hold them (EMPEROR_CGROUP, docs/SYSTEMD.md)",
        unit.display()
    )
}

fn hand_down(base: &Path, sites: &Path, controllers: &[&str]) -> Result<(), String> {
    let switches: Vec<_> = controllers.iter().map(|name| format!("+{name}")).collect();
    for folder in [base, sites] {
        let file = folder.join("cgroup.subtree_control");
        let written = write(&file, switches.join(" "));
        written.map_err(|error| told("write", &file, &error))?;
    }
    Ok(())
}

fn told(doing: &str, path: &Path, error: &io::Error) -> String {
    format!("could not {doing} {}: {error}", path.display())
}
