//! `emperor db watches`: which tables are watched, and what a change of a row would do.

use serde::Serialize;
use site_registry::DatabaseTarget;
use site_registry::purges::{self, Explained, Watch};

use super::args::Watches;
use super::failure::Failure;
use super::output;
use super::text::{Tone, printable, put, put_line};

/// A watch as JSON.
#[derive(Debug, Serialize)]
struct WatchDocument {
    table: String,
    kind: String,
    /// The expression; `null`: every site.
    site: Option<String>,
    paths: Option<String>,
    tags: Option<String>,
    /// The columns whose change counts; `null`: all.
    columns: Option<Vec<String>>,
    enabled: bool,
}

/// What a watch would do, as JSON.
#[derive(Debug, Serialize)]
struct ExplainedDocument {
    kind: String,
    /// The site; `null`: every site.
    site: Option<i64>,
    paths: Vec<String>,
    tags: Vec<String>,
}

pub(super) async fn run(command: &Watches, target: &DatabaseTarget) -> Result<(), Failure> {
    match (&command.table, &command.explain) {
        (Some(table), Some(row)) => explain(command, target, table, row).await,
        (table, _) => list(command, target, table.as_deref()).await,
    }
}

async fn list(
    command: &Watches,
    target: &DatabaseTarget,
    table: Option<&str>,
) -> Result<(), Failure> {
    let mut watches = purges::watches(target).await?;
    watches.retain(|watch| table.is_none_or(|table| is_named(&watch.table, table)));
    if command.format.json {
        let documents: Vec<_> = watches.into_iter().map(document).collect();
        return Ok(output::print_json(&documents)?);
    }
    Ok(output::print(&sheet(&watches))?)
}

/// With its schema or without.
fn is_named(table: &str, wanted: &str) -> bool {
    let name = table.rsplit_once('.').map_or(table, |(_, name)| name);
    table == wanted || name == wanted
}

async fn explain(
    command: &Watches,
    target: &DatabaseTarget,
    table: &str,
    row: &serde_json::Value,
) -> Result<(), Failure> {
    let explained = purges::explain(target, table, row).await?;
    if command.format.json {
        let documents: Vec<_> = explained.into_iter().map(explained_document).collect();
        return Ok(output::print_json(&documents)?);
    }
    Ok(output::print(&explanation(&explained))?)
}

fn document(watch: Watch) -> WatchDocument {
    WatchDocument {
        table: watch.table,
        kind: watch.kind,
        site: watch.site,
        paths: watch.paths,
        tags: watch.tags,
        columns: watch.columns,
        enabled: watch.enabled,
    }
}

fn explained_document(explained: Explained) -> ExplainedDocument {
    ExplainedDocument {
        kind: explained.kind,
        site: explained.site,
        paths: explained.paths,
        tags: explained.tags,
    }
}

fn sheet(watches: &[Watch]) -> String {
    if watches.is_empty() {
        return "No table is watched: see emperor.purge_on_change() and \
                emperor.reload_on_change() in docs/SQL.md.\n"
            .to_owned();
    }
    let mut text = String::new();
    for watch in watches {
        let verb = match watch.kind.as_str() {
            "purge" => "purges pages",
            _ => "reloads",
        };
        let table = Tone::Heading.paint(&printable(&watch.table));
        put!(text, "{table} {verb}");
        if !watch.enabled {
            put!(text, " {}", Tone::Bad.paint("(its trigger is disabled)"));
        }
        text.push('\n');
        let mut line = |name: &str, words: &str| {
            let name = Tone::Faint.paint(&format!("{name:<8}"));
            put_line!(text, "  {name} {}", printable(words));
        };
        line("site", watch.site.as_deref().unwrap_or("every site"));
        if let Some(paths) = &watch.paths {
            line("paths", paths);
        }
        if let Some(tags) = &watch.tags {
            line("tags", tags);
        }
        if let Some(columns) = &watch.columns {
            line("columns", &columns.join(", "));
        }
    }
    text
}

fn explanation(explained: &[Explained]) -> String {
    if explained.is_empty() {
        return "a change of this row purges and reloads nothing\n".to_owned();
    }
    let mut text = String::new();
    for one in explained {
        let site = one
            .site
            .map_or("every site".to_owned(), |id| format!("site {id}"));
        let named: Vec<_> = one.paths.iter().chain(&one.tags).collect();
        if one.kind != "purge" {
            put_line!(text, "reloads {site}");
        } else if named.is_empty() {
            put_line!(text, "purges all of {site}");
        } else {
            put_line!(text, "purges of {site}");
            for path in &one.paths {
                put_line!(text, "  path {}", printable(path));
            }
            for tag in &one.tags {
                put_line!(text, "  tag  {}", printable(tag));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn watches_are_shown_as_they_were_made() {
        let watch = |kind: &str, site: Option<&str>| Watch {
            table: "public.blog_post".into(),
            kind: kind.into(),
            site: site.map(Into::into),
            paths: None,
            tags: None,
            columns: None,
            enabled: true,
        };
        let pages = Watch {
            paths: Some("VALUES ('/')".into()),
            columns: Some(vec!["title".into(), "slug".into()]),
            enabled: false,
            ..watch("purge", Some("row.site_id"))
        };
        let shown = sheet(&[pages, watch("reload", None)]);
        assert_snapshot!(strip_str(&shown).to_string(), @"
        public.blog_post purges pages (its trigger is disabled)
          site     row.site_id
          paths    VALUES ('/')
          columns  title, slug
        public.blog_post reloads
          site     every site
        ");
        assert!(is_named("public.blog_post", "blog_post"));
        assert!(!is_named("public.blog_post", "post"));
    }

    #[test]
    fn what_a_row_would_do_is_told_by_site() {
        let one = |kind: &str, site, paths: &[&str]| Explained {
            kind: kind.into(),
            site,
            paths: paths.iter().map(ToString::to_string).collect(),
            tags: vec![],
        };
        let shown = explanation(&[
            one("purge", Some(3), &["/", "/posts/a/"]),
            one("purge", Some(4), &[]),
            one("reload", None, &[]),
        ]);
        assert_snapshot!(shown, @"
        purges of site 3
          path /
          path /posts/a/
        purges all of site 4
        reloads every site
        ");
    }
}
