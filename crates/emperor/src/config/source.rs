//! `database.source`: which tables sites are in, with the keys that belong to each.

use site_registry::{DjangoTables, RowSource};

use super::document::Section;

/// The longest name that PostgreSQL gives anything.
const MAX_NAME: usize = 63;

/// Reads the keys of `[database]` that say where rows come from.
pub(super) fn read(section: &mut Section<'_>) -> RowSource {
    let is_django = section.parsed("source", false, |text| match text {
        "emperor" => Ok(false),
        "django" => Ok(true),
        _ => Err(
            "a source is \"emperor\", the table emperor.sites, or \"django\", the tables that \
             Django keeps",
        ),
    });
    let schema = section.parsed("django_schema", "public".to_owned(), schema);
    if is_django {
        RowSource::Django(DjangoTables { schema })
    } else {
        RowSource::Emperor
    }
}

fn schema(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > MAX_NAME || text.contains('\0') {
        return Err("the name of a schema has 1 to 63 bytes");
    }
    Ok(text.to_owned())
}
