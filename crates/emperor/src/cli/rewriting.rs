//! `emperor db rewrite-domains`: the effective domain of each site, written into its row.

use serde::Serialize;
use site_registry::{DatabaseTarget, DomainChange, Writing, rewrite_domains};

use super::args::RewriteDomains;
use super::failure::Failure;
use super::output;
use super::text::{Cell, Table, Tone, counted, put_line};
use crate::config::Config;
use crate::daemon::{self, AssemblyError, FoundationError, RunError};

/// What was written, or would be.
#[derive(Debug, Serialize)]
struct Document {
    /// False: it was only shown.
    written: bool,
    changes: Vec<Change>,
}

#[derive(Debug, Serialize)]
struct Change {
    id: i64,
    slug: String,
    old: String,
    new: String,
    /// The slug was made from the old domain, and is kept in `emperor.django_sites`.
    keeps_slug: bool,
}

/// Runs the command.
pub(super) async fn run(
    command: &RewriteDomains,
    config: &Config,
    target: &DatabaseTarget,
) -> Result<(), Failure> {
    let domains = daemon::domains(&config.domains)
        .map_err(AssemblyError::from)
        .map_err(FoundationError::from)
        .map_err(RunError::from)?;
    let writing = if command.dry_run {
        Writing::Told
    } else {
        Writing::Written
    };
    let changes = rewrite_domains(target, &config.database.source, &domains, writing).await?;
    let document = Document {
        written: !command.dry_run,
        changes: changes.iter().map(Change::from).collect(),
    };
    if command.format.json {
        return Ok(output::print_json(&document)?);
    }
    Ok(output::print(&sheet(&document))?)
}

impl From<&DomainChange> for Change {
    fn from(change: &DomainChange) -> Self {
        Self {
            id: change.site.get(),
            slug: change.slug.clone(),
            old: change.old.clone(),
            new: change.new.to_string(),
            keeps_slug: change.keeps_slug,
        }
    }
}

fn sheet(document: &Document) -> String {
    if document.changes.is_empty() {
        return "every row has its effective domain already\n".to_owned();
    }
    let mut table = Table::new(0, &["ID", "SLUG", "OLD", "", "NEW"]);
    for change in &document.changes {
        let kept = "    its slug was made from the old domain, and is kept in emperor.django_sites";
        let kept = change.keeps_slug.then(|| Tone::Faint.paint(kept));
        table.row(
            vec![
                Cell::number(&change.id),
                Cell::toned(&change.slug, Tone::Heading),
                Cell::new(&change.old),
                Cell::new("→"),
                Cell::new(&change.new),
            ],
            kept.into_iter().collect(),
        );
    }
    let mut text = format!("{}\n", table.render().trim_end());
    let rows = counted(document.changes.len(), "row");
    let done = if document.written {
        "written"
    } else {
        "would be written; nothing was"
    };
    put_line!(text, "\n{rows} {done}");
    text
}
