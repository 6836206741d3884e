//! What a quickstart says while it works: a line per step, with the time it took.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use crate::cli::output;
use crate::cli::text::Tone;

/// Where lines go, and in which manner.
#[derive(Debug)]
pub(super) struct Progress {
    manner: Manner,
}

/// How a step looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// A line that is replaced when the step is done.
    Terminal,
    /// One line when it begins, one when it is done.
    Plain,
}

/// A step that has begun.
#[derive(Debug)]
pub(super) struct Step {
    manner: Manner,
    began: Instant,
    words: String,
}

impl Progress {
    /// Onto standard output.
    pub(super) fn new() -> Self {
        let manner = if io::stdout().is_terminal() {
            Manner::Terminal
        } else {
            Manner::Plain
        };
        Self { manner }
    }

    /// Something that is only to be said.
    pub(super) fn say(&self, words: &str) -> io::Result<()> {
        output::print(&format!("{}{words}\n", self.indent()))
    }

    /// A step begins.
    pub(super) fn begin(&self, words: &str) -> io::Result<Step> {
        let step = Step {
            manner: self.manner,
            began: Instant::now(),
            words: words.to_owned(),
        };
        match step.manner {
            Manner::Terminal => step.pending()?,
            Manner::Plain => output::print(&format!("{words} ...\n"))?,
        }
        Ok(step)
    }

    /// The step that was begun will not be done; who says why begins on a line of its own.
    pub(super) fn break_off(&self) -> io::Result<()> {
        erase(self.manner)
    }

    fn indent(&self) -> &'static str {
        match self.manner {
            Manner::Terminal => "  ",
            Manner::Plain => "",
        }
    }
}

impl Step {
    /// It is done.
    pub(super) fn done(&self, words: &str) -> io::Result<()> {
        let took = seconds(self.began.elapsed());
        match self.manner {
            Manner::Terminal => {
                let mark = Tone::Good.paint("✓");
                output::print(&format!(
                    "\r\x1b[K{mark} {words} {}\n",
                    Tone::Faint.paint(&took)
                ))
            }
            Manner::Plain => output::print(&format!("{words} {took}\n")),
        }
    }

    /// A part of it is done, and it goes on.
    pub(super) fn partly_done(&self, words: &str) -> io::Result<()> {
        self.done(words)?;
        self.pending()
    }

    /// A part of it can't be done, and it goes on.
    pub(super) fn partly_failed(&self, words: &str) -> io::Result<()> {
        self.failed(words)?;
        self.pending()
    }

    /// Every part was told.
    pub(super) fn end(&self) -> io::Result<()> {
        erase(self.manner)
    }

    fn pending(&self) -> io::Result<()> {
        match self.manner {
            Manner::Terminal => output::print(&format!("  {} …", self.words)),
            Manner::Plain => Ok(()),
        }
    }

    /// It can't be done.
    pub(super) fn failed(&self, words: &str) -> io::Result<()> {
        match self.manner {
            Manner::Terminal => {
                output::print(&format!("\r\x1b[K{} {words}\n", Tone::Bad.paint("✗")))
            }
            Manner::Plain => output::print(&format!("{words}\n")),
        }
    }
}

/// Takes away the line of a step that is not done.
fn erase(manner: Manner) -> io::Result<()> {
    match manner {
        Manner::Terminal => output::print("\r\x1b[K"),
        Manner::Plain => Ok(()),
    }
}

fn seconds(took: Duration) -> String {
    format!("({:.2} s)", took.as_secs_f64())
}
