//! One process that the emperor answers for, with its process group: a child of its own, one that an
//! earlier emperor started and that the kernel has given to `init`, or one that a preloader forked.
//!
//! A pid names a process only until it is reaped; afterwards the kernel may give it to another.
//! Everything here that goes by pid or group therefore happens before the reaping, under one lock,
//! and the reaping is a step of its own: the exit is noticed with the process left a zombie, its
//! group is killed, its session is searched, and only then it is let go.
//!
//! A process that was adopted is reaped by `init`, at a moment of its own choosing: how it ended can't
//! be asked, and its number may be another's as soon as it ended. What is left of it is found by
//! session and user. (Being a subreaper, `PR_SET_CHILD_SUBREAPER`, helps a parent that lives and
//! nobody that comes after it.)
//!
//! A process that was forked is its preloader's child: that is asked how it ended, once it has. What
//! is left of it is found as if it was adopted, since a preloader may end at any moment.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group, waitid,
};
use tokio::sync::{Notify, OnceCell};
use tokio::task::spawn_blocking;
use tracing::{error, warn};
use vassal_core::ExitReason;
use vassal_core::settings::StopSignal;

use super::pidfd::Pidfd;
use super::preloading::Preloader;
use super::record::Record;
use super::session::{ProcessStat, Sweeper, kill_orphans};

/// How long a killed process may take to be gone. Only one that the kernel can't interrupt (a file
/// system that does not answer) takes longer, and nothing helps against that.
pub(super) const KILLED_PATIENCE: Duration = Duration::from_secs(10);

/// A process. Dropped, its group is killed, and a child is reaped.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    held: Pidfd,
    kinship: Kinship,
    fate: Mutex<Fate>,
    /// The kernel told that it was stopped, or goes on.
    halted: Notify,
}

/// Whose child it is.
#[derive(Debug)]
enum Kinship {
    Own,
    /// Not this emperor's.
    Adopted {
        uid: u32,
    },
    /// A preloader's.
    Forked {
        uid: u32,
        preloader: Arc<Preloader>,
        told: OnceCell<ExitReason>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Running,
    /// Ended; its pid is still its own.
    Ended(ExitReason),
    /// Ended; its pid may be anybody's.
    Reaped(ExitReason),
}

impl Child {
    /// Takes a process that was just started by this one and is waited for by nobody else.
    pub(super) fn new(pid: Pid) -> io::Result<Self> {
        // The pid can't be another's yet: only this program reaps it, and has not.
        Ok(Self {
            pid,
            held: Pidfd::open(pid)?,
            kinship: Kinship::Own,
            fate: Mutex::new(Fate::Running),
            halted: Notify::new(),
        })
    }

    /// Takes a process that an earlier emperor wrote down, if it is still there. One that this
    /// emperor became by executing itself anew is its child as before.
    pub(super) fn found(record: &Record) -> Option<Self> {
        let pid = record.found()?.pid;
        let held = Pidfd::open(pid).ok()?;
        // Held first and compared then: what was compared is what is held.
        let found = record.found()?;
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let is_own = found.parent == own;
        let kinship = if is_own {
            Kinship::Own
        } else {
            Kinship::Adopted { uid: record.uid() }
        };
        let is_there = is_own || !found.is_zombie;
        is_there.then_some(Self {
            pid,
            held,
            kinship,
            fate: Mutex::new(Fate::Running),
            halted: Notify::new(),
        })
    }

    /// Takes a process that says that it was forked by this preloader; `None`: it was not.
    pub(super) fn forked(
        pid: Pid,
        uid: u32,
        preloader: &Arc<Preloader>,
    ) -> io::Result<Option<Self>> {
        let held = Pidfd::open(pid)?;
        // Held first and compared then: what was compared is what is held.
        let is_meant = ProcessStat::of(pid).is_some_and(|found| {
            found.parent == preloader.pid().as_raw_nonzero().get()
                && found.session == pid.as_raw_nonzero().get()
        });
        Ok(is_meant.then(|| Self {
            pid,
            held,
            kinship: Kinship::Forked {
                uid,
                preloader: Arc::clone(preloader),
                told: OnceCell::new(),
            },
            fate: Mutex::new(Fate::Running),
            halted: Notify::new(),
        }))
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Resolves once it has ended, with its group killed.
    ///
    /// Cancel safe, and may be asked by several at once.
    pub(super) async fn exited(self: Arc<Self>) -> ExitReason {
        if let Kinship::Forked {
            preloader, told, ..
        } = &self.kinship
        {
            self.held.ended().await;
            let reason = *told.get_or_init(|| preloader.how_ended(self.pid)).await;
            *self.fate() = Fate::Reaped(reason);
            return reason;
        }
        self.held.ended_as(|| self.notice_exit()).await
    }

    /// Whether it has ended already.
    pub(super) fn has_ended(&self) -> bool {
        ProcessStat::of(self.pid).is_none_or(|found| found.is_zombie)
    }

    /// Whether a signal has stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        ProcessStat::of(self.pid).is_some_and(|found| found.is_stopped)
    }

    /// Resolves once the kernel has told that it was stopped, or goes on: of a child alone.
    ///
    /// Cancel safe.
    pub(super) async fn halted(&self) {
        self.halted.notified().await;
    }

    /// Asks the kernel whether it was stopped, or goes on, since this was last asked; wakes who waits
    /// for that.
    pub(super) fn ask_whether_halted(&self) {
        let fate = self.fate();
        if *fate != Fate::Running || !self.is_own() {
            return;
        }
        let halts = WaitIdOptions::STOPPED | WaitIdOptions::CONTINUED | WaitIdOptions::NOHANG;
        // Its end is asked for elsewhere.
        if let Ok(Some(_)) = waitid(WaitId::Pid(self.pid), halts) {
            self.halted.notify_one();
        }
    }

    /// Sends a signal to the process alone, and lets it go on if it is stopped: it could not obey. One
    /// that has ended gets none.
    pub(super) fn signal(&self, signal: StopSignal) {
        self.held.send(kernel_signal(signal));
        self.let_go_on();
    }

    /// Lets it go on, with its group: whoever stopped it may have stopped all of it.
    pub(super) fn let_go_on(&self) {
        let fate = self.fate();
        match *fate {
            Fate::Running => {
                // No such group: it is alone.
                let _ = kill_process_group(self.pid, Signal::CONT);
                self.held.send(Signal::CONT);
            }
            Fate::Ended(_) | Fate::Reaped(_) => {}
        }
    }

    /// Kills the process and its group.
    pub(super) fn kill_group(&self) {
        let fate = self.fate();
        self.kill_unreaped(*fate);
    }

    /// Kills whatever it left in its session, then gives its pid back. Call it after the exit.
    pub(super) async fn reap(&self, sweeper: &Sweeper) {
        match self.kinship {
            Kinship::Own => {}
            Kinship::Adopted { uid } | Kinship::Forked { uid, .. } => {
                return self.end_orphans(uid).await;
            }
        }
        if !matches!(*self.fate(), Fate::Reaped(_)) {
            sweeper.sweep(self.pid).await;
        }
        self.let_go();
    }

    async fn end_orphans(&self, uid: u32) {
        let session = self.pid;
        let ended = spawn_blocking(move || kill_orphans(session, uid)).await;
        if let Err(error) = ended {
            warn!(%error, "looking for left-over processes broke off");
        }
    }

    fn is_own(&self) -> bool {
        matches!(self.kinship, Kinship::Own)
    }

    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The group is the child's pid from its `setsid` on. Before that there is no such group, and
    /// the child is alone.
    fn kill_unreaped(&self, fate: Fate) {
        match fate {
            // The group first: as long as the process lives, the group's number is its own.
            Fate::Running => {
                let _ = kill_process_group(self.pid, Signal::KILL);
                self.held.send(Signal::KILL);
            }
            Fate::Ended(_) => {
                // No such group: nobody is left, which is what is wanted.
                let _ = kill_process_group(self.pid, Signal::KILL);
            }
            Fate::Reaped(_) => {}
        }
    }

    fn notice_exit(&self) -> Option<ExitReason> {
        let mut fate = self.fate();
        match *fate {
            Fate::Ended(reason) | Fate::Reaped(reason) => Some(reason),
            Fate::Running if !self.is_own() => {
                *fate = Fate::Reaped(ExitReason::Unknown);
                Some(ExitReason::Unknown)
            }
            Fate::Running => {
                let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
                let reason = self.wait(peek)?;
                *fate = Fate::Ended(reason);
                self.kill_unreaped(*fate);
                Some(reason)
            }
        }
    }

    fn let_go(&self) {
        let mut fate = self.fate();
        if matches!(*fate, Fate::Running | Fate::Ended(_))
            && self.is_own()
            && let Some(reason) = self.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
        {
            *fate = Fate::Reaped(reason);
        }
    }

    fn wait(&self, options: WaitIdOptions) -> Option<ExitReason> {
        let status = waitid(WaitId::Pid(self.pid), options)
            .expect("only the emperor waits for its children, and for each until it is reaped");
        status.map(|status| reason(&status))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let fate = *self.fate();
        if matches!(fate, Fate::Reaped(_)) {
            return;
        }
        self.kill_unreaped(fate);
        self.let_go();
        if let Kinship::Forked { preloader, .. } = &self.kinship {
            preloader.forget(self.pid);
        }
        if !self.is_own() || matches!(*self.fate(), Fate::Reaped(_)) {
            return;
        }
        // Killed but not gone yet. A moment of a thread's time, where there is nobody to await it.
        let pid = self.pid;
        let reaper = move || waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
        if let Err(error) = std::thread::Builder::new().spawn(reaper) {
            error!(pid = self.number(), %error, "an ended process can't be reaped");
        }
    }
}

/// The signal as the kernel knows it.
pub(super) fn kernel_signal(signal: StopSignal) -> Signal {
    match signal {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
    }
}

fn reason(status: &WaitIdStatus) -> ExitReason {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => ExitReason::Exited { status },
        (None, signal) => ExitReason::Killed {
            signal: signal.unwrap_or_default(),
            core_dumped: status.dumped(),
        },
    }
}

#[cfg(test)]
mod tests {
    use vassal_core::settings::Stop;

    use super::super::record::{FastrouterRecord, Runs};
    use super::*;

    /// A process of its own session whose parent has ended.
    fn orphan() -> Pid {
        #[expect(
            clippy::disallowed_methods,
            reason = "a process that the emperor did not start is what this is about"
        )]
        let shell = std::process::Command::new("sh")
            .args(["-c", "setsid sleep 600 >/dev/null 2>&1 & echo $!"])
            .output()
            .unwrap();
        let pid = String::from_utf8(shell.stdout).unwrap();
        Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
    }

    fn record(pid: Pid) -> Record {
        let stop = Stop {
            signal: StopSignal::Term,
            grace: Duration::ZERO,
        };
        let runs = Runs::Fastrouter(FastrouterRecord {
            places: Vec::new(),
            make: String::new(),
        });
        let uid = rustix::process::geteuid().as_raw();
        Record::of(pid, uid, &stop, runs).unwrap()
    }

    #[tokio::test]
    async fn an_adopted_process_is_ended_and_watched_but_does_not_say_how_it_ended() {
        let pid = orphan();
        let record = record(pid);
        let child = Arc::new(Child::found(&record).unwrap());
        assert!(!child.has_ended());
        child.signal(StopSignal::Term);
        let exited = tokio::time::timeout(KILLED_PATIENCE, Arc::clone(&child).exited());
        assert_eq!(exited.await, Ok(ExitReason::Unknown));
        child.reap(&Sweeper::default()).await;
        assert!(Child::found(&record).is_none());
    }
}
