//! Values of `[cache]` that no other table has.

use super::kind::{Written, unknown_word};
use super::words::Word;
use crate::diagnostic::Diagnostic;
use crate::settings::CacheMode;

/// Regular expressions over the path.
pub(super) fn patterns(written: &Written<'_>) -> Result<Vec<String>, Diagnostic> {
    let items = written.list("a list of regular expressions")?;
    items.iter().map(pattern).collect()
}

fn pattern(written: &Written<'_>) -> Result<String, Diagnostic> {
    let text = written.text("a regular expression")?;
    match regex_syntax::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(written
            .wrong("this is no regular expression")
            .with_help(last_line(&error.to_string()))),
    }
}

/// The cause, without the drawing above it.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Names of cookies.
pub(super) fn cookies(written: &Written<'_>) -> Result<Vec<String>, Diagnostic> {
    names(written, "a list of cookies' names", is_cookie)
}

/// Names of cookies, each of which may stand for all that begin so.
pub(super) fn cookie_names(written: &Written<'_>) -> Result<Vec<String>, Diagnostic> {
    let check = |name: &str| is_cookie(name).and_then(|()| star_is_last(name));
    names(written, "a list of cookies' names", check)
}

/// Names of query parameters, each of which may stand for all that begin so.
pub(super) fn parameters(written: &Written<'_>) -> Result<Vec<String>, Diagnostic> {
    names(written, "a list of parameters' names", star_is_last)
}

fn is_cookie(name: &str) -> Result<(), &'static str> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let title = "a cookie's name has letters, digits and none of `()<>@,;:\\\"/[]?={}`";
    name.bytes().all(is_token).then_some(()).ok_or(title)
}

fn star_is_last(name: &str) -> Result<(), &'static str> {
    let before = name.strip_suffix('*').unwrap_or(name);
    let title = "in such a name a `*` can stand at the end alone";
    (!before.contains('*')).then_some(()).ok_or(title)
}

fn names(
    written: &Written<'_>,
    due: &str,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Result<Vec<String>, Diagnostic> {
    let items = written.list(due)?;
    let names = items.iter().map(|item| {
        let name = item.text("a name")?;
        if name.is_empty() {
            return Err(item.wrong("a name has at least one letter"));
        }
        check(name).map_err(|title| item.wrong(title))?;
        Ok(name.to_owned())
    });
    names.collect()
}

/// `[[cache.path]]`: a pattern, and the mode of what it matches.
pub(super) fn paths(written: &Written<'_>) -> Result<Vec<(String, CacheMode)>, Diagnostic> {
    let items = written.list("tables [[cache.path]]")?;
    items.iter().map(path).collect()
}

fn path(written: &Written<'_>) -> Result<(String, CacheMode), Diagnostic> {
    const KEYS: [&str; 2] = ["match", "mode"];
    let table = written.value.as_table();
    let table = table.ok_or_else(|| written.wrong_type("a table with `match` and `mode`"))?;
    let source = written.origin.place.source();
    for (name, _) in table {
        let text = name.get_ref().as_ref();
        if !KEYS.contains(&text) {
            let place = source.place(name.span());
            return Err(Diagnostic::unknown_name(place, "key", text, KEYS));
        }
    }
    let value = |key: &str| {
        let value = table
            .get(key)
            .map(|value| Written::new(value, &written.origin));
        value.ok_or_else(|| written.wrong(format!("`{key}` is missing here")))
    };
    let matched = pattern(&value("match")?)?;
    let mode = value("mode")?;
    let text = mode.text("a string")?;
    let mode = CacheMode::from_word(text)
        .ok_or_else(|| unknown_word::<CacheMode>(&mode.origin.place, text))?;
    Ok((matched, mode))
}
