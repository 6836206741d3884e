//! The daemon's own log: to standard error, in the form that its reader wants.
//!
//! `EMPEROR_LOG` filters it (`info`, `emperor=debug,site_registry=trace`).

use std::io::IsTerminal as _;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Full};
use wire::log::Prioritised;

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
        LogStyle::Fitting if journal() => log.event_format(Prioritised::default()).init(),
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
