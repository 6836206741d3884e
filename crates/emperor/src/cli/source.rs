//! `emperor db check-source`: every row of the source, and what would run of it. Nothing is started
//! and nothing is written.

use imbl::OrdMap;
use serde::Serialize;
use site_model::SiteId;
use site_registry::{DatabaseTarget, Row, RowSource, RowsRead, read_rows};
use vassal_core::Want;

use super::args::Format;
use super::check::resolved;
use super::failure::Failure;
use super::output;
use super::text::{Cell, Table, Tone, counted, printable, put_line};
use crate::config::Config;
use crate::daemon::{self, FoundationError, RunError};

/// The source and its rows.
#[derive(Debug, Serialize)]
struct SourceDocument {
    source: String,
    /// Tables of whose changes nobody is told.
    silent: Vec<String>,
    sites: Vec<SiteDocument>,
}

/// One row and what would run of it.
#[derive(Debug, Serialize)]
struct SiteDocument {
    id: i64,
    slug: String,
    verdict: Verdict,
    /// Why not, where it can't be run.
    reason: String,
    hosts: Vec<String>,
    /// Empty: it can't be run, or is not to.
    template: String,
    run_as: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Verdict {
    Runs,
    Disabled,
    Rejected,
}

/// Runs the command.
pub(super) async fn check(
    format: Format,
    config: &Config,
    target: &DatabaseTarget,
) -> Result<(), Failure> {
    let catalog = daemon::assemble(config)
        .map_err(FoundationError::from)
        .map_err(RunError::from)?;
    let source = &config.database.source;
    let read = read_rows(target, source).await?;
    let document = document(source, &read, &resolved(&read.rows, catalog));
    if format.json {
        output::print_json(&document)?;
    } else {
        output::print(&sheet(&document))?;
    }
    let is_rejected = |site: &&SiteDocument| site.verdict == Verdict::Rejected;
    match document.sites.iter().filter(is_rejected).count() {
        0 => Ok(()),
        count => Err(Failure::Problems { count }),
    }
}

fn document(source: &RowSource, read: &RowsRead, wants: &OrdMap<SiteId, Want>) -> SourceDocument {
    SourceDocument {
        source: source_words(source),
        silent: read.silent.clone(),
        sites: sites(&read.rows, wants),
    }
}

fn source_words(source: &RowSource) -> String {
    match source {
        RowSource::Emperor => "emperor: emperor.sites".to_owned(),
        RowSource::Django(tables) => format!("django: {}.django_site", tables.schema),
        RowSource::Query(_) => "query: database.query".to_owned(),
    }
}

fn sites(rows: &OrdMap<SiteId, Row>, wants: &OrdMap<SiteId, Want>) -> Vec<SiteDocument> {
    let wanted = |row: &Row| {
        let want = wants.get(&row.id())?;
        let runs = match want {
            Want::Pooled(membership) => wants.get(&membership.pool)?,
            alone @ (Want::Run(_) | Want::Disabled(_) | Want::Rejected(_)) => alone,
        };
        Some(site(row, want, runs))
    };
    rows.values().filter_map(wanted).collect()
}

/// `runs`: what is wanted of the vassal that answers for it, its own or a pool's.
fn site(row: &Row, want: &Want, runs: &Want) -> SiteDocument {
    let (verdict, reason) = match runs {
        Want::Run(_) | Want::Pooled(_) => (Verdict::Runs, String::new()),
        Want::Disabled(_) => (Verdict::Disabled, String::new()),
        Want::Rejected(rejection) => (Verdict::Rejected, rejection.reason.to_string()),
    };
    let (template, run_as) = match runs {
        Want::Run(spec) => (spec.template.to_string(), spec.run_as.to_string()),
        Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_) => (String::new(), String::new()),
    };
    SiteDocument {
        id: row.id().get(),
        slug: row.slug().to_owned(),
        verdict,
        reason,
        hosts: want.hosts().iter().map(ToString::to_string).collect(),
        template,
        run_as,
    }
}

fn sheet(document: &SourceDocument) -> String {
    let mut table = Table::new(0, &["ID", "SLUG", "", "TEMPLATE", "RUN AS", "HOSTS"]);
    for site in &document.sites {
        let beneath = site.reason.lines();
        table.row(
            vec![
                Cell::number(&site.id),
                Cell::toned(&site.slug, Tone::Heading),
                verdict_cell(site.verdict),
                Cell::new(&site.template),
                Cell::new(&site.run_as),
                Cell::new(site.hosts.join(", ")),
            ],
            beneath
                .map(|line| format!("    {}", Tone::Bad.paint(&printable(line))))
                .collect(),
        );
    }
    let mut text = format!("source  {}\n", printable(&document.source));
    if !document.silent.is_empty() {
        let silent = format!(
            "no trigger tells of changes in {}; emperor db migrate puts them up",
            document.silent.join(", ")
        );
        put_line!(text, "        {}", Tone::Attention.paint(&silent));
    }
    put_line!(text, "\n{}", table.render().trim_end());
    put_line!(text, "\n{}", counted(document.sites.len(), "row"));
    text
}

fn verdict_cell(verdict: Verdict) -> Cell {
    match verdict {
        Verdict::Runs => Cell::toned("runs", Tone::Good),
        Verdict::Disabled => Cell::toned("disabled", Tone::Faint),
        Verdict::Rejected => Cell::toned("rejected", Tone::Bad),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn document(id: i64, slug: &str, verdict: Verdict, reason: &str) -> SiteDocument {
        let runs = verdict == Verdict::Runs;
        let said = |text: &str| if runs { text.to_owned() } else { String::new() };
        SiteDocument {
            id,
            slug: slug.to_owned(),
            verdict,
            reason: reason.to_owned(),
            hosts: vec![format!("{slug}.example")],
            template: said("uwsgi"),
            run_as: said("auto"),
        }
    }

    #[test]
    fn every_row_is_explained() {
        let document = SourceDocument {
            source: "django: public.django_site".to_owned(),
            silent: vec!["multisite_alias".to_owned()],
            sites: vec![
                document(1, "one", Verdict::Runs, ""),
                document(2, "two", Verdict::Disabled, ""),
                document(
                    3,
                    "b\u{1b}d",
                    Verdict::Rejected,
                    "column django_site.domain: wrong",
                ),
            ],
        };
        let text = anstream::adapter::strip_str(&sheet(&document)).to_string();
        assert_snapshot!(text, @r"
        source  django: public.django_site
                no trigger tells of changes in multisite_alias; emperor db migrate puts them up

        ID  SLUG                TEMPLATE  RUN AS  HOSTS
         1  one       runs      uwsgi     auto    one.example
         2  two       disabled                    two.example
         3  b\u{1b}d  rejected                    b\u{1b}d.example
            column django_site.domain: wrong

        3 rows
        ");
    }
}
