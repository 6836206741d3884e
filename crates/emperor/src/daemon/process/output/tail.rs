//! The last lines of a stream, kept in memory to explain a failure.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many lines: a Python traceback with its cause fits.
const LINES: usize = 50;
/// How much of each, so that 50 long lines don't cost a megabyte per instance.
const LINE_BYTES: usize = 1024;

/// The last lines of one instance's standard error.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<VecDeque<String>>);

impl Tail {
    pub(super) fn push(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line[..line.floor_char_boundary(LINE_BYTES)].to_owned());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_lines_are_kept_and_long_ones_are_cut() {
        let tail = Tail::default();
        for n in 0..LINES + 5 {
            tail.push(&format!("line {n}"));
        }
        tail.push(&"é".repeat(LINE_BYTES));
        let lines = tail.lines();
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[0], "line 6");
        assert_eq!(lines[LINES - 1].len(), LINE_BYTES);
    }
}
