//! Bounds that are neither a plain size nor a plain number.

use super::kind::{Written, bytes, count};
use crate::diagnostic::Diagnostic;

/// The most that `limits.cpu_max` takes: a thousand cores.
const MAX_PERCENT: u32 = 100_000;
/// The most that `instances.max_surge` takes: as many as there may be instances.
pub(super) const MAX_SURGE: u32 = 1000;

/// A size, or `max` for none: without swap, which `"0"` asks for, is not the same as unbounded.
pub(super) fn swap(written: &Written<'_>) -> Result<Option<u64>, Diagnostic> {
    match written.value.as_str() {
        Some("max") => Ok(None),
        Some(_) | None => bytes(written).map(Some),
    }
}

/// `"150%"` of one core, or `"0"`.
pub(super) fn percent(written: &Written<'_>) -> Result<u32, Diagnostic> {
    let text = written.text("a percentage of one core, as in \"150%\",")?;
    let digits = match text.trim() {
        "0" => return Ok(0),
        text => text.strip_suffix('%').unwrap_or_default().trim_end(),
    };
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.parse().ok().filter(|_| is_number);
    number
        .filter(|percent| *percent <= MAX_PERCENT)
        .ok_or_else(|| {
            let title = format!(
                "`{}` is no whole percentage from 0% to {MAX_PERCENT}%",
                text.escape_debug()
            );
            written
                .wrong(title)
                .with_help("100% is one core; two and a half are \"250%\"")
        })
}

/// At least 1: a successor that had to wait for the end of its predecessor would leave nobody to
/// answer, and nothing to fall back on where it fails.
pub(super) fn surge(written: &Written<'_>) -> Result<u32, Diagnostic> {
    let integer = written.value.as_integer();
    if integer.is_some_and(|integer| integer.as_str() == "0") {
        let title =
            "`max_surge` can't be 0: an instance is replaced by one that is ready beside it";
        let help = "1 replaces one instance at a time";
        return Err(written.wrong(title).with_help(help));
    }
    count(written, &(1..=MAX_SURGE))
}
