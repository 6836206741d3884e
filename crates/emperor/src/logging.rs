//! The daemon's own log: to standard error, in the form that its reader wants.
//!
//! `EMPEROR_LOG` filters it (`info`, `emperor=debug,site_registry=trace`).

use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Compact, Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The variable that filters the log.
pub(crate) const VARIABLE: &str = "EMPEROR_LOG";

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogStyle {
    /// What suits standard error: a terminal, the journal, a file.
    Fitting,
    /// One line a record.
    Compact,
    /// One JSON object a record.
    Json,
}

/// Sends every record of this process to standard error. `default` is the least important level that
/// is written where the variable doesn't say otherwise.
pub(crate) fn start(style: LogStyle, default: Level) {
    let level = tracing::level_filters::LevelFilter::from_level(default);
    let filter = EnvFilter::builder()
        .with_default_directive(level.into())
        .with_env_var(VARIABLE)
        .from_env_lossy();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match style {
        LogStyle::Json => log.json().flatten_event(true).init(),
        LogStyle::Fitting if journal() => log.event_format(Journal::new()).init(),
        LogStyle::Fitting if std::io::stderr().is_terminal() => {
            log.event_format(terminal()).with_ansi(colours()).init();
        }
        LogStyle::Fitting | LogStyle::Compact => log.compact().with_ansi(false).init(),
    }
    std::panic::set_hook(Box::new(report_panic));
}

/// A panic is a defect: it goes where the operator looks for what is wrong, with its place.
fn report_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let backtrace = std::backtrace::Backtrace::capture();
    tracing::error!(
        cause = message,
        place,
        %backtrace,
        "a defect of the emperor; please report it with what the log says before"
    );
}

fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn terminal() -> Format<Full> {
    Format::default().with_target(false)
}

/// Whether standard error leads to systemd's journal.
fn journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && !std::io::stderr().is_terminal()
}

/// Records with a priority in front (`sd-daemon(3)`) and no time, which the journal has by itself.
#[derive(Debug)]
struct Journal {
    inner: Format<Compact, ()>,
}

impl Journal {
    fn new() -> Self {
        Self {
            inner: Format::default()
                .compact()
                .without_time()
                .with_level(false)
                .with_ansi(false),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Journal
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
        self.inner.format_event(context, writer, event)
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
    fn the_journal_gets_priorities_and_no_time() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt()
            .event_format(Journal::new())
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            tracing::warn!(site = 7, "it did not start");
            tracing::info!("all is well");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("<4>emperor::logging"), "{text}");
        assert!(
            text.contains("it did not start") && text.contains("site=7"),
            "{text}"
        );
        assert!(text.lines().nth(1).unwrap().starts_with("<6>"), "{text}");
    }
}
