//! Why things happen to instances, as values: they feed status, log and tests alike.

use std::fmt;
use std::time::Duration;

use crate::ExitReason;
use crate::units::Humane;

/// How many of the last lines of a worker's standard error are repeated in a status.
const SHOWN_LINES: usize = 3;

/// Whether trying the same again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// It may: a limit was reached, memory was short, a file was being replaced.
    MayPass,
    /// Not before somebody changes something: the program doesn't exist.
    Lasting,
}

/// Why an instance did not become ready, or did not stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// No process came to be.
    NotSpawned {
        /// The step that failed and what the kernel said.
        error: String,
        /// Whether another try may help.
        prospect: Prospect,
    },
    /// Its process ended before it was ready.
    EndedEarly {
        /// How.
        reason: ExitReason,
        /// The end of its standard error.
        stderr: Vec<String>,
    },
    /// It runs and was not ready in time.
    NotReady {
        /// What the last probe found.
        found: String,
        /// The end of its standard error.
        stderr: Vec<String>,
    },
    /// It was ready, and its process ended without having been told to.
    Crashed {
        /// How.
        reason: ExitReason,
        /// How long it had been ready.
        after: Duration,
        /// The end of its standard error.
        stderr: Vec<String>,
    },
    /// It was ready, and no longer answers as it should.
    Unwell {
        /// What was found.
        found: String,
        /// How long it had been ready.
        after: Duration,
    },
    /// What an emperor before this one met.
    Earlier {
        /// In its words.
        told: String,
        /// Whether another try may help.
        prospect: Prospect,
    },
}

impl Failure {
    /// The same end of a process that had been ready for that long.
    pub(super) fn after_service(self, after: Duration) -> Self {
        match self {
            Self::EndedEarly { reason, stderr } => Self::Crashed {
                reason,
                after,
                stderr,
            },
            other @ (Self::NotSpawned { .. }
            | Self::NotReady { .. }
            | Self::Crashed { .. }
            | Self::Unwell { .. }
            | Self::Earlier { .. }) => other,
        }
    }

    /// Whether trying the same again may help.
    pub const fn prospect(&self) -> Prospect {
        match self {
            Self::NotSpawned { prospect, .. } | Self::Earlier { prospect, .. } => *prospect,
            Self::EndedEarly { .. }
            | Self::NotReady { .. }
            | Self::Crashed { .. }
            | Self::Unwell { .. } => Prospect::MayPass,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSpawned { error, .. } => f.write_str(error),
            Self::Earlier { told, .. } => f.write_str(told),
            Self::EndedEarly { reason, stderr } => {
                write!(f, "its process {reason} before it was ready")?;
                write_lines(f, stderr)
            }
            Self::NotReady { found, stderr } => {
                f.write_str(found)?;
                write_lines(f, stderr)
            }
            Self::Unwell { found, after } => {
                let after = Humane(*after);
                write!(f, "it is unwell after {after} of service: {found}")
            }
            Self::Crashed {
                reason,
                after,
                stderr,
            } => {
                let after = Humane(*after);
                write!(f, "its process {reason} after {after} of service")?;
                write_lines(f, stderr)
            }
        }
    }
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[String]) -> fmt::Result {
    let from = lines.len().saturating_sub(SHOWN_LINES);
    for (index, line) in lines[from..].iter().enumerate() {
        f.write_str(if index == 0 { "; it said: " } else { " | " })?;
        f.write_str(line)?;
    }
    Ok(())
}

/// Why an instance is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Another revision, or another instance of this one, has taken its place.
    Replaced,
    /// Its revision was superseded before it was ready.
    Superseded,
    /// It did not become ready.
    NotReady,
    /// There are more instances than are wanted.
    Surplus,
    /// It is unwell, and another one serves.
    Unwell,
    /// The site has no requests.
    Idle,
    /// The site is disabled.
    Disabled,
    /// A pool answers for the site.
    Pooled,
    /// The row is gone.
    Removed,
    /// The row can't be run, and this revision never served.
    Rejected,
    /// The emperor ends.
    Shutdown,
    /// An emperor before this one had decided so.
    Earlier,
}

impl StopReason {
    /// Its name in JSON and in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Superseded => "superseded",
            Self::NotReady => "not-ready",
            Self::Surplus => "surplus",
            Self::Unwell => "unwell",
            Self::Idle => "idle",
            Self::Disabled => "disabled",
            Self::Pooled => "pooled",
            Self::Removed => "removed",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
            Self::Earlier => "earlier",
        }
    }

    /// Whether nothing is lost by going on until the router knows that it ends. Who waits for its
    /// end for another reason waits for `stop.grace`, router or not.
    pub(super) const fn can_wait(self) -> bool {
        match self {
            Self::Idle | Self::Surplus => true,
            Self::Replaced
            | Self::Superseded
            | Self::NotReady
            | Self::Unwell
            | Self::Disabled
            | Self::Pooled
            | Self::Removed
            | Self::Rejected
            | Self::Shutdown
            | Self::Earlier => false,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Replaced => "replaced",
            Self::Superseded => "superseded before it was ready",
            Self::NotReady => "did not become ready",
            Self::Surplus => "more than are wanted",
            Self::Unwell => "it is unwell",
            Self::Idle => "the site has no requests",
            Self::Disabled => "the site is disabled",
            Self::Pooled => "a pool answers for the site",
            Self::Removed => "the row is gone",
            Self::Rejected => "the row can't be run",
            Self::Shutdown => "the emperor ends",
            Self::Earlier => "an earlier emperor had decided so",
        })
    }
}
