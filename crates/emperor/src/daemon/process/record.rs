//! What is written down about a running process, so that an emperor that starts after one that was
//! killed knows what it finds.

use std::fs::{File, read_to_string};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};
use vassal_core::settings::{Stop, StopSignal};
use wire::route::ProtocolFrame;

use super::durable;
use super::failure::{Doing, PathFailure};
use super::priority::Lowered;
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
    /// When it was started, in milliseconds since 1970: for people.
    #[serde(default)]
    started_ms: u64,
    /// What it is; without that it can't be taken over.
    #[serde(default)]
    runs: Option<Runs>,
    /// Limits and walls that it runs without.
    #[serde(default)]
    missing: Vec<String>,
}

/// What a process is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Runs {
    /// An instance of a site.
    Instance(InstanceRecord),
    /// The router.
    Fastrouter(FastrouterRecord),
    /// What workers are forked from. It ends with the emperor, and they live on.
    Preloader,
}

/// What has to be known of an instance to go on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InstanceRecord {
    pub(super) site: i64,
    pub(super) incarnation: u64,
    pub(super) revision: String,
    pub(super) protocol: ProtocolFrame,
    /// It binds its socket itself.
    pub(super) binds: bool,
    /// The row it was made from, as the registry writes rows.
    pub(super) row: String,
    /// What is to be taken back once it is ready.
    #[serde(default)]
    pub(super) lowered: Option<Lowered>,
}

/// How the router was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FastrouterRecord {
    /// The place of each listening socket, in the order of its descriptors.
    pub(crate) places: Vec<String>,
    /// Everything else that only a new start can change.
    pub(crate) make: String,
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
    pub(super) fn of(pid: Pid, uid: u32, stop: &Stop, runs: Runs) -> Option<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
        Some(Self {
            pid: pid.as_raw_nonzero().get(),
            start_ticks: ProcessStat::of(pid)?.start_ticks,
            boot_id: boot_id(),
            uid,
            stop_signal: stop.signal.into(),
            grace_ms: milliseconds(stop.grace),
            started_ms: since_1970.map_or(0, milliseconds),
            runs: Some(runs),
            missing: Vec::new(),
        })
    }

    /// The same process, which runs without these limits and walls.
    pub(super) fn without(mut self, missing: &[String]) -> Self {
        self.missing = missing.to_vec();
        self
    }

    /// Limits and walls that it runs without.
    pub(super) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Writes it into the instance's folder.
    pub(super) fn write(&self, folder: &OwnedFd, path: &Path) -> Result<(), PathFailure> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let path = path.join(FILE);
        let file = openat(folder, FILE, flags, Mode::from_raw_mode(0o600)).doing("write", &path)?;
        let text = serde_json::to_vec(self).expect("numbers and texts are JSON");
        File::from(file).write_all(&text).doing("write", &path)
    }

    /// Adds to what is written down which limits and walls it runs without.
    pub(super) fn complete(folder: &Path, missing: &[String]) -> Result<(), PathFailure> {
        let Some(record) = Self::read(folder) else {
            return Ok(());
        };
        let text = serde_json::to_string(&record.without(missing));
        let text = text.expect("numbers and texts are JSON");
        durable::replace_unsynced(&folder.join(FILE), &text)
    }

    /// Reads what a predecessor wrote; `None` where it got no further than the folder.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        serde_json::from_str(&read_to_string(folder.join(FILE)).ok()?).ok()
    }

    /// The process, if it is this very one that lives under that pid.
    pub(super) fn living(&self) -> Option<Pid> {
        let found = self.found()?;
        (!found.is_zombie).then_some(found.pid)
    }

    /// The process, if it is this very one that has that pid, ended or not.
    pub(super) fn found(&self) -> Option<ProcessStat> {
        let found = ProcessStat::of(Pid::from_raw(self.pid)?)?;
        let same = self.boot_id == boot_id() && found.start_ticks == self.start_ticks;
        same.then_some(found)
    }

    /// What it is.
    pub(super) fn runs(&self) -> Option<&Runs> {
        self.runs.as_ref()
    }

    /// The user it runs as.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// When it was started.
    pub(super) fn started_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.started_ms)
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

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Which start of the machine this is.
pub(in crate::daemon) fn boot_id() -> String {
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

    fn router() -> Runs {
        Runs::Fastrouter(FastrouterRecord {
            places: vec!["127.0.0.1:80".into()],
            make: "1".into(),
        })
    }

    #[test]
    fn a_record_finds_its_process_and_no_other_with_that_pid() {
        let own = rustix::process::getpid();
        let record = Record::of(own, 0, &STOP, router()).unwrap();
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
        let record = Record::of(rustix::process::getpid(), 5, &STOP, router()).unwrap();
        let opened = OwnedFd::from(File::open(folder.path()).unwrap());
        record.write(&opened, folder.path()).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record.clone()));
        let missing = ["sandbox.syscalls: not here".to_owned()];
        Record::complete(folder.path(), &missing).unwrap();
        assert_eq!(Record::read(folder.path()), Some(record.without(&missing)));
    }
}
