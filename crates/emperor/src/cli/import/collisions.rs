//! Two files that want to be one site, or want one host. The first has it.

use std::collections::BTreeMap;

use super::note::{Fate, Note, Spot};
use super::row::Row;

/// Takes out what another row has already, and tells it.
pub(super) fn resolve(rows: &mut Vec<Row>) -> Vec<Note> {
    let mut taken = Taken::default();
    let mut notes = Vec::new();
    rows.retain_mut(|row| {
        let clash = taken.clash(row);
        if let Some(why) = &clash {
            notes.push(note(row, Fate::Failed, why.clone()));
            return false;
        }
        notes.extend(taken.take_hosts(row));
        true
    });
    notes
}

/// Who has what, by file.
#[derive(Debug, Default)]
struct Taken {
    slugs: BTreeMap<String, String>,
    ids: BTreeMap<i64, String>,
    hosts: BTreeMap<String, String>,
}

impl Taken {
    fn clash(&mut self, row: &Row) -> Option<String> {
        if let Some(file) = self.slugs.get(&row.slug) {
            return Some(format!(
                "{file} has the slug {} already; rename one",
                row.slug
            ));
        }
        if let Some((id, file)) = row.id.and_then(|id| Some((id, self.ids.get(&id)?))) {
            return Some(format!("{file} has the SITE_ID {id} already; change one"));
        }
        self.slugs.insert(row.slug.clone(), row.file.clone());
        self.ids.extend(row.id.map(|id| (id, row.file.clone())));
        None
    }

    fn take_hosts(&mut self, row: &mut Row) -> Vec<Note> {
        let mut notes = Vec::new();
        let mut is_free = |host: &str| {
            if let Some(file) = self.hosts.get(host) {
                notes.push(format!(
                    "the host {host} is not carried over: {file} has it already"
                ));
                return false;
            }
            self.hosts.insert(host.to_owned(), row.file.clone());
            true
        };
        if !row.domain.is_empty() && !is_free(&row.domain) {
            row.domain.clear();
        }
        row.aliases.retain(|host| is_free(host));
        let notes = notes.into_iter();
        notes.map(|why| note(row, Fate::Lost, why)).collect()
    }
}

fn note(row: &Row, fate: Fate, why: String) -> Note {
    let spot = Spot {
        file: row.file.clone(),
        line: None,
    };
    Note::new(&spot, fate, "", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(slug: &str, id: Option<i64>, domain: &str, aliases: &[&str]) -> Row {
        Row {
            file: format!("{slug}{id:?}.ini"),
            slug: slug.to_owned(),
            id,
            domain: domain.to_owned(),
            aliases: aliases.iter().map(ToString::to_string).collect(),
            ..Row::default()
        }
    }

    #[test]
    fn the_first_has_what_two_want() {
        let mut rows = vec![
            row("a", Some(1), "a.example", &["www.a.example"]),
            row("a", Some(2), "", &[]),
            row("b", Some(1), "", &[]),
            row("c", None, "www.a.example", &["c.example", "a.example"]),
        ];
        let notes = resolve(&mut rows);
        let slugs: Vec<_> = rows.iter().map(|row| row.slug.as_str()).collect();
        assert_eq!(slugs, ["a", "c"]);
        assert_eq!(rows[1].domain, "");
        assert_eq!(rows[1].aliases, ["c.example"]);
        let fates: Vec<_> = notes.iter().map(|note| note.fate).collect();
        assert_eq!(fates, [Fate::Failed, Fate::Failed, Fate::Lost, Fate::Lost]);
    }
}
