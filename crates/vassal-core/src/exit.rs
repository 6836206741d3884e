//! How a process ended, in the exact terms of the kernel. What follows from it is for `Lifecycle`.

use std::fmt;

/// How the main process of an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExitReason {
    /// It ended itself.
    Exited {
        /// Its status; 0 is success.
        status: i32,
    },
    /// A signal ended it.
    Killed {
        /// The signal's number.
        signal: i32,
        /// The kernel wrote a core file.
        core_dumped: bool,
    },
    /// It ended, and nobody can say how: the kernel tells a parent alone, and this process was
    /// started by an emperor before.
    Unknown,
    /// The kernel killed it for want of memory.
    OutOfMemory {
        /// Its own bound was reached; else the machine had none left.
        at_its_limit: bool,
    },
}

impl ExitReason {
    /// Whether it ended of its own will and without complaint.
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited { status: 0 })
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { status } => write!(f, "exited with status {status}"),
            Self::Killed {
                signal,
                core_dumped,
            } => {
                match signal_name(*signal) {
                    Some(name) => write!(f, "was killed by {name}")?,
                    None => write!(f, "was killed by signal {signal}")?,
                }
                if *core_dumped {
                    f.write_str(" (core dumped)")?;
                }
                Ok(())
            }
            Self::Unknown => f.write_str("ended with an unknown exit status"),
            Self::OutOfMemory { at_its_limit: true } => {
                f.write_str("was killed by the kernel: out of memory, at its limits.memory_max")
            }
            Self::OutOfMemory {
                at_its_limit: false,
            } => f.write_str("was killed by the kernel: the machine was out of memory"),
        }
    }
}

/// The signals that end processes in practice, with their numbers on Linux.
fn signal_name(signal: i32) -> Option<&'static str> {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        _ => return None,
    };
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_told_in_the_words_of_the_kernel() {
        let killed = |signal, core_dumped| ExitReason::Killed {
            signal,
            core_dumped,
        };
        for (reason, words) in [
            (ExitReason::Exited { status: 1 }, "exited with status 1"),
            (killed(9, false), "was killed by SIGKILL"),
            (killed(11, true), "was killed by SIGSEGV (core dumped)"),
            (killed(40, false), "was killed by signal 40"),
            (ExitReason::Unknown, "ended with an unknown exit status"),
            (
                ExitReason::OutOfMemory { at_its_limit: true },
                "was killed by the kernel: out of memory, at its limits.memory_max",
            ),
        ] {
            assert_eq!(reason.to_string(), words);
        }
    }
}
