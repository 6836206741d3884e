//! A TOML document that is asked for its keys one by one, and afterwards knows which of its keys
//! nobody asked for. It knows no key itself; [`super::reader`] does.
//!
//! Problems are collected, not returned: one look at the file shows all of its mistakes.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::Range;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use vassal_core::units::{UnitError, parse_bytes, parse_duration};
use vassal_core::{Diagnostic, Diagnostics, Source};

/// What was found while reading.
#[derive(Debug)]
pub(super) struct Findings {
    source: Source,
    problems: RefCell<Diagnostics>,
    keys: RefCell<BTreeSet<String>>,
}

/// One table, and what was asked of it so far.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    names: BTreeSet<&'static str>,
    findings: &'a Findings,
}

/// A text of the file, and its place.
#[derive(Debug, Clone)]
pub(super) struct Text<'a> {
    /// The text.
    pub(super) text: &'a str,
    /// Its place.
    pub(super) span: Range<usize>,
}

impl Findings {
    /// Nothing yet, about a text.
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            problems: RefCell::default(),
            keys: RefCell::default(),
        }
    }

    /// The text.
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Notes a mistake.
    pub(super) fn report(&self, span: Range<usize>, title: impl Display) {
        self.note(Diagnostic::new(self.source.place(span), title.to_string()));
    }

    fn note(&self, problem: Diagnostic) {
        self.problems.borrow_mut().push(problem);
    }

    /// `value`, unless there are mistakes.
    pub(super) fn or_else_ok<T>(self, value: T) -> Result<T, Diagnostics> {
        self.problems.into_inner().or_else_ok(value)
    }

    /// Every key that was asked for, with its table: `database.url`.
    #[cfg(test)]
    pub(super) fn into_keys(self) -> BTreeSet<String> {
        self.keys.into_inner()
    }
}

impl<'a> Section<'a> {
    /// The document itself.
    pub(super) fn root(table: &'a DeTable<'a>, findings: &'a Findings) -> Self {
        Self::new(String::new(), 0..0, Some(table), findings)
    }

    fn new(
        path: String,
        span: Range<usize>,
        table: Option<&'a DeTable<'a>>,
        findings: &'a Findings,
    ) -> Self {
        Self {
            path,
            span,
            table,
            names: BTreeSet::new(),
            findings,
        }
    }

    /// Where mistakes are noted.
    pub(super) fn findings(&self) -> &'a Findings {
        self.findings
    }

    /// Whether the file has this table.
    pub(super) fn is_there(&self) -> bool {
        self.table.is_some()
    }

    /// Where the table stands.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// A key's value.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.names.insert(name);
        self.findings.keys.borrow_mut().insert(self.full_name(name));
        self.table?.get(name)
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<Text<'a>> {
        let value = self.value(name)?;
        self.as_text(name, value)
    }

    /// A text that is parsed, or the default.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        name: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        self.parsed_text(name, parse).unwrap_or(default)
    }

    /// A text that is parsed, if it is there.
    pub(super) fn parsed_text<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(name)?;
        self.accept(&text, parse)
    }

    /// A text that is parsed and can't be left out.
    pub(super) fn required<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.value(name).is_none() {
            let key = self.full_name(name);
            let missing = format!("`{key}` is missing");
            self.findings.report(self.span.clone(), missing);
        }
        self.parsed_text(name, parse)
    }

    /// A list of texts, each parsed; `None`: there is no such key.
    pub(super) fn list<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Vec<T>> {
        let value = self.value(name)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(name, value, "a list of texts, such as [\"a\", \"b\"]");
            return None;
        };
        let texts = items.iter().filter_map(|item| self.as_text(name, item));
        Some(texts.filter_map(|t| self.accept(&t, &parse)).collect())
    }

    /// A table of texts under names of the author's own.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<(Text<'a>, Text<'a>)> {
        let value = self.value(name);
        let table = value.and_then(|value| self.as_table(name, value));
        let pairs = table.into_iter().flatten().filter_map(|(key, value)| {
            let (text, span) = (key.get_ref().as_ref(), key.span());
            Some((Text { text, span }, self.as_text(name, value)?))
        });
        pairs.collect()
    }

    /// `true` or `false`, or the default.
    pub(super) fn switch(&mut self, name: &'static str, default: bool) -> bool {
        self.optional_switch(name).unwrap_or(default)
    }

    /// `true` or `false`, if it is there.
    pub(super) fn optional_switch(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        if let DeValue::Boolean(on) = value.get_ref() {
            return Some(*on);
        }
        self.wrong_type(name, value, "true or false");
        None
    }

    /// A whole number from `range`.
    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u32,
        range: &std::ops::RangeInclusive<u32>,
    ) -> u32 {
        self.optional_number(name, |number| {
            let number = u32::try_from(number).ok();
            number
                .filter(|number| range.contains(number))
                .ok_or_else(|| {
                    let (first, last) = (range.start(), range.end());
                    format!("a whole number from {first} to {last} is due")
                })
        })
        .unwrap_or(default)
    }

    /// A whole number that is parsed, if it is there.
    pub(super) fn optional_number<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl Fn(i64) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(name, value, "a whole number");
            return None;
        };
        let number = i64::from_str_radix(digits.as_str(), digits.radix());
        let parsed = number
            .map_err(|error| error.to_string())
            .and_then(|number| parse(number).map_err(|error| error.to_string()));
        parsed
            .map_err(|error| self.findings.report(value.span(), error))
            .ok()
    }

    /// A duration with its unit.
    pub(super) fn duration(&mut self, name: &'static str, default: Duration) -> Duration {
        self.with_unit(name, "s", default, parse_duration)
    }

    /// A number of bytes with its unit.
    pub(super) fn size(&mut self, name: &'static str, default: u64) -> u64 {
        self.with_unit(name, "MiB", default, parse_bytes)
    }

    fn with_unit<T>(
        &mut self,
        name: &'static str,
        unit: &str,
        default: T,
        parse: impl Fn(&str) -> Result<T, UnitError>,
    ) -> T {
        let Some(value) = self.value(name) else {
            return default;
        };
        if let DeValue::Integer(number) = value.get_ref() {
            let key = self.full_name(name);
            let place = self.findings.source.place(value.span());
            let title = format!("`{key}` is a number without its unit");
            self.findings.note(
                Diagnostic::new(place, title)
                    .with_label(format!("did you mean \"{number}{unit}\"?")),
            );
            return default;
        }
        self.as_text(name, value)
            .and_then(|text| self.accept(&text, parse))
            .unwrap_or(default)
    }

    /// A table below this one; without one in the file, every key of it has its default.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'a> {
        let value = self.value(name);
        let span = value.map_or(0..0, Spanned::span);
        let table = value.and_then(|value| self.as_table(name, value));
        Section::new(self.full_name(name), span, table, self.findings)
    }

    /// The tables of `[[name]]`.
    pub(super) fn sections(&mut self, name: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let due = format!(
                "one or more tables, each headed by [[{}]]",
                self.full_name(name)
            );
            self.wrong_type(name, value, &due);
            return Vec::new();
        };
        let section = |item: &'a Spanned<DeValue<'a>>| {
            let table = self.as_table(name, item)?;
            let path = self.full_name(name);
            Some(Section::new(path, item.span(), Some(table), self.findings))
        };
        items.iter().filter_map(section).collect()
    }

    /// Ends the reading of this table: whatever is left over in it is no key.
    pub(super) fn finish(self) {
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if self.names.contains(name) {
                continue;
            }
            let what = if value.get_ref().is_table() {
                "table"
            } else {
                "key"
            };
            let place = self.findings.source.place(key.span());
            let known = self.names.iter().copied();
            self.findings
                .note(Diagnostic::unknown_name(place, what, name, known));
        }
    }

    fn accept<T, E: Display>(
        &self,
        text: &Text<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(text.text)
            .map_err(|error| self.findings.report(text.span.clone(), error))
            .ok()
    }

    fn as_text(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Option<Text<'a>> {
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(name, value, "a text in quotes");
            return None;
        };
        let span = value.span();
        Some(Text { text, span })
    }

    fn as_table(&self, name: &str, value: &'a Spanned<DeValue<'a>>) -> Option<&'a DeTable<'a>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(name, value, "a table");
            return None;
        };
        Some(table)
    }

    fn wrong_type(&self, name: &str, value: &Spanned<DeValue<'_>>, due: &str) {
        let (key, is) = (self.full_name(name), type_name(value.get_ref()));
        self.findings
            .report(value.span(), format!("`{key}` is {is}; {due} is due"));
    }

    fn full_name(&self, name: &str) -> String {
        match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        }
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
