//! What is written down about a running process, so that an emperor that starts after one that was
//! killed knows what it finds.

use std::fs::{File, read_to_string};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use vassal_core::settings::{Stop, StopSignal};

use super::failure::{Doing, PathFailure};
use super::session::ProcessStat;

/// Its name in the instance's folder.
pub(super) const FILE: &str = "instance.json";

/// A process, named so that no other can be taken for it, and how it wants to be ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pid: i32,
    start_ticks: u64,
    /// Which start of the machine the ticks count from.
    boot_id: String,
    /// Who it runs as.
    uid: u32,
    stop_signal: RecordedSignal,
    grace_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum RecordedSignal {
    Term,
    Int,
    Quit,
    Hup,
    Usr1,
    Usr2,
}

impl Record {
    /// Describes a process that lives; `None` if it doesn't any more.
    pub(super) fn of(pid: Pid, uid: u32, stop: &Stop) -> Option<Self> {
        Some(Self {
            pid: pid.as_raw_nonzero().get(),
            start_ticks: ProcessStat::of(pid)?.start_ticks,
            boot_id: boot_id(),
            uid,
            stop_signal: stop.signal.into(),
            grace_ms: u64::try_from(stop.grace.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// Writes it into the instance's folder.
    pub(super) fn write(&self, folder: &OwnedFd, path: &Path) -> Result<(), PathFailure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let path = path.join(FILE);
        let file = openat(folder, FILE, flags, Mode::from_raw_mode(0o600)).doing("write", &path)?;
        let text = serde_json::to_vec(self).expect("numbers and texts are JSON");
        File::from(file).write_all(&text).doing("write", &path)
    }

    /// Reads what a predecessor wrote; `None` where it got no further than the folder.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&read_to_string(folder.join(FILE)).ok()?).ok()
    }

    /// The process, if it is this very one that lives under that pid.
    pub(super) fn living(&self) -> Option<Pid> {
        let pid = Pid::from_raw(self.pid)?;
        let now = ProcessStat::of(pid)?;
        let same = self.boot_id == boot_id() && now.start_ticks == self.start_ticks;
        (same && !now.is_zombie).then_some(pid)
    }

    /// The session it led, and its user; `None` after a restart of the machine, which no process
    /// survives.
    pub(super) fn session(&self) -> Option<(Pid, u32)> {
        let same_start = self.boot_id == boot_id();
        Some((Pid::from_raw(self.pid)?, self.uid)).filter(|_| same_start)
    }

    /// How it is to be ended.
    pub(super) fn stop(&self) -> Stop {
        Stop {
            signal: self.stop_signal.into(),
            grace: Duration::from_millis(self.grace_ms),
        }
    }
}

fn boot_id() -> String {
    let id = read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

impl From<StopSignal> for RecordedSignal {
    fn from(signal: StopSignal) -> Self {
        match signal {
            StopSignal::Term => Self::Term,
            StopSignal::Int => Self::Int,
            StopSignal::Quit => Self::Quit,
            StopSignal::Hup => Self::Hup,
            StopSignal::Usr1 => Self::Usr1,
            StopSignal::Usr2 => Self::Usr2,
        }
    }
}

impl From<RecordedSignal> for StopSignal {
    fn from(signal: RecordedSignal) -> Self {
        match signal {
            RecordedSignal::Term => Self::Term,
            RecordedSignal::Int => Self::Int,
            RecordedSignal::Quit => Self::Quit,
            RecordedSignal::Hup => Self::Hup,
            RecordedSignal::Usr1 => Self::Usr1,
            RecordedSignal::Usr2 => Self::Usr2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop {
        signal: StopSignal::Int,
        grace: Duration::from_millis(1500),
    };

    #[test]
    fn a_record_finds_its_process_and_no_other_with_that_pid() {
        let own = rustix::process::getpid();
        let record = Record::of(own, 0, &STOP).unwrap();
        assert_eq!(record.living(), Some(own));
        assert_eq!(record.stop(), STOP);

        let mut other = record.clone();
        other.start_ticks += 1;
        assert_eq!(other.living(), None);
        let mut before_reboot = record;
        before_reboot.boot_id.push('x');
        assert_eq!(before_reboot.living(), None);
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::of(rustix::process::getpid(), 5, &STOP).unwrap();
        let opened = OwnedFd::from(File::open(folder.path()).unwrap());
        record.write(&opened, folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record));
    }
}
