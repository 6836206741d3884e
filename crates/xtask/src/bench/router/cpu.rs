//! How much CPU a program has taken, from `/proc`.
//!
//! The sum is the scheduler's own count in nanoseconds (`schedstat`). How it divides between user
//! and kernel is only sampled at clock ticks (`stat`), so that is a share, good over seconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{RouterBenchError, file};
use super::float::float;

/// CPU taken by a program and its children, since they began or since another reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Taken {
    nanoseconds: u64,
    user_ticks: u64,
    system_ticks: u64,
}

impl Taken {
    /// What came on top since an earlier reading.
    pub(super) fn since(self, earlier: Self) -> Self {
        Self {
            nanoseconds: self.nanoseconds.saturating_sub(earlier.nanoseconds),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
        }
    }

    /// All of it.
    pub(super) fn total(self) -> Duration {
        Duration::from_nanos(self.nanoseconds)
    }

    /// Which part of it was spent outside of the kernel, 0 to 1.
    pub(super) fn user_share(self) -> f64 {
        let ticks = self.user_ticks + self.system_ticks;
        float(self.user_ticks) / float(ticks.max(1))
    }
}

/// Reads the sum over some processes, all their threads and descendants.
pub(super) fn taken_by(root: u32) -> Result<Taken, RouterBenchError> {
    let mut sum = Taken::default();
    for process in family(root)? {
        let folder = PathBuf::from(format!("/proc/{process}"));
        let (user, system) = ticks(&folder.join("stat"))?;
        sum.user_ticks += user;
        sum.system_ticks += system;
        for thread in threads(&folder)? {
            sum.nanoseconds += nanoseconds(&thread.join("schedstat"))?;
        }
    }
    Ok(sum)
}

/// A process and all its descendants.
pub(super) fn family(root: u32) -> Result<Vec<u32>, RouterBenchError> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(process) = found.get(next) {
        for thread in threads(&PathBuf::from(format!("/proc/{process}")))? {
            let path = thread.join("children");
            let text = read(&path)?;
            for child in text.split_whitespace() {
                found.push(number(&path, &text, child)?);
            }
        }
        next += 1;
    }
    Ok(found)
}

fn threads(process: &Path) -> Result<Vec<PathBuf>, RouterBenchError> {
    let path = process.join("task");
    let list = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(&path)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    list().map_err(file(&path))
}

fn nanoseconds(path: &Path) -> Result<u64, RouterBenchError> {
    let text = read(path)?;
    let first = text.split(' ').next().unwrap_or_default();
    number(path, &text, first)
}

/// User and system time, the 14th and 15th field of `stat` (`proc(5)`).
fn ticks(path: &Path) -> Result<(u64, u64), RouterBenchError> {
    let text = read(path)?;
    // The second field is a name in parentheses that may hold anything.
    let (_, after_name) = text.rsplit_once(") ").unwrap_or_default();
    let mut fields = after_name.split(' ').skip(11);
    let mut field = || number(path, &text, fields.next().unwrap_or_default());
    Ok((field()?, field()?))
}

fn number<T: std::str::FromStr>(
    path: &Path,
    text: &str,
    figure: &str,
) -> Result<T, RouterBenchError> {
    figure.parse().map_err(|_| RouterBenchError::Proc {
        path: path.to_owned(),
        text: text.to_owned(),
    })
}

fn read(path: &Path) -> Result<String, RouterBenchError> {
    fs::read_to_string(path).map_err(file(path))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rustix::process::{Pid, Signal, kill_process};

    use super::super::process::Process;
    use super::*;
    use crate::shell;

    #[test]
    fn the_work_of_a_child_and_of_its_child_is_counted() {
        let busy = "sh -c 'while :; do :; done' & wait";
        let process = Process::start(shell::command("sh").args(["-c", busy])).unwrap();
        // The scheduler counts at its own pace, so this goes on until it shows.
        let began = Instant::now();
        while taken_by(process.id()).unwrap().total() < Duration::from_millis(20) {
            assert!(
                began.elapsed() < Duration::from_secs(10),
                "nothing is counted"
            );
        }
        let family = family(process.id()).unwrap();
        assert_eq!(family.len(), 2);
        let Some(child) = family
            .last()
            .and_then(|pid| Pid::from_raw(pid.cast_signed()))
        else {
            panic!("{family:?} holds no process");
        };
        kill_process(child, Signal::KILL).unwrap();
    }
}
