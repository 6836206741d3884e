//! How much memory is left, and how much of it is to stay free.

use std::fmt;
use std::path::PathBuf;

use crate::config::rollout::Reserve;

/// Tells how much memory is left.
#[derive(Debug)]
pub(super) struct Gauge {
    file: PathBuf,
    reserve: Reserve,
}

/// Too little memory is left for another instance beside the one it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shortage {
    /// What would be left, in bytes.
    pub(crate) left: u64,
    /// What must be, in bytes.
    pub(crate) reserve: u64,
}

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Memory {
    total: u64,
    available: u64,
    reserve: u64,
}

impl Gauge {
    pub(super) fn of_this_machine(reserve: Reserve) -> Self {
        Self::new("/proc/meminfo", reserve)
    }

    pub(super) fn new(file: impl Into<PathBuf>, reserve: Reserve) -> Self {
        Self {
            file: file.into(),
            reserve,
        }
    }

    /// `None`: it can't be told, or nothing has to stay free.
    pub(super) fn read(&self) -> Option<Memory> {
        if matches!(self.reserve, Reserve::Bytes(0) | Reserve::Percent(0)) {
            return None;
        }
        let text = std::fs::read_to_string(&self.file).ok()?;
        let total = field(&text, "MemTotal:")?;
        Some(Memory {
            total,
            available: field(&text, "MemAvailable:")?,
            reserve: self.reserve.of(total),
        })
    }
}

impl Memory {
    /// So much is left that no single instance can matter: what it takes need not be measured, which
    /// means reading figures of every process of the machine.
    pub(super) fn is_plenty(self, promised: u64) -> bool {
        let left = self.available.saturating_sub(promised);
        left >= self.total / 2 && left >= self.reserve
    }

    /// Why so much more may not be taken, if it may not.
    pub(super) fn shortage(self, promised: u64) -> Option<Shortage> {
        let left = self.available.saturating_sub(promised);
        (left < self.reserve).then_some(Shortage {
            left,
            reserve: self.reserve,
        })
    }
}

/// The value of a line such as `MemTotal:  24683616 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib * 1024)
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (left, reserve) = (Rounded(self.left), Rounded(self.reserve));
        write!(
            f,
            "{left} of memory would be left, {reserve} must stay free (rollout.memory_reserve)"
        )
    }
}

/// Bytes as a person says them.
struct Rounded(u64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0 >> 20;
        if mib < 1024 {
            return write!(f, "{mib} MiB");
        }
        let tenths = mib * 10 / 1024;
        write!(f, "{}.{} GiB", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_figures_are_understood() {
        let text = "MemTotal:       24683616 kB\nMemFree:  1 kB\nMemAvailable:   22953144 kB\n";
        assert_eq!(field(text, "MemTotal:"), Some(24_683_616 * 1024));
        assert_eq!(field(text, "MemAvailable:"), Some(22_953_144 * 1024));
        assert_eq!(field(text, "SwapTotal:"), None);
        let machine = Gauge::of_this_machine(Reserve::Percent(10)).read().unwrap();
        assert!(machine.available <= machine.total && machine.available > 0);
    }

    #[test]
    fn a_shortage_says_what_would_be_left_and_what_must_be() {
        let memory = Memory {
            total: 20 << 30,
            available: 4 << 30,
            reserve: 2 << 30,
        };
        assert!(!memory.is_plenty(0));
        assert_eq!(memory.shortage(2 << 30), None);
        let shortage = memory.shortage((4 << 30) - (300 << 20)).unwrap();
        assert_eq!(
            shortage.to_string(),
            "300 MiB of memory would be left, 2.0 GiB must stay free (rollout.memory_reserve)"
        );
    }
}
