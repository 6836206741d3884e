//! What a command tells while it works: one line per step, on standard error, so that standard
//! output stays free for results.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

/// Announces what is done next.
pub(crate) fn say(text: &str) {
    line(&format!("==> {text}"));
}

/// Tells that a step is over, and how long it took.
pub(crate) fn finished(step: &str, took: Duration) {
    line(&format!("==> {step}: {:.1} s", took.as_secs_f64()));
}

/// Tells why the command ends early, with every cause below the first line.
pub(crate) fn failed(error: &dyn Error) {
    line(&format!("error: {error}"));
    let mut cause = error.source();
    while let Some(inner) = cause {
        line(&format!("  caused by: {inner}"));
        cause = inner.source();
    }
}

fn line(text: &str) {
    // A closed standard error is no reason to stop working.
    let _closed = writeln!(std::io::stderr(), "{text}");
}
