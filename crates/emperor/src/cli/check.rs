//! `emperor check`: configuration, templates and every row, read as the daemon reads them, with
//! nothing started and nothing written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imbl::OrdMap;
use serde::Serialize;
use site_model::SiteId;
use site_registry::{DatabaseTarget, Row, read_rows};
use vassal_core::{Catalog, Pooling, Resolution, Want};

use super::args::Format;
use super::db;
use super::failure::Failure;
use super::output;
use super::text::{Tone, counted, printable, put_line};
use crate::config::{self, Config, Surroundings};
use crate::daemon;

/// Everything that was looked at, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// The file; `null`: there is none, or it could not be read as one.
    config: Option<PathBuf>,
    templates: usize,
    /// `null`: the rows could not be read.
    sites: Option<usize>,
    /// Why there are no rows to read although nothing is wrong.
    remark: String,
    problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Serialize)]
struct Problem {
    kind: Kind,
    name: String,
    detail: String,
}

/// What it is wrong with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Configuration,
    Template,
    PurgeTarget,
    Database,
    Site,
    Pool,
}

/// Runs the command.
pub(super) async fn run(format: Format, file: Option<&Path>) -> Result<(), Failure> {
    let report = look(file).await;
    if format.json {
        output::print_json(&report)?;
    } else {
        output::print(&text(&report))?;
    }
    let is_wrong = |kind| report.problems.iter().any(|problem| problem.kind == kind);
    match report.problems.len() {
        0 => Ok(()),
        _ if is_wrong(Kind::Configuration) => Err(Failure::InvalidConfiguration),
        count => Err(Failure::Problems { count }),
    }
}

async fn look(file: Option<&Path>) -> Report {
    let mut report = Report::default();
    let config = match config::load(file, &Surroundings::of_this_process()) {
        Ok(config) => config,
        Err(error) => {
            report.add(Kind::Configuration, "", error.to_string());
            return report;
        }
    };
    report.config.clone_from(&config.file);
    match daemon::assemble(&config) {
        Ok(catalog) => look_further(&mut report, &config, catalog).await,
        Err(error) => report.add(Kind::Configuration, "", error.to_string()),
    }
    report
}

async fn look_further(report: &mut Report, config: &Config, catalog: Catalog) {
    look_at_templates(report, &catalog);
    for target in &config.purge_targets {
        if let Some(absent) = config::purge::absent(target) {
            report.add(Kind::PurgeTarget, &target.name, absent);
        }
    }
    if db::private_socket(config).is_err() {
        return note_private_cluster(report, config);
    }
    let read = match DatabaseTarget::parse(&config.database_url()) {
        Ok(target) => read_rows(&target, &config.database.source).await,
        Err(error) => return report.add(Kind::Configuration, "database.url", error.to_string()),
    };
    match read {
        Ok(read) => look_at_rows(report, &read.rows, catalog),
        Err(error) => report.add(Kind::Database, "", Failure::from(error).to_string()),
    }
}

/// A private cluster that doesn't run may hold rows, unless it was never made.
fn note_private_cluster(report: &mut Report, config: &Config) {
    if let Ok(false) = config.cluster_dir().try_exists() {
        "none yet: the private PostgreSQL is made when `emperor run` first starts"
            .clone_into(&mut report.remark);
        return;
    }
    let detail = "the private PostgreSQL does not run, so no row was checked\n\
                  `emperor status` says why; where no daemon runs, start it: emperor run";
    report.add(Kind::Database, "", detail.to_owned());
}

fn look_at_templates(report: &mut Report, catalog: &Catalog) {
    for template in catalog.templates() {
        report.templates += 1;
        if let Some(problem) = template.problem {
            report.add(Kind::Template, template.name.as_str(), problem.to_string());
        }
    }
}

/// Resolves all of them together, since two may want one host, or share a pool. Yields what is wanted of
/// every vassal.
pub(super) fn resolved(rows: &OrdMap<SiteId, Row>, catalog: Catalog) -> OrdMap<SiteId, Want> {
    let mut resolution = Resolution::new(Arc::new(catalog));
    for row in rows.values() {
        match row {
            Row::Site(site) => resolution.set_site(site),
            Row::Rejected(rejected) => {
                resolution.set_rejected(rejected.id, rejected.reason.clone());
            }
        }
    }
    let pooling = Pooling::to_look_at(resolution.wants(), resolution.catalog());
    pooling.wants().clone()
}

fn look_at_rows(report: &mut Report, rows: &OrdMap<SiteId, Row>, catalog: Catalog) {
    report.sites = Some(rows.len());
    for (id, want) in &resolved(rows, catalog) {
        let Want::Rejected(rejection) = want else {
            continue;
        };
        let (kind, name) = if let Some(row) = rows.get(id) {
            (Kind::Site, format!("{id} ({})", printable(row.slug())))
        } else {
            let name = want.slug().and_then(|slug| slug.pool());
            (Kind::Pool, name.unwrap_or_default().to_owned())
        };
        report.add(kind, &name, rejection.reason.to_string());
    }
}

impl Report {
    fn add(&mut self, kind: Kind, name: &str, detail: String) {
        let name = name.to_owned();
        self.problems.push(Problem { kind, name, detail });
    }
}

fn text(report: &Report) -> String {
    problems(&report.problems) + &summary(report)
}

fn problems(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let title = match problem.kind {
            Kind::Configuration => "configuration",
            Kind::Template => "template",
            Kind::PurgeTarget => "purge target",
            Kind::Database => "database",
            Kind::Site => "site",
            Kind::Pool => "pool",
        };
        let title = format!("{title} {}", problem.name);
        put_line!(
            text,
            "{} {}",
            Tone::Bad.paint("✗"),
            Tone::Heading.paint(title.trim_end())
        );
        for line in problem.detail.lines() {
            let line = format!("    {}", printable(line));
            put_line!(text, "{}", line.trim_end());
        }
        text.push('\n');
    }
    text
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    put_line!(text, "configuration  {}", configuration(report));
    if report.templates > 0 {
        put_line!(text, "templates      {}", report.templates);
    }
    put_line!(text, "sites          {}", sites(report));
    let verdict = match report.problems.len() {
        0 => Tone::Good.paint("nothing is wrong"),
        count => Tone::Bad.paint(&counted(count, "problem")),
    };
    put_line!(text, "{verdict}");
    text
}

fn sites(report: &Report) -> String {
    match report.sites {
        Some(sites) => sites.to_string(),
        None if report.remark.is_empty() => Tone::Bad.paint("not checked"),
        None => report.remark.clone(),
    }
}

fn configuration(report: &Report) -> String {
    let is_refused = |problem: &Problem| problem.kind == Kind::Configuration;
    let refused = report.problems.iter().any(is_refused);
    match &report.config {
        Some(file) if refused => format!("{}, refused", file.display()),
        Some(file) => file.display().to_string(),
        None if refused => "refused".to_owned(),
        None => "none; the defaults stand".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use site_model::{RejectedSite, RejectionReason, Site};

    use super::*;

    fn site(id: i64, slug: &str, extra_config: &str) -> Row {
        Row::Site(Arc::new(Site {
            id: SiteId::new(id).unwrap(),
            slug: slug.parse().unwrap(),
            domain: None,
            aliases: Box::default(),
            enabled: true,
            template: Some("mine".parse().unwrap()),
            extra_config: extra_config.into(),
            run_as: None,
            extra_uwsgi_ini: Box::default(),
            pool: None,
            reloads: 0,
        }))
    }

    fn rejected(id: i64) -> Row {
        Row::Rejected(Arc::new(RejectedSite {
            id: SiteId::new(id).unwrap(),
            slug: "Bad\u{1b}".to_owned(),
            reason: RejectionReason::Column {
                column: "slug",
                detail: "'B' is none of a-z".to_owned(),
            },
        }))
    }

    #[test]
    fn every_problem_is_listed_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let template = "command = [\"/bin/true\"]\n[vars]\nworkers = 1\n";
        std::fs::write(dir.path().join("mine.toml"), template).unwrap();
        std::fs::write(dir.path().join("zz.toml"), "comand = []\n").unwrap();
        let text_of_config = format!("template_dirs = [{:?}]\n", dir.path());
        let surroundings = Surroundings::of_this_process();
        let config = config::parse(&text_of_config, None, &surroundings).unwrap();
        let catalog = daemon::assemble(&config).unwrap();

        let mut report = Report::default();
        look_at_templates(&mut report, &catalog);
        let rows = [
            site(1, "fine", ""),
            site(2, "wrong", "[vars]\nworker = 2\n"),
            rejected(3),
        ];
        let rows = rows.into_iter().map(|row| (row.id(), row)).collect();
        look_at_rows(&mut report, &rows, catalog);
        let text = problems(&report.problems).replace(&*dir.path().to_string_lossy(), "DIR");
        assert_snapshot!(anstream::adapter::strip_str(&text).to_string(), @r#"
        ✗ template zz
            error: unknown key `comand`
             --> DIR/zz.toml:1:1
              |
            1 | comand = []
              | ^^^^^^ did you mean `command`?

        ✗ site 2 (wrong)
            error: the template has no variable `worker`
             --> site 2 extra_config:2:1
              |
            2 | worker = 2
              | ^^^^^^ did you mean `workers`?

        ✗ site 3 (Bad\u{1b})
            column slug: 'B' is none of a-z
        "#);
    }
}
