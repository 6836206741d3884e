//! What is wrong in a text somebody wrote, shown at its place: origin, line, column, the line itself
//! with a mark under it, and the nearest name that would have been right.
//!
//! Used for templates and overlays here and for any other TOML elsewhere. It knows nothing of what
//! the text is about. Everything is rendered plain: diagnostics are stored in tables and logs, and
//! who shows them on a terminal may colour them there.

mod nearest;
mod render;
mod source;

use std::fmt;

pub use nearest::nearest;
pub use render::headline;
pub use source::{Place, Position, Source};

/// How many diagnostics of one text are shown; a file with more has one mistake many times over.
const MAX_SHOWN: usize = 20;

/// One mistake, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it is.
    place: Place,
    /// What is wrong, in one line.
    title: String,
    /// What stands beside the mark; may be empty.
    label: String,
    /// What to do about it; may be empty.
    help: String,
}

impl Diagnostic {
    /// A mistake at a place: `title` says what is wrong, without its place and without a full stop.
    pub fn new(place: Place, title: impl Into<String>) -> Self {
        Self {
            place,
            title: title.into(),
            label: String::new(),
            help: String::new(),
        }
    }

    /// The same with a few words beside the mark.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with a sentence on what to do next.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// A name that is none of `known`; the nearest of them is suggested, or all of them named where
    /// they are few. `what` is the kind of name: `key`, `variable`.
    pub fn unknown_name<'a>(
        place: Place,
        what: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let known: Vec<_> = known.into_iter().collect();
        let diagnostic = Self::new(place, format!("unknown {what} `{}`", name.escape_debug()));
        match nearest(name, known.iter().copied()) {
            Some(near) => diagnostic.with_label(format!("did you mean `{near}`?")),
            None if (1..=12).contains(&known.len()) => {
                diagnostic.with_help(format!("known here: {}", known.join(", ")))
            }
            None => diagnostic,
        }
    }

    /// What the TOML parser, or a type that it was to become, found wrong with `source`.
    ///
    /// An unknown field or variant gets its suggestion here, since serde only lists what it knows.
    pub fn from_toml(source: &Source, error: &toml::de::Error) -> Self {
        let end = source.text().len();
        let span = error.span().unwrap_or(end..end);
        let place = source.place(span);
        let message = error.message();
        for (of_serde, what) in [("unknown field ", "key"), ("unknown variant ", "value")] {
            let names = message.strip_prefix(of_serde).map(quoted_names);
            if let Some([name, known @ ..]) = names.as_deref() {
                return Self::unknown_name(place, what, name, known.iter().copied());
            }
        }
        Self::new(place, message.trim_end())
    }

    fn order(&self) -> (&str, usize, &str) {
        let origin = self.place.source().origin();
        (origin, self.place.span().start, &self.title)
    }

    /// What is wrong, without its place.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Line and column, from 1.
    pub fn position(&self) -> Position {
        self.place.position()
    }
}

/// The names that stand between backticks.
fn quoted_names(message: &str) -> Vec<&str> {
    message.split('`').skip(1).step_by(2).collect()
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render::render(self))
    }
}

impl std::error::Error for Diagnostic {}

/// Everything that is wrong in one text, in the order of its lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// True: nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// `value` where nothing is wrong, and otherwise what is, sorted by place, each mistake once.
    pub fn or_else_ok<T>(mut self, value: T) -> Result<T, Self> {
        if self.is_empty() {
            return Ok(value);
        }
        self.0.sort_by(|a, b| a.order().cmp(&b.order()));
        self.0.dedup();
        Err(self)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(diagnostics: T) -> Self {
        Self(diagnostics.into_iter().collect())
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<T: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: T) {
        self.0.extend(diagnostics);
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, diagnostic) in self.0.iter().take(MAX_SHOWN).enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Document {
        node: Option<String>,
        listen: Option<Vec<String>>,
    }

    fn check(text: &str) -> String {
        let source = Source::new("emperor.toml", text);
        let error = toml::from_str::<Document>(text).unwrap_err();
        Diagnostic::from_toml(&source, &error).to_string()
    }

    #[test]
    fn an_unknown_key_is_shown_with_the_nearest() {
        assert_snapshot!(check("# a comment\nnode = 'a'\nlistne = []\n"), @r"
        error: unknown key `listne`
         --> emperor.toml:3:1
          |
        3 | listne = []
          | ^^^^^^ did you mean `listen`?
        ");
    }

    #[test]
    fn an_unknown_key_like_no_other_is_shown_with_all() {
        assert_snapshot!(check("colour = 1\n"), @r"
        error: unknown key `colour`
         --> emperor.toml:1:1
          |
        1 | colour = 1
          | ^^^^^^
          |
          = help: known here: node, listen
        ");
    }

    #[test]
    fn a_wrong_type_is_shown_at_the_value() {
        assert_snapshot!(check("node = 5\n"), @r"
        error: invalid type: integer `5`, expected a string
         --> emperor.toml:1:8
          |
        1 | node = 5
          |        ^
        ");
    }

    #[test]
    fn a_mistake_at_the_end_has_a_place_too() {
        assert_snapshot!(check("node = "), @r"
        error: string values must be quoted, expected literal string
         --> emperor.toml:1:8
          |
        1 | node = 
          |        ^
        ");
    }

    #[test]
    fn a_log_gets_the_title_and_the_place() {
        let source = Source::new("site 7: extra_config", "a = 1\nworkers = -2\n");
        let place = source.place(16..18);
        let text = Diagnostic::new(place, "it must be positive").to_string();
        assert_eq!(
            headline(&text),
            "error: it must be positive (site 7: extra_config:2:11)"
        );
        assert_eq!(headline("one line"), "one line");
        assert_eq!(headline(""), "");
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown_as_pictures() {
        let shown = check("\"\u{1b}[31m\" = 1\n");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        let shown = check("\"\\u001b[31m\" = 1\n");
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn passwords_in_the_line_are_starred() {
        let shown = check("nod = \"postgresql://me:s3cr3t@db/x?password=s3cr3t\"\n");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("postgresql://me:******@db/x"), "{shown}");
    }

    #[test]
    fn many_mistakes_are_shown_in_the_order_of_lines_and_then_counted() {
        let source = Source::new("x", "a\n".repeat(30));
        let mut all = Diagnostics::default();
        for line in (0..30).rev() {
            all.push(Diagnostic::new(source.place(line * 2..line * 2 + 1), "no"));
        }
        let shown = all.or_else_ok(()).unwrap_err().to_string();
        assert!(shown.starts_with("error: no\n --> x:1:1"), "{shown}");
        assert!(shown.ends_with("and 10 more"), "{shown}");
    }
}
