//! The lines of a program of our own, told on in the emperor's log with the level they have.

use tracing::{Level, debug, error, info, warn};
use wire::log::Record;

use super::logbook::Stream;

/// Tells one line on. What is no record of the program's own making, such as the last words of a
/// panic, is a warning.
pub(super) fn tell(program: &'static str, stream: Stream, line: &str) {
    let Some(Record {
        level,
        module,
        words,
    }) = Record::parse(line)
    else {
        let stream = stream.as_str();
        warn!(target: "fastrouter", program, stream, "{line}");
        return;
    };
    // A target has to be known when this is built, and there is one such program.
    match level {
        Level::ERROR => error!(target: "fastrouter", module, "{words}"),
        Level::WARN => warn!(target: "fastrouter", module, "{words}"),
        Level::INFO => info!(target: "fastrouter", module, "{words}"),
        Level::DEBUG | Level::TRACE => debug!(target: "fastrouter", module, "{words}"),
    }
}
