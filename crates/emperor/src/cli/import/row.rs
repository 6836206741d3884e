//! A row, and the SQL that inserts it.

use std::collections::BTreeMap;

use serde::Serialize;
use toml::{Table, Value};

use super::super::text::put;

/// What the file becomes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) file: String,
    /// `null`: the next that is free.
    pub(super) id: Option<i64>,
    pub(super) slug: String,
    /// Empty: made from the slug.
    pub(super) domain: String,
    pub(super) aliases: Vec<String>,
    pub(super) enabled: bool,
    pub(super) template: &'static str,
    pub(super) run_as: String,
    pub(super) extra_config: String,
}

/// The overlay of a row.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub(super) vars: Table,
    pub(super) env: BTreeMap<String, String>,
    /// Seconds.
    pub(super) stop_after: Option<u64>,
}

impl Overlay {
    /// Gives a variable of the template a text.
    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.vars.insert(name.to_owned(), literal(value).into());
    }

    /// Adds lines to the ini.
    pub(super) fn options(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| Value::from(literal(line)))
                .collect();
            self.vars.insert("options".to_owned(), lines.into());
        }
    }

    /// As TOML.
    pub(super) fn render(self) -> Result<String, toml::ser::Error> {
        let mut all = Table::new();
        let env = self.env.iter();
        let env: Table = env
            .map(|(name, value)| (name.clone(), literal(value).into()))
            .collect();
        let stop_after = self.stop_after.map(|seconds| format!("{seconds}s"));
        let idle: Table = stop_after
            .map(|after| ("stop_after".to_owned(), after.into()))
            .into_iter()
            .collect();
        for (name, table) in [("vars", self.vars), ("env", env), ("idle", idle)] {
            if !table.is_empty() {
                all.insert(name.to_owned(), table.into());
            }
        }
        toml::to_string_pretty(&all)
    }
}

/// A text as it is, where braces would be rendered.
fn literal(text: &str) -> String {
    let mut done = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = ["{{", "{%", "{#"]
        .iter()
        .filter_map(|open| rest.find(open))
        .min()
    {
        let (before, after) = rest.split_at(at);
        let (opening, behind) = after.split_at(2);
        done.push_str(before);
        put!(done, "{{{{ '{opening}' }}}}");
        rest = behind;
    }
    done.push_str(rest);
    done
}

/// One transaction for psql. A site that is there already keeps its row and its hosts.
pub(super) fn sql(rows: &[Row]) -> String {
    let mut sql = "\
-- Made by `emperor import uwsgi`; for `emperor db psql`. All of it happens, or nothing.
\\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
"
    .to_owned();
    for row in rows {
        put!(sql, "\n-- {}\n{}", one_line(&row.file), insert(row));
    }
    sql.push_str("\nCOMMIT;\n");
    sql
}

fn insert(row: &Row) -> String {
    let mut columns = vec![
        ("slug", quoted(&row.slug)),
        ("domain", quoted(&row.domain)),
        ("enabled", row.enabled.to_string()),
        ("template", quoted(row.template)),
        ("run_as", quoted(&row.run_as)),
        ("extra_config", quoted(&row.extra_config)),
    ];
    if let Some(id) = row.id {
        columns.insert(0, ("id", id.to_string()));
    }
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = columns.iter().map(|(_, value)| value.as_str()).collect();
    let insert = format!(
        "INSERT INTO emperor.sites ({})\nVALUES ({})\nON CONFLICT (slug) DO NOTHING",
        names.join(", "),
        values.join(", ")
    );
    if row.aliases.is_empty() {
        return insert + ";\n";
    }
    let hosts: Vec<_> = row.aliases.iter().map(|host| quoted(host)).collect();
    format!(
        "WITH site AS (\n{insert}\nRETURNING id\n)\n\
         INSERT INTO emperor.domains (host, site_id, kind)\n\
         SELECT host, id, 'alias' FROM site, unnest(ARRAY[{}]) AS host;\n",
        hosts.join(", ")
    )
}

/// A literal of SQL with standard-conforming strings.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What may stand in a comment.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, "?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_row_ends_its_literal() {
        let row = Row {
            file: "/v/a\n.ini".to_owned(),
            slug: "a".to_owned(),
            extra_config: "x = 'it\\'s'; DROP TABLE".to_owned(),
            ..Row::default()
        };
        let sql = sql(&[row]);
        assert!(sql.contains("-- /v/a?.ini\n"), "{sql}");
        assert!(sql.contains("'x = ''it\\''s''; DROP TABLE'"), "{sql}");
    }

    #[test]
    fn braces_are_themselves() {
        assert_eq!(
            literal("a{{b}}{%c{#"),
            "a{{ '{{' }}b}}{{ '{%' }}c{{ '{#' }}"
        );
    }
}
