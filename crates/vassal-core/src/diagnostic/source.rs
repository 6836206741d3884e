//! Texts with a name, and places in them. Cheap to clone: both share the text.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A text and where it comes from.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    origin: Arc<str>,
    text: Arc<str>,
}

/// A part of a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    source: Source,
    span: Range<usize>,
}

/// Line and column, from 1; a column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Source {
    /// A text that came from `origin`: a path, or `site 12 extra_config`.
    pub fn new(origin: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Self {
        Self {
            origin: origin.into(),
            text: text.into(),
        }
    }

    /// Where the text comes from.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place of these bytes. What lies beyond the text, or within a character, is moved to the
    /// nearest place before it.
    pub fn place(&self, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.floor_char_boundary(span.end).max(start);
        Place {
            source: self.clone(),
            span: start..end,
        }
    }
}

impl fmt::Debug for Source {
    /// Without the text: it may be long, and hold what is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({})", self.origin)
    }
}

impl Place {
    /// Which text.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Which bytes of it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The part itself.
    pub fn text(&self) -> &str {
        &self.source.text[self.span.clone()]
    }

    /// Where it begins.
    pub fn position(&self) -> Position {
        let before = &self.source.text[..self.span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, .. } = self.position();
        write!(f, "{}:{line}", self.source.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, span: Range<usize>, line: usize, column: usize) {
        let place = Source::new("x", text).place(span);
        assert_eq!(place.position(), Position { line, column }, "{text:?}");
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        check("", 0..0, 1, 1);
        check("ab\ncd", 3..4, 2, 1);
        check("ab\ncd", 5..5, 2, 3);
        check("é = 1", 3..4, 1, 3);
    }

    #[test]
    fn a_span_beyond_the_text_or_within_a_character_is_moved() {
        check("ab\n", 90..95, 2, 1);
        check("é", 1..1, 1, 1);
    }
}
