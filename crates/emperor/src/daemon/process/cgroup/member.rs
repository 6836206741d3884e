//! The cgroup of one instance.

use std::fs::{File, read_to_string, remove_dir, write};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use tracing::warn;
use vassal_core::ExitReason;

/// The signal that the kernel ends processes with.
const SIGKILL: i32 = 9;

/// How long killed processes may take to leave a cgroup.
const PATIENCE_SECONDS: i64 = 10;

/// An instance's cgroup. Dropped, its folder is removed if nothing is in it.
#[derive(Debug)]
pub(in super::super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Takes a process in, with all that it will ever start.
    pub(super) fn take_in(&self, pid: Pid) -> Result<(), String> {
        let file = self.path.join("cgroup.procs");
        write(&file, pid.as_raw_nonzero().to_string())
            .map_err(|error| format!("could not enter {}: {error}", self.path.display()))
    }

    /// Kills everything in it, also what left its process group and session.
    pub(in super::super) fn kill(&self) {
        match write(self.path.join("cgroup.kill"), "1") {
            Ok(()) => {}
            // Before Linux 5.14 there is no such file; the process group was killed anyway. Or the
            // cgroup is gone, with all that was in it.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::PermissionDenied
                ) => {}
            Err(error) => {
                warn!(cgroup = %self.path.display(), %error, "a cgroup can't be killed");
            }
        }
    }

    /// How it ended, where the kernel says that it was for want of memory: of an instance that it
    /// kills it kills every process.
    pub(in super::super) fn explain(&self, reason: ExitReason) -> ExitReason {
        let events = match reason {
            ExitReason::Killed {
                signal: SIGKILL, ..
            }
            | ExitReason::Unknown => read_to_string(self.path.join("memory.events")).ok(),
            ExitReason::Exited { .. }
            | ExitReason::Killed { .. }
            | ExitReason::OutOfMemory { .. } => None,
        };
        let out_of_memory = events.and_then(|events| out_of_memory(&events));
        out_of_memory.unwrap_or(reason)
    }

    /// Removes its folder once nothing is in it any more.
    pub(in super::super) async fn remove(&self) {
        let path = self.path.clone();
        let removed = tokio::task::spawn_blocking(move || remove_when_empty(&path)).await;
        if let Err(error) = removed.unwrap_or_else(|error| Err(error.into())) {
            let cgroup = self.path.display();
            warn!(%cgroup, %error, "an instance's cgroup can't be removed");
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What is in it may live on without this emperor, or is swept by the next one.
        let _ = remove_dir(&self.path);
    }
}

/// From `memory.events`: whether the kernel killed anything in there, and whose bound was reached.
fn out_of_memory(events: &str) -> Option<ExitReason> {
    let count = |name: &str| {
        let line = events
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|count| count.trim().parse::<u64>().ok())
            .unwrap_or(0)
    };
    (count("oom_kill") > 0).then(|| ExitReason::OutOfMemory {
        at_its_limit: count("oom") > 0,
    })
}

/// The kernel says in `cgroup.events` when the last process has left, and whoever polls is woken.
fn remove_when_empty(path: &Path) -> io::Result<()> {
    let Ok(mut events) = File::open(path.join("cgroup.events")) else {
        return remove(path);
    };
    loop {
        // What changes after this reading wakes the poll below.
        events.rewind()?;
        events.read_to_string(&mut String::new())?;
        match remove(path) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
            done => return done,
        }
        let mut watched = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
        let patience = Timespec {
            tv_sec: PATIENCE_SECONDS,
            tv_nsec: 0,
        };
        if poll(&mut watched, Some(&patience))? == 0 {
            return Err(ErrorKind::TimedOut.into());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: &str, expected: Option<bool>) {
        let expected = expected.map(|at_its_limit| ExitReason::OutOfMemory { at_its_limit });
        assert_eq!(out_of_memory(events), expected, "{events:?}");
    }

    #[test]
    fn only_a_kill_for_memory_counts() {
        check("", None);
        check(
            "low 0\nhigh 9\nmax 4\noom 2\noom_kill 0\noom_group_kill 0\n",
            None,
        );
        check(
            "low 0\nhigh 0\nmax 4\noom 1\noom_kill 3\noom_group_kill 1\n",
            Some(true),
        );
        check("low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n", Some(false));
    }

    #[test]
    fn only_an_end_by_the_kernel_is_explained_by_memory() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = Cgroup::new(folder.path().to_path_buf());
        let killed = |signal| ExitReason::Killed {
            signal,
            core_dumped: false,
        };
        assert_eq!(
            cgroup.explain(killed(9)),
            killed(9),
            "nothing is known of it"
        );
        write(folder.path().join("memory.events"), "oom 1\noom_kill 2\n").unwrap();
        let out_of_memory = ExitReason::OutOfMemory { at_its_limit: true };
        assert_eq!(cgroup.explain(killed(9)), out_of_memory);
        assert_eq!(cgroup.explain(ExitReason::Unknown), out_of_memory);
        for other in [killed(15), ExitReason::Exited { status: 1 }] {
            assert_eq!(cgroup.explain(other), other);
        }
    }
}
