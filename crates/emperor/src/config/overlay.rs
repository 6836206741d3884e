//! Cuts an overlay table out of the configuration so that it can be read as a document of its own,
//! with every line and column still where it is in the file: what doesn't belong to the table
//! becomes blanks, and `[vassal.env]` becomes `       [env]`.
//!
//! It works on the parser's events and knows nothing of what an overlay may hold; `vassal-core`
//! does.

use std::ops::Range;

use thiserror::Error;
use toml_parser::parser::{Event, EventKind, parse_document};
use toml_parser::{ErrorSink, Source};

/// A table is written in a way that can't be cut out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum OverlayError {
    /// `vassal = { … }`.
    #[error("write this as a table of its own, headed by [{table}]")]
    Inline {
        /// The table.
        table: String,
        /// Its place.
        span: Range<usize>,
    },
    /// Its own keys stand behind a table below it, where they would become that table's.
    #[error("move this above the tables below [{table}]")]
    Order {
        /// The table.
        table: String,
        /// The key's place.
        span: Range<usize>,
    },
}

impl OverlayError {
    /// Where it is.
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Self::Inline { span, .. } | Self::Order { span, .. } => span.clone(),
        }
    }
}

/// The table at `path`, in place, without the keys in `left_out`; blank where there is none.
/// The document is valid TOML, or the result means nothing.
pub(super) fn cut_out(
    document: &str,
    path: &[&str],
    left_out: &[&str],
) -> Result<String, OverlayError> {
    let mut cut = Cut {
        path,
        left_out,
        kept: Vec::new(),
        opened: Vec::new(),
    };
    let mut header: Vec<Key> = Vec::new();
    for expression in expressions(document) {
        if expression.is_header {
            header.clone_from(&expression.keys);
            cut.header(&expression);
        } else {
            cut.key_value(&header, &expression)?;
        }
    }
    Ok(cut.apply(document))
}

/// A header, or a key with its value.
#[derive(Debug, Default)]
struct Expression {
    is_header: bool,
    keys: Vec<Key>,
    end: usize,
}

#[derive(Debug, Clone)]
struct Key {
    name: String,
    start: usize,
}

#[derive(Debug)]
struct Cut<'a> {
    path: &'a [&'a str],
    left_out: &'a [&'a str],
    /// What stays.
    kept: Vec<Range<usize>>,
    /// Where a `[` replaces what stands there: the shortened headers.
    opened: Vec<usize>,
}

impl Cut<'_> {
    fn header(&mut self, header: &Expression) {
        let Some(first) = self.below(&header.keys) else {
            return;
        };
        // At least the file's own `[` stands before the key.
        self.opened.push(first.start - 1);
        self.kept.push(first.start..header.end);
    }

    fn key_value(&mut self, header: &[Key], expression: &Expression) -> Result<(), OverlayError> {
        let keys: Vec<_> = header.iter().chain(&expression.keys).cloned().collect();
        let span = || expression.keys[0].start..expression.end;
        let table = || self.path.join(".");
        if self.is_path(&keys) {
            let (table, span) = (table(), span());
            return Err(OverlayError::Inline { table, span });
        }
        let Some(first) = self.below(&keys) else {
            return Ok(());
        };
        // Under a header of the overlay's own the whole line belongs there; otherwise the key
        // belongs to the overlay's top, without the part of it that leads there.
        if header.len() > self.path.len() {
            self.kept.push(expression.keys[0].start..expression.end);
            return Ok(());
        }
        if self.left_out.contains(&first.name.as_str()) {
            return Ok(());
        }
        if !self.opened.is_empty() {
            let (table, span) = (table(), span());
            return Err(OverlayError::Order { table, span });
        }
        self.kept.push(first.start..expression.end);
        Ok(())
    }

    /// The first key below the path, if the keys lead below it.
    fn below(&self, keys: &[Key]) -> Option<Key> {
        let leading = keys.get(..self.path.len())?;
        self.is_path(leading)
            .then(|| keys.get(self.path.len()).cloned())?
    }

    fn is_path(&self, keys: &[Key]) -> bool {
        keys.iter()
            .map(|key| key.name.as_str())
            .eq(self.path.iter().copied())
    }

    fn apply(self, document: &str) -> String {
        let mut bytes: Vec<u8> = document
            .bytes()
            .map(|byte| if byte == b'\n' { b'\n' } else { b' ' })
            .collect();
        for range in self.kept {
            bytes[range.clone()].copy_from_slice(&document.as_bytes()[range]);
        }
        for at in self.opened {
            bytes[at] = b'[';
        }
        // What is kept begins and ends where a token does, so no character was cut in two.
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn expressions(document: &str) -> Vec<Expression> {
    let source = Source::new(document);
    let tokens = source.lex().into_vec();
    let mut events = Vec::new();
    let mut ignored = ();
    parse_document(
        &tokens,
        &mut |event: Event| events.push(event),
        &mut ignored,
    );

    let (mut expressions, mut depth) = (Vec::new(), 0_usize);
    let mut current = Expression::default();
    let mut in_keys = true;
    for event in events {
        match event.kind() {
            EventKind::Newline if depth == 0 => {
                expressions.push(std::mem::take(&mut current));
                in_keys = true;
                continue;
            }
            EventKind::Newline | EventKind::Whitespace | EventKind::Comment => continue,
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => current.is_header = true,
            EventKind::SimpleKey if in_keys => current.keys.push(key(source, &event, &mut ignored)),
            EventKind::KeyValSep => in_keys = false,
            EventKind::ArrayOpen | EventKind::InlineTableOpen => depth += 1,
            EventKind::ArrayClose | EventKind::InlineTableClose => depth -= 1,
            EventKind::StdTableClose
            | EventKind::ArrayTableClose
            | EventKind::SimpleKey
            | EventKind::KeySep
            | EventKind::Scalar
            | EventKind::ValueSep
            | EventKind::Error => {}
        }
        current.end = event.span().end();
    }
    expressions.push(current);
    expressions.retain(|expression| !expression.keys.is_empty());
    expressions
}

fn key(source: Source<'_>, event: &Event, errors: &mut dyn ErrorSink) -> Key {
    let mut name = std::borrow::Cow::Borrowed("");
    if let Some(raw) = source.get(event) {
        raw.decode_key(&mut name, errors);
    }
    Key {
        name: name.into_owned(),
        start: event.span().start(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, path: &[&str], expected: &str) {
        let cut = cut_out(document, path, &["template"]).unwrap();
        assert_eq!(cut, expected, "{document}");
        assert_eq!(cut.len(), document.len(), "{document}");
    }

    #[test]
    fn a_table_keeps_its_place() {
        check(
            "node = 'ä'\n[vassal]\ntemplate = 'x'\nprotocol = 'http' # why\n[vassal.env]\nA = '''\n[x]\n'''\n[policy]\na = 1\n",
            &["vassal"],
            "           \n        \n              \nprotocol = 'http'      \n       [env]\nA = '''\n[x]\n'''\n        \n     \n",
        );
    }

    #[test]
    fn dotted_keys_are_shortened() {
        check(
            "vassal.env.A = 'b'\n[templates]\n\"gunicorn\".vars.workers = 2\nuwsgi.vars.x = 1\n",
            &["templates", "gunicorn"],
            "                  \n           \n           vars.workers = 2\n                \n",
        );
    }

    #[test]
    fn a_deeper_header_stays_a_header() {
        check(
            "[templates.a.vars.app_dir]\nrequired = true\n[ templates . b . env ]\nX = [\n 1,\n]\n",
            &["templates", "b"],
            "                          \n               \n                 [env ]\nX = [\n 1,\n]\n",
        );
    }

    #[test]
    fn what_can_t_be_cut_out_is_refused_with_its_place() {
        let inline = cut_out("a = 1\nvassal = { env = {} }\n", &["vassal"], &[]);
        let table = "vassal".to_owned();
        let span = 6..27;
        assert_eq!(inline, Err(OverlayError::Inline { table, span }));

        let order = cut_out(
            "[vassal.env]\nA = '1'\n[vassal]\nlisten = 'fd'\n",
            &["vassal"],
            &[],
        );
        let table = "vassal".to_owned();
        let span = 30..43;
        assert_eq!(order, Err(OverlayError::Order { table, span }));
    }
}
