//! `database.source`: which tables sites are in, with the keys that belong to each.

use std::time::Duration;

use site_registry::{DjangoTables, QuerySource, RowSource};

use super::document::Section;

/// The longest name that PostgreSQL gives anything.
const MAX_NAME: usize = 63;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Emperor,
    Django,
    Query,
}

/// Reads the keys of `[database]` that say where rows come from, and how often those of a query are
/// read.
pub(super) fn read(section: &mut Section<'_>) -> (RowSource, Duration) {
    let kind = section.parsed("source", Kind::Emperor, kind);
    let schema = section.parsed("django_schema", "public".to_owned(), schema);
    let query = section.text("query");
    let channel = section.parsed("channel", String::new(), channel);
    let poll = section.duration("poll", Duration::from_secs(5));
    let source = match (kind, &query) {
        (Kind::Emperor, _) => RowSource::Emperor,
        (Kind::Django, _) => RowSource::Django(DjangoTables { schema }),
        (Kind::Query, query) => RowSource::Query(QuerySource {
            query: query
                .as_ref()
                .map(|text| text.text.to_owned())
                .unwrap_or_default(),
            channel,
        }),
    };
    let findings = section.findings();
    match (kind, query) {
        (Kind::Query, None) => {
            findings.report(
                section.span(),
                "source = \"query\" needs `query`, an SQL statement",
            );
        }
        (Kind::Emperor | Kind::Django, Some(text)) => {
            findings.report(text.span, "`query` is read with source = \"query\" alone");
        }
        (Kind::Query, Some(_)) | (Kind::Emperor | Kind::Django, None) => {}
    }
    (source, poll)
}

fn kind(text: &str) -> Result<Kind, &'static str> {
    match text {
        "emperor" => Ok(Kind::Emperor),
        "django" => Ok(Kind::Django),
        "query" => Ok(Kind::Query),
        _ => Err(
            "a source is \"emperor\", the table emperor.sites, \"django\", the tables that Django \
             keeps, or \"query\", the rows of database.query",
        ),
    }
}

fn schema(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > MAX_NAME || text.contains('\0') {
        return Err("the name of a schema has 1 to 63 bytes");
    }
    Ok(text.to_owned())
}

/// The emperor's own channels have payloads of their own.
fn channel(text: &str) -> Result<String, &'static str> {
    if text.len() > MAX_NAME || text.contains('\0') || text.starts_with("emperor") {
        return Err("the name of a channel has at most 63 bytes and doesn't begin with emperor");
    }
    Ok(text.to_owned())
}
