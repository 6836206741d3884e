//! How a program writes its own log down where another program keeps it: one line a record, with its
//! priority in front (`sd-daemon(3)`) and no time, which the keeper adds.
//!
//! The journal reads it, and the emperor reads the fastrouter's so: `<4>fastrouter::link: words`.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::{Compact, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes records with their priority.
#[derive(Debug)]
pub struct Prioritised(Format<Compact, ()>);

impl Default for Prioritised {
    fn default() -> Self {
        let plain = Format::default().compact().without_time();
        Self(plain.with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Prioritised
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// A record, read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// How grave it is.
    pub level: Level,
    /// Who wrote it; empty where the line doesn't say.
    pub module: &'a str,
    /// What was written.
    pub words: &'a str,
}

impl<'a> Record<'a> {
    /// Takes `line` apart. `None` where it is no record, such as a line of a panic.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let (priority, rest) = line.strip_prefix('<')?.split_once('>')?;
        let level = level(priority)?;
        let (module, words) = rest.split_once(": ").unwrap_or(("", rest));
        Some(Self {
            level,
            module,
            words,
        })
    }
}

/// `syslog(3)`: error, warning, informational, debug.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

fn level(priority: &str) -> Option<Level> {
    match priority {
        "0" | "1" | "2" | "3" => Some(Level::ERROR),
        "4" => Some(Level::WARN),
        "5" | "6" => Some(Level::INFO),
        "7" => Some(Level::DEBUG),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt()
            .event_format(Prioritised::default())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(site = 7, "it refused");
            tracing::info!("all is well");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "<4>wire::log::tests: it refused site=7");
        assert_eq!(lines[1], "<6>wire::log::tests: all is well");
        let read = Record::parse(lines[0]).unwrap();
        assert_eq!(
            (read.level, read.module, read.words),
            (Level::WARN, "wire::log::tests", "it refused site=7")
        );
    }

    #[test]
    fn a_record_has_its_level_and_its_module_and_other_lines_are_none() {
        let check = |line, level, module, words| {
            let expected = Record {
                level,
                module,
                words,
            };
            assert_eq!(Record::parse(line), Some(expected), "{line}");
        };
        check(
            "<4>a::b: it: broke k=1",
            Level::WARN,
            "a::b",
            "it: broke k=1",
        );
        check("<6>alone", Level::INFO, "", "alone");
        for line in ["thread 'main' panicked at src/a.rs:1:1:", "<9>what", ""] {
            assert_eq!(Record::parse(line), None, "{line}");
        }
    }
}
