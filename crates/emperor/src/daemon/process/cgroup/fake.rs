//! A folder that looks like a cgroup, for tests.

use std::fs::{read_to_string, write};
use std::path::PathBuf;

use tempfile::TempDir;

use super::Cgroups;
use super::place::{Place, Standing};

/// A folder with the files of a delegated cgroup.
pub(in super::super) struct Fake(TempDir);

impl Fake {
    pub(in super::super) fn with(controllers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| write(folder.path().join(name), text).unwrap();
        put("cgroup.controllers", controllers);
        put("cgroup.procs", "");
        put("cgroup.subtree_control", "");
        Self(folder)
    }

    pub(in super::super) fn cgroups(&self) -> Cgroups {
        self.cgroups_as(Standing::Within)
    }

    pub(super) fn cgroups_as(&self, standing: Standing) -> Cgroups {
        Cgroups::at(Ok(Place {
            base: self.path(""),
            standing,
        }))
    }

    pub(in super::super) fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub(in super::super) fn text(&self, below: &str) -> String {
        read_to_string(self.path(below)).unwrap()
    }
}
