//! What `/proc` tells of the processes of a session.
//!
//! Every instance leads a session of its own, which its processes can't leave but by making another
//! one. The kernel kills a process *group* with one call; for members of the session that made a
//! group of their own there is no call, and the way is to look for them.

use std::collections::{HashMap, HashSet};
use std::fs::{metadata, read_dir, read_to_string};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use nix::unistd::{Pid as AnyPid, SysconfVar, getsid, sysconf};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

/// How often a session is looked through: a process may make another while it is being killed.
const ROUNDS: usize = 8;

/// So many times as long as a sweep took, there is none: on a machine with ten thousand processes a look
/// at all of them takes milliseconds, and a rollout over all of its sites ends an instance at each
/// moment.
const REST: u32 = 9;

/// The part of `/proc/PID/stat` that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessStat {
    pub(super) pid: Pid,
    pub(super) parent: i32,
    pub(super) session: i32,
    /// It has ended and waits for its parent to ask how.
    pub(super) is_zombie: bool,
    /// A signal has stopped it. One that a tracer has stopped isn't meant: under `strace` any process
    /// is that for a moment at each of its calls.
    pub(super) is_stopped: bool,
    /// When it began, in clock ticks since the machine did. With the pid it names one process: a
    /// pid is reused, the two together are not.
    pub(super) start_ticks: u64,
}

impl ProcessStat {
    /// Reads it for one process, if there is one.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        Self::parse(&read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The user it runs as.
    fn uid(&self) -> Option<u32> {
        Some(metadata(format!("/proc/{}", self.pid)).ok()?.uid())
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in brackets is the program's own choice, and may hold anything.
        let (head, rest) = text.split_at(text.rfind(')')?);
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            pid: Pid::from_raw(head.split(' ').next()?.parse().ok()?)?,
            is_zombie: matches!(*fields.get(1)?, "Z" | "X"),
            is_stopped: *fields.get(1)? == "T",
            parent: fields.get(2)?.parse().ok()?,
            session: fields.get(4)?.parse().ok()?,
            start_ticks: fields.get(20)?.parse().ok()?,
        })
    }

    /// All members of these sessions. Whose session it is takes one call; `/proc/PID/stat`, which tells
    /// more, takes three, and many times as long.
    fn of_sessions(sessions: &HashSet<i32>) -> impl Iterator<Item = Self> {
        let is_member =
            |pid: &Pid| session_number_of(*pid).is_some_and(|session| sessions.contains(&session));
        all_pids().filter(is_member).filter_map(Self::of)
    }
}

/// None where the process has ended. A session that was made outside of this pid namespace is 0.
fn session_number_of(pid: Pid) -> Option<i32> {
    let asked = AnyPid::from_raw(pid.as_raw_nonzero().get());
    Some(getsid(Some(asked)).ok()?.as_raw())
}

/// The leader of a process's session, if the process goes on and its leader can be named here.
pub(super) fn session_of(pid: Pid) -> Option<Pid> {
    Pid::from_raw(session_number_of(pid)?)
}

fn all_pids() -> impl Iterator<Item = Pid> {
    let entries = read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// Resident memory of these sessions, by their leaders' pids: one reading of `/proc` for all of them.
/// Pages that processes share count once for each. Blocks.
pub(crate) fn resident_bytes(sessions: &HashSet<u32>) -> HashMap<u32, u64> {
    let page = page_bytes();
    let mut bytes = HashMap::new();
    for (pid, session) in all_pids().filter_map(|pid| Some((pid, session_number_of(pid)?))) {
        let session = session.cast_unsigned();
        if sessions.contains(&session) {
            *bytes.entry(session).or_default() += resident_pages(pid).unwrap_or(0) * page;
        }
    }
    bytes
}

/// None of a process that is gone.
fn resident_pages(pid: Pid) -> Option<u64> {
    let text = read_to_string(format!("/proc/{pid}/statm")).ok()?;
    text.split(' ').nth(1)?.parse().ok()
}

/// Memory of one session by its leader's pid, where a page that `n` processes share counts `1/n` for
/// each (PSS): what would be had back if all of them ended. `None`: nothing of it could be read.
///
/// The kernel walks the page tables of every member, so this costs milliseconds for a large
/// instance: to be asked now and then, of those that have a bound. Blocks.
pub(crate) fn pss_bytes(session: u32) -> Option<u64> {
    let session = HashSet::from([session.cast_signed()]);
    let members = ProcessStat::of_sessions(&session);
    // A member that ended meanwhile, or that may not be looked into, adds nothing.
    members
        .filter_map(|member| pss_of(member.pid))
        .reduce(u64::saturating_add)
}

fn pss_of(pid: Pid) -> Option<u64> {
    parse_pss(&read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

fn parse_pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

fn page_bytes() -> u64 {
    let asked = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    // 4 KiB is what almost every machine has, should it not say.
    asked
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(4096)
}

/// Kills what is left in sessions. Requests that come while `/proc` is being read, or is left alone, are
/// answered together by the next reading, so the end of a thousand instances costs a few readings.
#[derive(Debug, Default)]
pub(super) struct Sweeper {
    waiting: Mutex<HashSet<i32>>,
    /// Whoever has it may read, once this is over.
    turn: tokio::sync::Mutex<Option<Instant>>,
}

impl Sweeper {
    /// Kills every member of a session but its leader. The leader must not be reaped before this
    /// ends: as long as it isn't, the session's number can't come to belong to somebody else.
    pub(super) async fn sweep(&self, leader: Pid) {
        let leader = leader.as_raw_nonzero().get();
        self.waiting().insert(leader);
        let mut rest = self.turn.lock().await;
        if !self.waiting().contains(&leader) {
            // Whoever had the turn before took it along.
            return;
        }
        if let Some(over) = *rest {
            sleep_until(over).await;
        }
        let batch = std::mem::take(&mut *self.waiting());
        let began = Instant::now();
        if let Err(error) = tokio::task::spawn_blocking(move || kill_members(&batch)).await {
            warn!(%error, "looking for left-over processes broke off");
        }
        *rest = Some(Instant::now() + began.elapsed() * REST);
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashSet<i32>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills the members of these sessions, leaders excepted, until a reading finds none alive.
fn kill_members(sessions: &HashSet<i32>) {
    kill_all(sessions, |process| is_live_member(process, sessions));
}

/// Kills what is left of a session whose leader is gone. The number may have come to belong to
/// another session since, so only processes of the same user count.
pub(super) fn kill_orphans(session: Pid, uid: u32) {
    let sessions = HashSet::from([session.as_raw_nonzero().get()]);
    let is_meant =
        |process: &ProcessStat| is_live_member(process, &sessions) && process.uid() == Some(uid);
    kill_all(&sessions, is_meant);
}

fn kill_all(sessions: &HashSet<i32>, is_meant: impl Fn(&ProcessStat) -> bool) {
    for _ in 0..ROUNDS {
        let members = ProcessStat::of_sessions(sessions).filter(&is_meant);
        let members: Vec<_> = members.collect();
        if members.is_empty() {
            return;
        }
        for member in members {
            kill(member.pid, &is_meant);
        }
    }
    warn!("processes of ended instances go on making others");
}

fn is_live_member(process: &ProcessStat, sessions: &HashSet<i32>) -> bool {
    let is_leader = process.pid.as_raw_nonzero().get() == process.session;
    !is_leader && !process.is_zombie && sessions.contains(&process.session)
}

/// The pid may belong to another by now. So it is held by a pidfd first and then asked again who it
/// is: what answers rightly is what the pidfd holds.
fn kill(pid: Pid, is_meant: impl Fn(&ProcessStat) -> bool) {
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    if ProcessStat::of(pid).is_some_and(|now| is_meant(&now)) {
        // It may end by itself at this moment, which is what is wanted.
        let _ = pidfd_send_signal(&held, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_can_t_forge_the_fields_after_it() {
        let line =
            "7 (a) S 1 1 1 (b)) Z 1 7 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 678 0";
        let stat = ProcessStat::parse(line).unwrap();
        assert_eq!(stat.pid, Pid::from_raw(7).unwrap());
        assert_eq!((stat.session, stat.is_zombie), (9, true));
        assert_eq!(stat.start_ticks, 12345);
    }

    #[test]
    fn proportional_memory_is_the_line_of_that_name() {
        let text = "55d-7ff ---p 00000000 00:00 0 [rollup]\nRss:   9 kB\nPss:      4211 kB\nPss_Dirty: 7 kB\n";
        assert_eq!(parse_pss(text), Some(4211 * 1024));
        assert_eq!(parse_pss("Pss_Dirty: 7 kB\n"), None);
    }

    #[test]
    fn memory_is_told_of_the_sessions_that_are_asked_for_alone() {
        // One that was made outside of this pid namespace has the number 0.
        let own = getsid(None).unwrap().as_raw().cast_unsigned();
        assert!(resident_bytes(&HashSet::from([own]))[&own] > 0);
        assert_eq!(resident_bytes(&HashSet::from([u32::MAX])), HashMap::new());
    }
}
