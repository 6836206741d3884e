//! The little that a row may put between braces: names, and texts in quotes.

use crate::diagnostic::{Diagnostic, Place};

/// Checks that `text`, which stands at `place`, holds nothing to render but names.
pub(super) fn check(text: &str, place: &Place) -> Result<(), Diagnostic> {
    let mut rest = text;
    while let Some(at) = rest.find(['{']) {
        rest = &rest[at + 1..];
        let Some(inner) = rest.strip_prefix('{') else {
            if rest.starts_with(['%', '#']) {
                return Err(not_plain(place));
            }
            continue;
        };
        let (expression, after) = inner.split_once("}}").ok_or_else(|| not_plain(place))?;
        if !is_plain(expression.trim_matches('-').trim()) {
            return Err(not_plain(place));
        }
        rest = after;
    }
    Ok(())
}

/// `site.slug`, `files["x"]`, `site.hosts[0]`, or `'{{'`.
fn is_plain(expression: &str) -> bool {
    if let Some(literal) = quoted(expression) {
        return literal.len() <= 3;
    }
    let name = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']' | '"' | '\'')
    };
    expression.starts_with(|c: char| c.is_ascii_alphabetic())
        && expression.chars().all(name)
        // A hyphen is only part of a file's name.
        && (expression.contains('[') || !expression.contains('-'))
}

fn quoted(expression: &str) -> Option<&str> {
    ['\'', '"'].iter().find_map(|quote| {
        let inner = expression.strip_prefix(*quote)?.strip_suffix(*quote)?;
        (!inner.contains(*quote)).then_some(inner)
    })
}

fn not_plain(place: &Place) -> Diagnostic {
    Diagnostic::new(
        place.clone(),
        "in a row only names can stand between braces, as in {{ site.slug }}",
    )
    .with_help("two braces themselves are written {{ '{{' }}; expressions are for templates")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;

    fn check_text(text: &str, expected: bool) {
        let place = Source::new("x", text).place(0..text.len());
        assert_eq!(check(text, &place).is_ok(), expected, "{text:?}");
    }

    #[test]
    fn names_pass_and_expressions_don_t() {
        for good in [
            "",
            "{",
            "{}",
            "${HOME}",
            "%({x}i)s",
            "a {{ site.slug }} b {{site.id}}",
            "{{- site.slug -}}",
            "{{ files[\"uwsgi-1.ini\"] }}",
            "{{ site.hosts[0] }}",
            "{{ '{{' }}",
        ] {
            check_text(good, true);
        }
        for bad in [
            "{{ 'x' * 100000000 }}",
            "{{ a ~ a }}",
            "{{ a - b }}",
            "{{ a | upper }}",
            "{{ range(9) }}",
            "{% for x in y %}",
            "{# note",
            "{{ site.slug",
            "{{}}",
            "{{{ site.slug }}}",
            "{{ 'abcdef' }}",
        ] {
            check_text(bad, false);
        }
    }
}
