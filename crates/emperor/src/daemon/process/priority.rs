//! The scheduling priority of what starts: lower than that of what serves, until it is ready.
//!
//! A start takes a core for as long as it lasts, and visitors of other sites would wait for that.
//! Raising a priority again takes a right (`CAP_SYS_NICE`, or `RLIMIT_NICE` for an emperor that runs
//! everything as itself). Without it nothing is lowered: a site that stayed behind all others for
//! good would be worse.
//!
//! The kernel keeps the value for each thread, and threads and processes inherit it. Where it groups
//! processes by session (`sched_autogroup`), theirs acts inside of the group alone, and the group has
//! a value of its own.

use std::fs::{read_dir, read_to_string, write};
use std::io;

use rustix::process::{Pid, geteuid, getpriority_process, setpriority_process};
use rustix::thread::{CapabilitySet, capabilities};
use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

/// The lowest priority there is.
const NICEST: i32 = 19;

/// How often the processes of an instance are looked through: one that hasn't been met yet may make
/// another meanwhile.
const ROUNDS: usize = 8;

/// An instance was started at a lower priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lowered {
    /// The nice value that it gets once it is ready.
    from: i32,
    /// The one that it starts with.
    to: i32,
    /// That of its session, where the kernel groups by session.
    group: Option<i32>,
}

impl Lowered {
    /// `nice`: how much is to be added to the emperor's own nice value. Finds out whether that could
    /// be taken back; `None`: nothing is to be lowered.
    pub(super) fn find(nice: i32) -> Option<Self> {
        let lowered = Self::from_own(nice)?;
        if lowered.may_be_taken_back() {
            return Some(lowered);
        }
        info!(
            "what starts has the same priority as what serves, since a lower one could not be raised \
             again: give the emperor CAP_SYS_NICE, or set spawn.nice = 0"
        );
        None
    }

    /// Lowers a process that has just been started and has one thread.
    pub(super) fn lower(self, pid: Pid) {
        if let Err(error) = setpriority_process(Some(pid), self.to) {
            debug!(%pid, %error, "an instance starts at the usual priority");
        }
    }

    fn from_own(nice: i32) -> Option<Self> {
        let from = getpriority_process(None).ok()?;
        let to = from.saturating_add(nice).min(NICEST);
        (to > from).then(|| Self {
            from,
            to,
            group: groups_by_session().then_some(nice),
        })
    }

    /// The nice value of the session that it is to have while it starts.
    pub(super) fn group(self) -> Option<i32> {
        self.group
    }

    /// Tries it, on a thread that ends then.
    fn may_be_taken_back(self) -> bool {
        let has_right =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE));
        // Workers of others are out of reach for whoever has no more than a limit.
        let is_alone = !geteuid().is_root();
        let back_and_forth = move || {
            setpriority_process(None, self.to)?;
            setpriority_process(None, self.from)
        };
        let tried = std::thread::spawn(back_and_forth).join();
        (has_right || is_alone) && tried.is_ok_and(|tried| tried.is_ok())
    }

    /// Gives a ready instance the usual priority, its children included. Those that chose a value of
    /// their own keep it. Blocks.
    pub(super) fn take_back(self, leader: Pid) {
        if let Err(error) = self.take_group_back(leader) {
            warn!(pid = %leader, %error, "a session keeps the low priority of its start");
        }
        for _ in 0..ROUNDS {
            if !self.take_family_back(leader) {
                return;
            }
        }
        debug!(pid = %leader, "an instance makes processes faster than they are found");
    }

    fn take_group_back(self, leader: Pid) -> io::Result<()> {
        let Some(group) = self.group else {
            return Ok(());
        };
        let file = format!("/proc/{leader}/autogroup");
        let text = read_to_string(&file)?;
        if group_nice(&text) == Some(group) {
            write(file, "0")?;
        }
        Ok(())
    }

    /// Whether one of its threads had the low value.
    fn take_family_back(self, leader: Pid) -> bool {
        let mut found = false;
        let mut family = vec![leader];
        while let Some(member) = family.pop() {
            // What has ended meanwhile needs nothing.
            let threads = read_dir(format!("/proc/{member}/task"));
            for thread in threads.into_iter().flatten().flatten() {
                let Some(id) = thread.file_name().to_str().and_then(parse_pid) else {
                    continue;
                };
                found |= self.take_thread_back(id);
                let children = read_to_string(thread.path().join("children"));
                let children = children.unwrap_or_default();
                family.extend(children.split_whitespace().filter_map(parse_pid));
            }
        }
        found
    }

    fn take_thread_back(self, thread: Pid) -> bool {
        if getpriority_process(Some(thread)) != Ok(self.to) {
            return false;
        }
        match setpriority_process(Some(thread), self.from) {
            Ok(()) => true,
            Err(error) => {
                warn!(pid = %thread, %error, "a process keeps the low priority of its start");
                false
            }
        }
    }
}

fn parse_pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// Whether the kernel does, and lets the emperor set it as often as it starts something: it lets
/// others only ten times a second.
fn groups_by_session() -> bool {
    let switch = read_to_string("/proc/sys/kernel/sched_autogroup_enabled");
    geteuid().is_root() && switch.is_ok_and(|text| text.trim() == "1")
}

/// The value in a line such as `/autogroup-123 nice 10`.
fn group_nice(text: &str) -> Option<i32> {
    text.trim().rsplit_once(" nice ")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_line_of_a_session_is_understood() {
        assert_eq!(group_nice("/autogroup-5293 nice 10\n"), Some(10));
        assert_eq!(group_nice("/autogroup-5293 nice -3\n"), Some(-3));
        assert_eq!(group_nice(""), None);
    }

    #[test]
    fn nothing_is_lowered_where_nothing_is_asked_for() {
        assert_eq!(Lowered::find(0), None);
    }
}
