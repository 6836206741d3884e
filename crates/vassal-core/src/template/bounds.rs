//! Bounds of `[limits]` that are neither a plain size nor a plain number.

use super::kind::{Written, bytes};
use crate::diagnostic::Diagnostic;

/// The most that `limits.cpu_max` takes: a thousand cores.
const MAX_PERCENT: u32 = 100_000;

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
