//! The lines of a program of our own, told on in the emperor's log with the level they have.
//!
//! It writes `<4>fastrouter::link: words` (`sd-daemon(3)`); whatever else comes is no record of its
//! own making, such as the last words of a panic.

use tracing::{Level, debug, error, info, warn};

use super::logbook::Stream;

/// Tells one line on.
pub(super) fn tell(program: &'static str, stream: Stream, line: &str) {
    let Record {
        level,
        module,
        words,
    } = Record::of(line);
    let stream = stream.as_str();
    // A target has to be known when this is built, and there is one such program.
    match level {
        Some(Level::ERROR) => error!(target: "fastrouter", module, "{words}"),
        Some(Level::WARN) => warn!(target: "fastrouter", module, "{words}"),
        Some(Level::INFO) => info!(target: "fastrouter", module, "{words}"),
        Some(Level::DEBUG | Level::TRACE) => debug!(target: "fastrouter", module, "{words}"),
        None => warn!(target: "fastrouter", program, stream, "{words}"),
    }
}

/// A line, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    /// `None`: it is no record.
    level: Option<Level>,
    module: &'a str,
    words: &'a str,
}

impl<'a> Record<'a> {
    fn of(line: &'a str) -> Self {
        Self::parsed(line).unwrap_or(Self {
            level: None,
            module: "",
            words: line,
        })
    }

    fn parsed(line: &'a str) -> Option<Self> {
        let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
        let level = match priority {
            "0" | "1" | "2" | "3" => Level::ERROR,
            "4" => Level::WARN,
            "5" | "6" => Level::INFO,
            "7" => Level::DEBUG,
            _ => return None,
        };
        let (module, words) = rest.split_once(": ").unwrap_or(("", rest));
        Some(Self {
            level: Some(level),
            module,
            words,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_its_level_and_its_module_and_other_lines_are_left_alone() {
        let check = |line, level, module, words| {
            let expected = Record {
                level,
                module,
                words,
            };
            assert_eq!(Record::of(line), expected);
        };
        let warn = Some(Level::WARN);
        check("<4>a::b: it: broke k=1", warn, "a::b", "it: broke k=1");
        check("<6>alone", Some(Level::INFO), "", "alone");
        let panic = "thread 'main' panicked at src/a.rs:1:1:";
        check(panic, None, "", panic);
        check("<9>what", None, "", "<9>what");
        check("", None, "", "");
    }
}
