//! Who runs on this machine: read from `/proc`, which tells more than any child handle.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{PidfdFlags, pidfd_open};

/// One running process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(i32);

/// What a process holds in memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// All of its pages.
    pub resident: u64,
    /// The same, pages that others have too counted by its share of them.
    pub proportional: u64,
}

/// Something mounted, as one process sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: String,
    /// How, in the words of `mount(8)`.
    pub options: String,
}

impl Mount {
    /// Whether nothing below can be written to.
    pub fn is_read_only(&self) -> bool {
        self.options.split(',').any(|option| option == "ro")
    }
}

impl Process {
    /// By its number.
    pub fn new(pid: i32) -> Self {
        Self(pid)
    }

    /// Every process of this machine.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").unwrap();
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names
            .filter_map(|name| name.parse().ok())
            .map(Self)
            .collect()
    }

    /// Those that have something of a folder in their arguments or their environment.
    pub fn of(folder: &Path) -> Vec<Self> {
        Self::whose_words(|words| mention(words, folder))
    }

    /// The same without those that have something of a folder in it. Each process is looked at once: one
    /// that gives itself another title meanwhile would otherwise be found and not be left out.
    pub fn of_without(folder: &Path, left_out: &Path) -> Vec<Self> {
        Self::whose_words(|words| mention(words, folder) && !mention(words, left_out))
    }

    fn whose_words(wanted: impl Fn(&[u8]) -> bool) -> Vec<Self> {
        let mut found = Self::all();
        found.retain(|process| {
            process.0.cast_unsigned() != std::process::id()
                && process.is_alive()
                && wanted(&process.words())
        });
        found
    }

    /// Its number.
    pub fn pid(self) -> i32 {
        self.0
    }

    /// Whether it runs; one that ended and was not waited for yet doesn't, and one that was killed and had
    /// no turn to end since then doesn't either.
    pub fn is_alive(self) -> bool {
        let status = String::from_utf8_lossy(&self.read("status")).into_owned();
        let state = field(&status, "State:");
        let killed = ["SigPnd:", "ShdPnd:"].into_iter().any(|pending| {
            let pending = field(&status, pending).unwrap_or("0");
            let pending = u64::from_str_radix(pending, 16).unwrap();
            pending & 1 << (Signal::SIGKILL as u32 - 1) != 0
        });
        state.is_some_and(|state| !state.starts_with('Z')) && !killed
    }

    /// Its arguments, separated by NUL; empty where it is gone.
    pub fn arguments(self) -> Vec<u8> {
        self.read("cmdline")
    }

    /// The environment it was started with, separated by NUL.
    pub fn environment(self) -> Vec<u8> {
        self.read("environ")
    }

    /// The value of one variable of it.
    pub fn variable(self, name: &str) -> Option<String> {
        let environment = self.environment();
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|variable| {
            let text = std::str::from_utf8(variable).ok()?;
            Some(text.strip_prefix(name)?.strip_prefix('=')?.to_owned())
        })
    }

    /// A field of `/proc/PID/status`, such as `Uid:`.
    pub fn status_line(self, field: &str) -> Option<String> {
        let status = String::from_utf8(self.read("status")).ok()?;
        self::field(&status, field).map(str::to_owned)
    }

    /// The name of its program, 15 bytes of it at most.
    pub fn name(self) -> String {
        let name = String::from_utf8_lossy(&self.read("comm")).into_owned();
        name.trim_end().to_owned()
    }

    /// A path below its folder in `/proc`: `root/etc` is the `/etc` that it sees.
    pub fn path(self, relative: &str) -> PathBuf {
        format!("/proc/{}/{relative}", self.0).into()
    }

    /// The processor time that it has taken, threads that have ended included.
    pub fn cpu_time(self) -> Duration {
        let clock = clock_getcpuclockid(Pid::from_raw(self.0)).unwrap();
        clock.now().unwrap().into()
    }

    /// What it holds in memory.
    pub fn memory(self) -> Memory {
        let figures = String::from_utf8(self.read("smaps_rollup")).unwrap();
        let kibibytes = |name: &str| -> u64 {
            let line = figures.lines().find_map(|line| line.strip_prefix(name));
            let figure = line.unwrap().trim().strip_suffix(" kB").unwrap();
            figure.parse().unwrap()
        };
        Memory {
            resident: 1024 * kibibytes("Rss:"),
            proportional: 1024 * kibibytes("Pss:"),
        }
    }

    /// What it sees mounted.
    pub fn mounts(self) -> Vec<Mount> {
        let table = String::from_utf8(self.read("mountinfo")).unwrap();
        let mounts = table.lines().map(|line| {
            // Before the sixth field, none can hold a blank.
            let mut fields = line.split(' ').skip(4);
            Mount {
                at: fields.next().unwrap().to_owned(),
                options: fields.next().unwrap().to_owned(),
            }
        });
        mounts.collect()
    }

    /// Its cgroups, as `/proc/PID/cgroup` has them; empty where it is gone.
    pub fn cgroups(self) -> String {
        String::from_utf8_lossy(&self.read("cgroup")).into_owned()
    }

    /// Its children, of which a server has many.
    pub fn children(self) -> Vec<Self> {
        let parent = self.0.to_string();
        let mut found = Self::all();
        found.retain(|process| process.status_line("PPid:").as_deref() == Some(&parent));
        found
    }

    /// It, and everything below it.
    pub fn tree(self) -> Vec<Self> {
        let parents: Vec<_> = Self::all()
            .into_iter()
            .filter_map(|process| Some((process, process.status_line("PPid:")?)))
            .collect();
        let mut tree = vec![self];
        let mut next = 0;
        while let Some(parent) = tree.get(next).map(|process| process.0.to_string()) {
            let children = parents.iter().filter(|(_, above)| *above == parent);
            tree.extend(children.map(|(process, _)| *process));
            next += 1;
        }
        tree
    }

    /// Sends it a signal; one that is gone is left in peace.
    pub fn signal(self, signal: Signal) {
        let _gone = kill(Pid::from_raw(self.0), signal);
    }

    /// SIGKILL; returns once it is gone, with the moments just before and after.
    pub async fn killed(self) -> (Instant, Instant) {
        let pid = rustix::process::Pid::from_raw(self.0).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let from = Instant::now();
        self.signal(Signal::SIGKILL);
        // Readable once it has ended, its descriptors being closed.
        let end = move || poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
        tokio::task::spawn_blocking(end).await.unwrap().unwrap();
        (from, Instant::now())
    }

    /// Its arguments and its environment.
    fn words(self) -> Vec<u8> {
        [self.arguments(), self.environment()].concat()
    }

    fn read(self, file: &str) -> Vec<u8> {
        // It may have ended in the meantime.
        fs::read(self.path(file)).unwrap_or_default()
    }
}

fn mention(words: &[u8], folder: &Path) -> bool {
    let folder = folder.to_str().unwrap().as_bytes();
    words.windows(folder.len()).any(|part| part == folder)
}

/// What stands after a word at the beginning of a line.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines();
    lines
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}
