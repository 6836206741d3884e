//! How a diagnostic looks: plain text, one snippet.

use std::borrow::Cow;
use std::iter;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str};

use super::Diagnostic;

type Range = std::ops::Range<usize>;

/// Characters of a title, a label or a help that are shown: some quote what stands in the text.
const LONGEST: usize = 400;
/// Columns before a long line is cut around its mark.
const WIDTH: usize = 120;

pub(super) fn render(diagnostic: &Diagnostic) -> String {
    let source = diagnostic.place.source();
    let span = diagnostic.place.span();
    // The lines of the mark alone: a text may have a hundred thousand others.
    let lines = lines_around(source.text(), &span);
    let mut mark = AnnotationKind::Primary.span(span.start - lines.start..span.end - lines.start);
    let label = words(&diagnostic.label);
    if !label.is_empty() {
        mark = mark.label(label);
    }
    let snippet = Snippet::source(without_passwords(&source.text()[lines]))
        .line_start(diagnostic.position().line)
        .path(source.origin())
        .annotation(mark);
    let mut group = Level::ERROR
        .primary_title(words(&diagnostic.title))
        .element(snippet);
    if !diagnostic.help.is_empty() {
        group = group.element(Level::HELP.message(words(&diagnostic.help)));
    }
    let renderer = Renderer::plain()
        .decor_style(DecorStyle::Ascii)
        .term_width(WIDTH);
    renderer.render(&[group])
}

/// What of a cause goes into one line of a log: what is wrong, and where. The marks of a diagnostic
/// are for a page.
pub fn headline(cause: &str) -> String {
    let mut lines = cause.lines();
    let first = lines.next().unwrap_or_default();
    let place = lines.find_map(|line| line.trim_start().strip_prefix("--> "));
    match place {
        Some(place) => format!("{first} ({place})"),
        None => first.to_owned(),
    }
}

/// The whole lines that a span lies on.
fn lines_around(text: &str, span: &Range) -> Range {
    let start = text[..span.start]
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let end = text[span.end..]
        .find('\n')
        .map_or(text.len(), |newline| span.end + newline);
    start..end
}

/// Words of ours, with whatever they quote made harmless and short.
fn words(text: &str) -> String {
    let text = normalize_untrusted_str(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text[..end].chars().chain(iter::once('…')).collect(),
        None => text,
    }
}

/// The text with the password of each URL and each `password=` starred, letter by letter so that
/// every span still holds: the line of a mistake is shown to more people than may read the file.
fn without_passwords(text: &str) -> Cow<'_, str> {
    let secrets: Vec<_> = passwords_of_urls(text)
        .chain(passwords_named(text))
        .collect();
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut bytes = text.as_bytes().to_vec();
    for secret in secrets {
        bytes[secret].fill(b'*');
    }
    // Each range ends at ASCII characters, so the rest is still UTF-8.
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// `scheme://user:PASSWORD@host`
fn passwords_of_urls(text: &str) -> impl Iterator<Item = Range> {
    text.match_indices("://").filter_map(|(at, separator)| {
        let start = at + separator.len();
        let end = start + text[start..].find(ends_value).unwrap_or(text.len() - start);
        let user_info = &text[start..start + text[start..end].rfind('@')?];
        let colon = user_info.find(':')?;
        Some(start + colon + 1..start + user_info.len())
    })
}

/// `password=PASSWORD`
fn passwords_named(text: &str) -> impl Iterator<Item = Range> {
    text.match_indices("password=").map(|(at, name)| {
        let start = at + name.len();
        let ends = |c| ends_value(c) || c == '&';
        start..start + text[start..].find(ends).unwrap_or(text.len() - start)
    })
}

fn ends_value(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '"' | '\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(without_passwords(text), expected);
    }

    #[test]
    fn passwords_are_starred_and_nothing_else() {
        check("http://a.example/x@y:z", "http://a.example/x@y:z");
        check("pg://u:p@ss:w@h/d x@y", "pg://u:******@h/d x@y");
        check("pg://u@h", "pg://u@h");
        check("'host=a password=bé' c", "'host=a password=***' c");
        check("?password=b&c=d", "?password=*&c=d");
        check("password = 'x'", "password = 'x'");
    }
}
