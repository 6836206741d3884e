//! One layer: a TOML text read against the schema, with every mistake in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::kind::{Assign, Written};
use super::lookup;
use super::names::MapTable;
use super::piece::{LayerKind, Named, Origin, Piece};
use super::schema::{self, Key};
use super::site_tables::SiteTables;
use super::vars::{self, VarEntry};
use crate::diagnostic::{Diagnostic, Diagnostics, Place, Source};

/// What one text says.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    pub(crate) settings: Vec<Setting>,
    pub(crate) env: Named<Piece>,
    pub(crate) files: Named<Piece>,
    pub(crate) vars: BTreeMap<Arc<str>, VarEntry>,
}

/// The value that a text gives a key.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static Key,
    pub(crate) value: Box<dyn Assign>,
    pub(crate) origin: Origin,
}

/// Which tables a text may set.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Permitted<'a> {
    All,
    Only(&'a SiteTables),
}

/// Reads a text. Yields what is right in it and everything that is wrong.
pub(crate) fn read(
    source: &Source,
    kind: LayerKind,
    permitted: Permitted<'_>,
) -> (Layer, Diagnostics) {
    let mut reader = Reader {
        source,
        kind,
        permitted,
        layer: Layer::default(),
        found: Diagnostics::default(),
    };
    if let Err(length) = check_length(source) {
        reader.found.push(length);
        return (reader.layer, reader.found);
    }
    let (document, errors) = DeTable::parse_recoverable(source.text());
    let syntax = errors
        .iter()
        .map(|error| Diagnostic::from_toml(source, error));
    reader.found.extend(syntax);
    // What the parser could make of a broken text is full of mistakes that nobody made.
    if reader.found.is_empty() {
        reader.top(document.get_ref());
    }
    (reader.layer, reader.found)
}

/// Longest text that is read: far longer than any template, short enough to be read in no time.
const MAX_BYTES: usize = 256 * 1024;

fn check_length(source: &Source) -> Result<(), Diagnostic> {
    let bytes = source.text().len();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let title = format!("this text has {bytes} bytes; at most {MAX_BYTES} are taken");
    Err(Diagnostic::new(source.place(0..0), title))
}

struct Reader<'a> {
    source: &'a Source,
    kind: LayerKind,
    permitted: Permitted<'a>,
    layer: Layer,
    found: Diagnostics,
}

type Name<'a> = Spanned<DeString<'a>>;

impl Reader<'_> {
    fn top(&mut self, document: &DeTable<'_>) {
        for (name, value) in document {
            let table = name.get_ref().as_ref();
            let known = lookup::tables();
            if !known.contains(&table) {
                let known = known.into_iter().filter(|table| self.permits(table));
                let known = known.chain(self.kind.keys_read_elsewhere().iter().copied());
                let place = self.place(name);
                let unknown = Diagnostic::unknown_name(place, "key", table, known);
                self.found.push(unknown);
            } else if !self.permits(table) {
                self.found.push(refused(self.place(name), table));
            } else if let Some(map) = MapTable::from_name(table) {
                self.map(map, table, value);
            } else if let Some(key) = lookup::key(table) {
                self.setting(key, value);
            } else {
                self.table(table, value);
            }
        }
    }

    fn permits(&self, table: &str) -> bool {
        match self.permitted {
            Permitted::All => true,
            Permitted::Only(tables) => tables.contains(table),
        }
    }

    /// `[ready]` and the like.
    fn table(&mut self, table: &str, value: &Spanned<DeValue<'_>>) {
        let Some(entries) = self.entries(table, value) else {
            return;
        };
        for (name, value) in entries {
            let path = format!("{table}.{}", name.get_ref());
            match lookup::key(&path) {
                Some(key) => self.setting(key, value),
                None => self.unknown_key(table, &path, name),
            }
        }
    }

    fn unknown_key(&mut self, table: &str, path: &str, name: &Name<'_>) {
        let known = schema::KEYS.iter().filter(|key| key.table() == table);
        let known = known.map(Key::path);
        let unknown = Diagnostic::unknown_name(self.place(name), "key", path, known);
        self.found.push(unknown);
    }

    fn setting(&mut self, key: &'static Key, value: &Spanned<DeValue<'_>>) {
        let written = self.written(value);
        match key.kind.read(&written) {
            Ok(value) => self.layer.settings.push(Setting {
                key,
                value,
                origin: written.origin,
            }),
            Err(diagnostic) => self.found.push(diagnostic),
        }
    }

    /// `[vars]`, `[env]`, `[files]`.
    fn map(&mut self, map: MapTable, table: &str, value: &Spanned<DeValue<'_>>) {
        let Some(entries) = self.entries(table, value) else {
            return;
        };
        for (name, value) in entries {
            if let Err(error) = map.check(name.get_ref()) {
                let wrong = Diagnostic::new(self.place(name), error.to_string());
                self.found.push(wrong);
                continue;
            }
            let written = self.written(value);
            match map {
                MapTable::Vars => self.variable(name, &written),
                MapTable::Env | MapTable::Files => {
                    self.text(map, name.get_ref(), &written);
                }
            }
        }
    }

    fn variable(&mut self, name: &Name<'_>, written: &Written<'_>) {
        if self.kind == LayerKind::Row && written.value.is_table() {
            self.found.push(vars::not_a_declaration(written));
        } else if let Some(entry) = vars::read(self.place(name), written, &mut self.found) {
            let name = Arc::from(name.get_ref().as_ref());
            self.layer.vars.insert(name, entry);
        }
    }

    fn text(&mut self, map: MapTable, name: &str, written: &Written<'_>) {
        let entries = match map {
            MapTable::Files => &mut self.layer.files,
            MapTable::Env | MapTable::Vars => &mut self.layer.env,
        };
        match written.piece("a string, in quotes,") {
            Ok(piece) => {
                entries.insert(name.into(), Arc::new(piece));
            }
            Err(diagnostic) => self.found.push(diagnostic),
        }
    }

    fn entries<'v>(
        &mut self,
        table: &str,
        value: &'v Spanned<DeValue<'v>>,
    ) -> Option<&'v DeTable<'v>> {
        let entries = value.get_ref().as_table();
        if entries.is_none() {
            let due = format!("a table [{table}]");
            let wrong = self.written(value).wrong_type(&due);
            self.found.push(wrong);
        }
        entries
    }

    fn written<'v>(&self, value: &'v Spanned<DeValue<'v>>) -> Written<'v> {
        let around = Origin {
            layer: self.kind,
            place: self.source.place(0..0),
        };
        Written::new(value, &around)
    }

    fn place(&self, name: &Name<'_>) -> Place {
        self.source.place(name.span())
    }
}

fn refused(place: Place, table: &str) -> Diagnostic {
    Diagnostic::new(place, format!("a site's row may not set `{table}`")).with_help(format!(
        "whoever runs the machine may permit it: add \"{table}\" to `site_may_set` in [policy] of \
         emperor.toml"
    ))
}
