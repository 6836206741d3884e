//! `emperor import uwsgi`: vassals' ini files become SQL, and what can't is told. Reads files, and asks
//! nothing else.
//!
//! | module | what it is |
//! |---|---|
//! | `ini`, `magic`, `vassal_file` | uWSGI's configuration, as uWSGI reads it |
//! | `options` | where each option goes |
//! | `vassal`, `hosts`, `slug` | from options to a row |
//! | `row` | the row as TOML and SQL |
//! | `verdict`, `collisions` | whether it could run, and beside the others |
//! | `note` | what is told |

mod collisions;
mod hosts;
mod ini;
mod magic;
mod note;
mod options;
mod row;
mod slug;
#[cfg(test)]
mod tests;
mod vassal;
mod vassal_file;
mod verdict;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use serde::Serialize;

use super::args::{Import, ImportUwsgi};
use super::failure::Failure;
use super::output;
use note::{Fate, Note, Spot};
use row::Row;
use vassal_file::Machine;

/// What became of all files.
#[derive(Debug, Default, Serialize)]
struct Imported {
    /// For psql.
    sql: String,
    sites: Vec<Row>,
    notes: Vec<Note>,
}

/// Runs the command.
pub(super) fn run(command: &Import) -> Result<(), Failure> {
    let Import::Uwsgi(command) = command;
    let machine = Machine {
        read: &|path| fs::read_to_string(path),
        variable: &|name| std::env::var(name).ok(),
        account: &|uid| {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            user.map(|user| user.name)
        },
    };
    let (files, notes) = files(command);
    let mut imported = import(&files, &machine, !command.disabled);
    imported.notes.splice(0..0, notes);
    if command.format.json {
        output::print_json(&imported)?;
    } else {
        let told = note::text(&imported.notes);
        anstream::stderr().write_all(told.as_bytes())?;
        output::print(&imported.sql)?;
    }
    let is_amiss = imported.notes.iter().any(|note| note.fate.is_amiss());
    if is_amiss {
        return Err(Failure::NotAllImported);
    }
    Ok(())
}

/// The files that are meant, with whole paths, each once.
fn files(command: &ImportUwsgi) -> (Vec<PathBuf>, Vec<Note>) {
    let mut files = Vec::new();
    let mut notes = Vec::new();
    for path in &command.paths {
        match found(path) {
            Ok(found) => files.extend(found),
            Err(error) => notes.push(failed(path, format!("could not read it: {error}"))),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    files.retain(|file| seen.insert(file.clone()));
    (files, notes)
}

fn found(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = std::path::absolute(path)?;
    if !fs::metadata(&path)?.is_dir() {
        return Ok(vec![path]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&path)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "ini") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "it has no *.ini file",
        ));
    }
    files.sort();
    Ok(files)
}

/// Makes rows of files.
fn import(files: &[PathBuf], machine: &Machine<'_>, enabled: bool) -> Imported {
    let mut imported = Imported::default();
    for path in files {
        let (row, notes) = match vassal_file::read(path, machine) {
            Ok(file) => vassal::row(path, file, machine, enabled),
            Err(error) => (
                None,
                vec![failed(path, format!("could not read it: {error}"))],
            ),
        };
        imported.notes.extend(in_order(notes));
        let Some(row) = row else { continue };
        match verdict::refusal(&row) {
            Some(why) => imported.notes.push(failed(path, why)),
            None => imported.sites.push(row),
        }
    }
    imported
        .notes
        .extend(collisions::resolve(&mut imported.sites));
    imported.sql = row::sql(&imported.sites);
    imported
}

/// As the lines stand, what is said of the whole file last.
fn in_order(mut notes: Vec<Note>) -> Vec<Note> {
    notes.sort_by_key(|note| note.spot.line.unwrap_or(usize::MAX));
    notes
}

fn failed(path: &Path, why: String) -> Note {
    let spot = Spot {
        file: path.display().to_string(),
        line: None,
    };
    Note::new(&spot, Fate::Failed, "", why)
}
