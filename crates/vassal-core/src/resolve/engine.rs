//! Rendering one text: strict, bounded, no escaping.

use std::collections::HashMap;
use std::io;
use std::ops::BitOr;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, Template, UndefinedBehavior, Value,
    escape_formatter,
};

use super::names::{self, NamesTold, Scope};
use super::text::{Bound, Text};
use crate::diagnostic::Diagnostic;
use crate::template::is_literal;

/// Instructions that one text may take: a loop over some thousand hosts, and no endless one.
const FUEL: u64 = 100_000;

/// The template engine, with a template's texts compiled.
#[derive(Debug)]
pub(super) struct Engine {
    environment: Environment<'static>,
    /// What the compiled texts tell, by their sources.
    told: HashMap<String, NamesTold>,
}

impl Default for Engine {
    fn default() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax());
        environment.set_formatter(scalars_only);
        environment.set_fuel(Some(FUEL));
        // Errors then know their place.
        environment.set_debug(true);
        // A namespace lets a loop double a string at every turn; `debug` shows what is in scope.
        environment.remove_global("namespace");
        environment.remove_global("debug");
        Self {
            environment,
            told: HashMap::new(),
        }
    }
}

/// A file keeps its last line break, and lines that hold nothing but a statement leave none.
fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("the delimiters are the usual ones")
}

impl Engine {
    /// Compiles a text, to find its mistakes now and to render it sooner later.
    pub(super) fn load(&mut self, text: Text<'_>) -> Result<(), Diagnostic> {
        if is_literal(text.text) {
            return Ok(());
        }
        // A text is its own name: two equal ones are one.
        let source = text.text.to_owned();
        self.environment
            .add_template_owned(source.clone(), source.clone())
            .map_err(|error| explain(&error, text, &Scope::default()))?;
        let told = self.told_by(&source);
        self.told.insert(source, told);
        Ok(())
    }

    /// Which of the site's names a text uses, in whichever branch.
    pub(super) fn told(&self, text: &str) -> NamesTold {
        match self.told.get(text) {
            Some(told) => *told,
            None => self.told_by(text),
        }
    }

    fn told_by(&self, text: &str) -> NamesTold {
        if is_literal(text) {
            return NamesTold::default();
        }
        // One that can't be compiled is never rendered either.
        let template = self.environment.template_from_str(text);
        let names = template.map(|template| template.undeclared_variables(true));
        names
            .iter()
            .flatten()
            .map(|name| names::told(name))
            .fold(NamesTold::default(), BitOr::bitor)
    }

    /// Finds names in a text that nothing will ever define, in whichever branch they stand.
    pub(super) fn unknown_names(&self, text: Text<'_>, scope: &Scope<'_>) -> Vec<Diagnostic> {
        let Ok(template) = self.environment.get_template(text.text) else {
            return Vec::new();
        };
        let mut names: Vec<_> = template.undeclared_variables(true).into_iter().collect();
        names.sort_unstable();
        let unknown = names.iter().filter_map(|name| scope.unknown(name, text));
        unknown.collect()
    }

    /// The names that a text uses, sorted; none of a text that is none.
    pub(super) fn names(&self, text: &str) -> Vec<String> {
        let of = |template: &Template<'_, '_>| template.undeclared_variables(true);
        let known = self.environment.get_template(text);
        let known = known.or_else(|_| self.environment.template_from_str(text));
        let mut names: Vec<_> = known.iter().flat_map(of).collect();
        names.sort_unstable();
        names
    }

    /// Renders a text with these values.
    pub(super) fn render(
        &self,
        text: Text<'_>,
        values: &Value,
        scope: &Scope<'_>,
        bound: Bound,
    ) -> Result<String, Diagnostic> {
        if is_literal(text.text) {
            return Ok(text.text.to_owned());
        }
        let mut out = Bounded {
            bytes: Vec::new(),
            bound,
        };
        let rendered = match self.environment.get_template(text.text) {
            Ok(template) => template
                .render_captured_to(values.clone(), &mut out)
                .map(drop),
            // Only a row's texts were not compiled with the template, and names alone can't grow.
            Err(_) => self
                .environment
                .render_str(text.text, values.clone())
                .and_then(|rendered| {
                    let written = io::Write::write_all(&mut out, rendered.as_bytes());
                    written.map_err(|error| Error::from(ErrorKind::WriteFailure).with_source(error))
                }),
        };
        rendered.map_err(|error| explain(&error, text, scope))?;
        String::from_utf8(out.bytes)
            .map_err(|_| Diagnostic::new(text.place.clone(), "this yields no text"))
    }
}

/// Writes numbers and texts, and `true` and `false` as TOML and most programs have them. A list or a table is a slip: it would be written in a
/// notation that no program reads.
fn scalars_only(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let name = match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => "a list",
        ValueKind::Map => "a table",
        ValueKind::None => "nothing",
        ValueKind::Bool => {
            let word = if value.is_true() { "true" } else { "false" };
            return Ok(out.write_str(word)?);
        }
        _ => return escape_formatter(out, state, value),
    };
    let detail = format!("{name} can't stand in a text");
    Err(Error::new(ErrorKind::InvalidOperation, detail))
}

#[derive(Debug)]
struct Bounded {
    bytes: Vec<u8>,
    bound: Bound,
}

impl io::Write for Bounded {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > self.bound.bytes() {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the engine found wrong, at its place in the template's file.
fn explain(error: &Error, text: Text<'_>, scope: &Scope<'_>) -> Diagnostic {
    let expression = error.range().and_then(|range| text.text.get(range));
    let place = expression.map_or_else(|| text.place.clone(), |part| names::narrow(text, part));
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::UndefinedError => scope.undefined(text, expression.unwrap_or("a name")),
        ErrorKind::OutOfFuel => Diagnostic::new(place, "rendering this takes too long")
            .with_help("loops and conditions may take 100,000 steps in all"),
        ErrorKind::WriteFailure => Diagnostic::new(place, "what this yields is too long")
            .with_help("an argument or variable may have 128 KiB, a file 1 MiB"),
        ErrorKind::SyntaxError => Diagnostic::new(place, format!("syntax error: {detail}")),
        kind => {
            let colon = if detail.is_empty() { "" } else { ": " };
            Diagnostic::new(place, format!("{kind}{colon}{detail}"))
        }
    }
}
