//! Control groups, version 2: what bounds an instance as a whole, ends all of it at once, and tells
//! whether the kernel ended it for want of memory.
//!
//! ```text
//! a cgroup that was delegated to the emperor
//! ├─ emperor/              the emperor, the fastrouter (or they are elsewhere)
//! └─ sites/
//!    └─ SITE.INCARNATION/  one instance, named as its folder is
//! ```
//!
//! A cgroup with processes of its own can't hand controllers down, so the emperor is in a leaf beside
//! those of its sites. A unit of systemd's, in which the next emperor is to start beside workers that
//! live on, hands down none; there the cgroup is that of another unit, `emperor-sites.service`. What can't be had here is told with its reason, and by name for each
//! site that asked for it; whether that keeps the site from starting is for `spawning`.
//!
//! | module | what it is |
//! |---|---|
//! | `made` | cgroups that emperors make for themselves, and what is left of them |
//! | `place` | where the emperor's cgroup is, and whether it may be used |
//! | `tree` | the folders below it, and the controllers handed down |
//! | `bounds` | from `[limits]` to the kernel's files; pure |
//! | `member` | the cgroup of one instance |

mod bounds;
mod made;
mod member;
mod place;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::Pid;
use tracing::warn;
use vassal_core::settings::Limits;

pub(super) use member::Cgroup;

use bounds::Bound;
use place::Place;
use tree::CgroupTree;

/// The cgroups of this emperor's instances, or why there are none.
#[derive(Debug)]
pub(super) struct Cgroups(Result<CgroupTree, String>);

/// What came of asking for an instance's cgroup.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Its cgroup, where there are any.
    pub(super) cgroup: Option<Arc<Cgroup>>,
    /// The limits that were asked for and can't be had, each with the reason.
    pub(super) missing: Vec<String>,
    /// All that were asked for.
    asked: Vec<Bound>,
}

impl Admission {
    /// Lets a process in that has done nothing yet.
    pub(super) fn take_in(mut self, pid: Pid) -> Self {
        let entered = self.cgroup.as_ref().map(|cgroup| cgroup.take_in(pid));
        if let Some(Err(error)) = entered {
            warn!(%pid, error, "an instance runs outside of its cgroup");
            self.missing = self
                .asked
                .iter()
                .map(|bound| bound.missing(&error))
                .collect();
            self.cgroup = None;
        }
        self
    }
}

impl Cgroups {
    /// Finds the emperor's own cgroup and makes it ready. `runtime_dir` tells emperors apart that
    /// share a cgroup that isn't theirs to divide.
    pub(super) fn find(runtime_dir: &Path) -> Self {
        Self::at(Place::of_this_process(runtime_dir))
    }

    fn at(place: Result<Place, String>) -> Self {
        let tree = place.and_then(|place| CgroupTree::prepare(&place));
        match &tree {
            Ok(tree) => tree.tell_what_is_missing(),
            Err(reason) => warn!(
                reason,
                "instances get no cgroup: of [limits], only nofile holds"
            ),
        }
        Self(tree)
    }

    /// Makes the cgroup of an instance and sets its limits.
    pub(super) fn admit(&self, name: &str, limits: &Limits) -> Admission {
        let asked: Vec<_> = bounds::asked(limits).collect();
        let made = self.0.as_ref().map_err(Clone::clone);
        match made.and_then(|tree| tree.make(name, &asked)) {
            Ok((cgroup, missing)) => Admission {
                cgroup: Some(Arc::new(cgroup)),
                missing,
                asked,
            },
            Err(reason) => Admission {
                cgroup: None,
                missing: asked.iter().map(|bound| bound.missing(&reason)).collect(),
                asked,
            },
        }
    }

    /// The cgroup that an earlier emperor made for an instance.
    pub(super) fn regain(&self, name: &str) -> Option<Arc<Cgroup>> {
        self.0.as_ref().ok()?.member(name).map(Arc::new)
    }

    /// Ends what is left in cgroups of instances that have no folder, and removes those that are
    /// empty: what an emperor that was killed left.
    pub(super) async fn sweep(&self, instances: PathBuf) {
        let Ok(tree) = &self.0 else {
            return;
        };
        for (name, cgroup) in tree.members() {
            if !instances.join(name).exists() {
                cgroup.kill();
                cgroup.remove().await;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod fake;
#[cfg(test)]
mod tests;
