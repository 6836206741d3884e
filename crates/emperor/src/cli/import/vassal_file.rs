//! A vassal's file with what it includes, as one list of options whose values are known.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::ini::{self, Line};
use super::magic::{self, Files};
use super::note::{Fate, Note, Spot};
use super::options::{Goes, goes};

/// How deep files may include others.
const DEPTH: usize = 8;

/// What is asked of the machine.
pub(super) struct Machine<'a> {
    /// The text of a file.
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<String>,
    /// A variable of the environment.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// The name of the account with a uid.
    pub(super) account: &'a dyn Fn(u32) -> Option<String>,
}

/// An option with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) spot: Spot,
    pub(super) key: String,
    pub(super) value: String,
}

/// A file's options, in their order.
#[derive(Debug, Default)]
pub(super) struct VassalFile {
    pub(super) entries: Vec<Entry>,
    pub(super) notes: Vec<Note>,
    /// Where a block began that hasn't ended.
    block: Option<Spot>,
}

/// Reads a vassal's file.
///
/// # Errors
///
/// The vassal's own file can't be read; one that it includes is told as a note.
pub(super) fn read(path: &Path, machine: &Machine<'_>) -> io::Result<VassalFile> {
    let text = (machine.read)(path)?;
    let mut file = VassalFile::default();
    file.take(path, path, &text, machine, 0);
    file.settle(machine);
    Ok(file)
}

impl VassalFile {
    fn note(&mut self, spot: &Spot, fate: Fate, key: &str, detail: impl Into<String>) {
        self.notes.push(Note::new(spot, fate, key, detail));
    }

    fn take(&mut self, own: &Path, vassal: &Path, text: &str, machine: &Machine<'_>, depth: usize) {
        let read = ini::read(text);
        let spot = |line| Spot {
            file: own.display().to_string(),
            line: Some(line),
        };
        for (line, name) in read.others {
            let detail = format!("[{name}] is another section; only [uwsgi] is read");
            self.note(&spot(line), Fate::Changed, "", detail);
        }
        let files = Files { own, vassal };
        for line in read.lines {
            let spot = spot(line.number);
            if self.is_in_block(&line, &spot) {
                continue;
            }
            match magic::letters(&line.value, files) {
                Err(_) if is_dropped(&line.key) => self.entries.push(Entry {
                    spot,
                    key: line.key,
                    value: line.value,
                }),
                Err(unknown) => self.note(&spot, Fate::Lost, &line.key, unknown.0),
                Ok(value) if is_include(&line.key) => {
                    self.include(&spot, &line.key, &value, vassal, machine, depth);
                }
                Ok(value) => self.entries.push(Entry {
                    spot,
                    key: line.key,
                    value,
                }),
            }
        }
    }

    /// Loops and conditions are not followed: what is in one may hold or not.
    fn is_in_block(&mut self, line: &Line, spot: &Spot) -> bool {
        if goes(&line.key) == Goes::Block {
            if line.key.starts_with("end") {
                self.block = None;
                return true;
            }
            let detail =
                "loops and conditions are not followed; write out what holds for this site";
            self.note(spot, Fate::Lost, &line.key, detail);
            self.block = Some(spot.clone());
            return true;
        }
        let Some(begun) = &self.block else {
            return false;
        };
        let begun = begun.line.unwrap_or_default();
        let detail = format!("it stands in the block that begins in line {begun}");
        self.note(spot, Fate::Lost, &line.key, detail);
        true
    }

    fn include(
        &mut self,
        spot: &Spot,
        key: &str,
        name: &str,
        vassal: &Path,
        machine: &Machine<'_>,
        depth: usize,
    ) {
        let mut lost = |detail: String| self.note(spot, Fate::Lost, key, detail);
        if name.contains("://") || name.contains(['(', ':']) || name.is_empty() || name == "-" {
            return lost("only files are read, and their section [uwsgi]".to_owned());
        }
        if depth == DEPTH {
            return lost(format!("files include each other more than {DEPTH} deep"));
        }
        // An emperor starts its vassals in its folder, so that is where they look.
        let folder = vassal.parent().unwrap_or(Path::new("/"));
        let path: PathBuf = folder.join(name);
        match (machine.read)(&path) {
            Ok(text) => self.take(&path, vassal, &text, machine, depth + 1),
            Err(error) => lost(format!("could not read {}: {error}", path.display())),
        }
    }

    /// Puts names' values in, and drops the options that were there for nothing else.
    fn settle(&mut self, machine: &Machine<'_>) {
        let entries = std::mem::take(&mut self.entries);
        let mentioned: BTreeSet<_> = entries
            .iter()
            .flat_map(|entry| magic::mentioned(&entry.value).map(ini::key))
            .collect();
        let values = placeholders(&entries);
        let mut variables = BTreeMap::new();
        for mut entry in entries {
            if is_dropped(&entry.key) {
                self.entries.push(entry);
                continue;
            }
            let variable = |name: &str| {
                let own: Option<&String> = variables.get(name);
                own.cloned().or_else(|| (machine.variable)(name))
            };
            let placeholder = |name: &str| values.get(&ini::key(name)).cloned();
            let from_outside = entry.value.contains("$(");
            match magic::names(&entry.value, &placeholder, &variable) {
                Ok(value) => entry.value = value,
                Err(unknown) => {
                    self.note(&entry.spot, Fate::Lost, &entry.key, unknown.0);
                    continue;
                }
            }
            if from_outside {
                let detail = "$(…) is what the file's env or the environment of this command says";
                self.note(&entry.spot, Fate::Changed, &entry.key, detail);
            }
            let is_for_others = mentioned.contains(&entry.key);
            match goes(&entry.key) {
                Goes::Placeholder => continue,
                Goes::OptionLine if is_for_others => continue,
                Goes::Env => {
                    if let Some((name, value)) = entry.value.split_once('=') {
                        variables.insert(name.trim().to_owned(), value.to_owned());
                    }
                }
                _ => {}
            }
            self.entries.push(entry);
        }
    }
}

/// What it says doesn't matter then.
fn is_dropped(key: &str) -> bool {
    matches!(goes(key), Goes::Dropped(_))
}

fn is_include(key: &str) -> bool {
    matches!(key, "ini" | "include")
}

/// What `%(name)` stands for: the first value of that name.
fn placeholders(entries: &[Entry]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for entry in entries {
        if goes(&entry.key) != Goes::Placeholder {
            let value = entry.value.clone();
            values.entry(entry.key.clone()).or_insert(value);
        } else if let Some((name, value)) = entry.value.split_once('=') {
            let value = value.trim().to_owned();
            values.entry(ini::key(name)).or_insert(value);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let read = |path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            let found = found.map(|(_, text)| format!("[uwsgi]\n{text}"));
            found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        let machine = Machine {
            read: &read,
            variable: &|name| (name == "OUTSIDE").then(|| "out".to_owned()),
            account: &|_| None,
        };
        let file = super::read(Path::new(files[0].0), &machine).unwrap();
        let entries = file.entries.iter();
        let entries = entries.map(|entry| format!("{}={}", entry.key, entry.value));
        let notes = file.notes.iter();
        let notes = notes.map(|note| format!("{:?} {}", note.spot.line, note.key));
        (entries.collect(), notes.collect())
    }

    #[test]
    fn a_file_takes_in_what_it_includes_where_it_does() {
        let (entries, notes) = entries(&[
            (
                "/v/wiki.ini",
                "ini = ../common/%e/base.ini\nworkers = 3\nini = none.ini",
            ),
            ("/v/../common/ini/base.ini", "chdir = /srv/%N\npidfile = %n"),
        ]);
        assert_eq!(entries, ["chdir=/srv/wiki", "pidfile=base", "workers=3"]);
        assert_eq!(notes, ["Some(4) ini"]);
    }

    #[test]
    fn a_file_that_includes_itself_ends_somewhere() {
        let (entries, notes) = entries(&[("/v/a.ini", "workers = 1\ninclude = a.ini")]);
        assert_eq!(entries.len(), DEPTH + 1);
        assert_eq!(notes, ["Some(3) include"]);
    }

    #[test]
    fn names_that_are_there_for_others_go_once_they_are_put_in() {
        let (entries, notes) = entries(&[(
            "/v/a.ini",
            "my_base = /srv\nset-ph = stage = live\nenv = A=1\nchdir = %(my_base)/%(stage)\nx = $(A)\n\
             y = $(OUTSIDE)\nz = %(nowhere)",
        )]);
        assert_eq!(entries, ["env=A=1", "chdir=/srv/live", "x=1", "y=out"]);
        assert_eq!(notes, ["Some(6) x", "Some(7) y", "Some(8) z"]);
    }

    #[test]
    fn what_stands_in_a_loop_or_a_condition_is_told() {
        let (entries, notes) = entries(&[(
            "/v/a.ini",
            "if-env = X\nworkers = 3\nendif =\nfor = a b\nroute = %(_)\nendfor\nthreads = 2\nini = http://x/a.ini",
        )]);
        assert_eq!(entries, ["threads=2"]);
        assert_eq!(
            notes,
            [
                "Some(2) if-env",
                "Some(3) workers",
                "Some(5) for",
                "Some(6) route",
                "Some(9) ini"
            ]
        );
    }
}
