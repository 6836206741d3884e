//! `emperor template`: what templates there are, and what they make of a site.

use site_model::TemplateName;
use wire::control::{PoolPlaceDocument, ReachDocument, RenderDocument, TemplateDocument};

use super::args::{Format, SiteRef, Template};
use super::client::Client;
use super::failure::Failure;
use super::output;
use super::text::{Cell, Table, Tone, printable, put_line, quoted};

/// Columns that a value gets.
const WIDTH: usize = 50;

/// Runs the command.
pub(super) async fn run(command: &Template, client: &Client) -> Result<(), Failure> {
    match command {
        Template::List(format) => list(*format, client).await,
        Template::Show { name, format } => show(name, *format, client).await,
        Template::Render { site, format } => render(site, *format, client).await,
    }
}

async fn list(format: Format, client: &Client) -> Result<(), Failure> {
    let templates: Vec<TemplateDocument> = client.get("/v1/templates").await?;
    if format.json {
        return Ok(output::print_json(&templates)?);
    }
    let mut table = Table::new(0, &["NAME", "DESCRIPTION", "FROM"]);
    for template in &templates {
        let problem = template.problem.lines();
        table.row(
            vec![
                Cell::toned(&template.name, Tone::Heading),
                Cell::new(&template.description),
                Cell::toned(&template.origin, Tone::Faint),
            ],
            problem
                .map(|line| format!("    {}", Tone::Bad.paint(&printable(line))))
                .collect(),
        );
    }
    Ok(output::print(&table.render())?)
}

async fn show(name: &TemplateName, format: Format, client: &Client) -> Result<(), Failure> {
    let template: TemplateDocument = client.get(&format!("/v1/templates/{name}")).await?;
    if format.json {
        return Ok(output::print_json(&template)?);
    }
    let origin = Tone::Faint.paint(&format!("# {}", template.origin));
    Ok(output::print(&format!("{origin}\n{}", template.text))?)
}

async fn render(site: &SiteRef, format: Format, client: &Client) -> Result<(), Failure> {
    let path = format!("/v1/sites/{}/render", site.as_str());
    let rendered: RenderDocument = client.get(&path).await?;
    if format.json {
        return Ok(output::print_json(&rendered)?);
    }
    Ok(output::print(&sheet(&rendered))?)
}

fn sheet(rendered: &RenderDocument) -> String {
    let mut text = String::new();
    let heading = |text: &mut String, words: &str| {
        put_line!(text, "{}", Tone::Heading.paint(words));
    };
    heading(&mut text, &headline(rendered));
    heading(&mut text, "\ncommand");
    put_line!(text, "  {}", command_line(&rendered.command));
    let dir = rendered
        .working_dir
        .as_deref()
        .unwrap_or("its private folder");
    put_line!(text, "  in {dir}, as {}", rendered.run_as);
    heading(&mut text, "\nenvironment");
    for variable in &rendered.env {
        put_line!(text, "  {}={}", variable.name, printable(&variable.value));
    }
    let others =
        "  besides PATH, HOME, USER, LANG, TZ, NOTIFY_SOCKET and LISTEN_*, each instance's own";
    put_line!(text, "{}", Tone::Faint.paint(others));
    if let Some(pool) = &rendered.pool {
        heading(&mut text, "\nwith each request for this site");
        text.push_str(&request(pool));
    }
    let paths = paths(&rendered.reach);
    if !paths.is_empty() {
        heading(&mut text, "\npaths");
        text.push_str(&paths);
    }
    heading(&mut text, "\nsettings");
    text.push_str(&settings(rendered));
    for file in &rendered.files {
        heading(&mut text, &format!("\nfile {}", file.name));
        for line in file.text.lines() {
            put_line!(text, "  {}", printable(line));
        }
    }
    text
}

fn headline(rendered: &RenderDocument) -> String {
    let id = rendered.id.map(|id| format!(" (id {id})"));
    let pool = rendered.pool.as_ref();
    let pool = pool.map(|pool| format!(" in pool.{}, whose worker this is", pool.name));
    format!(
        "{}{}{}, template {}, revision {}",
        rendered.slug,
        id.unwrap_or_default(),
        pool.unwrap_or_default(),
        rendered.template,
        rendered.revision
    )
}

/// What a pool's worker is told of a site; its environment names none.
fn request(pool: &PoolPlaceDocument) -> String {
    let told = pool.request.iter();
    let told = told.map(|told| match told.name.as_str() {
        header @ "X-Site-Id" => format!("  {header}: {}\n", told.value),
        variable => format!("  {variable}={}\n", told.value),
    });
    told.collect()
}

/// What the walls of its sandbox come to, path by path.
fn paths(reach: &ReachDocument) -> String {
    let parts = [
        ("writes to", &reach.writable),
        ("reads", &reach.readable),
        ("never sees", &reach.inaccessible),
    ];
    let lines = parts
        .iter()
        .flat_map(|(verb, paths)| paths.iter().map(move |path| format!("  {verb} {path}\n")));
    lines.collect()
}

fn settings(rendered: &RenderDocument) -> String {
    let mut table = Table::new(2, &["KEY", "VALUE", "FROM"]);
    for setting in &rendered.settings {
        table.row(
            vec![
                Cell::new(&setting.key),
                Cell::new(cut(&setting.value)),
                Cell::toned(&setting.origin, Tone::Faint),
            ],
            Vec::new(),
        );
    }
    table.render()
}

/// The beginning of a value that would make its column too wide; `--json` has all of it.
fn cut(value: &str) -> String {
    let line = value.lines().next().unwrap_or_default();
    let beginning: String = line.chars().take(WIDTH).collect();
    if beginning.len() < value.len() {
        return format!("{beginning}…");
    }
    beginning
}

/// Program and arguments as one could type them.
fn command_line(argv: &[String]) -> String {
    let words: Vec<_> = argv.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use wire::control::VariableDocument;

    use super::*;

    #[test]
    fn every_path_of_a_sandbox_is_shown() {
        let reach = ReachDocument {
            writable: vec!["/srv/a".into()],
            readable: vec!["/srv/b".into(), "/srv/c".into()],
            inaccessible: Vec::new(),
        };
        assert_eq!(
            paths(&reach),
            "  writes to /srv/a\n  reads /srv/b\n  reads /srv/c\n"
        );
        assert_eq!(paths(&ReachDocument::default()), "");
    }

    #[test]
    fn what_a_pool_is_told_of_a_site_stands_with_its_rendering() {
        let told = |name: &str| VariableDocument {
            name: name.into(),
            value: "3".into(),
        };
        let mut rendered = RenderDocument {
            id: Some(3),
            slug: "portal".into(),
            pool: Some(PoolPlaceDocument {
                name: "small".into(),
                request: vec![told("X-Site-Id"), told("SITE_ID")],
            }),
            template: "uwsgi".into(),
            revision: "00ff".into(),
            run_as: "www-data".into(),
            command: vec!["uwsgi".into()],
            working_dir: None,
            env: vec![],
            files: vec![],
            reach: ReachDocument::default(),
            settings: vec![],
        };
        let text = anstream::adapter::strip_str(&sheet(&rendered)).to_string();
        let of =
            "portal (id 3) in pool.small, whose worker this is, template uwsgi, revision 00ff\n";
        assert!(text.starts_with(of), "{text}");
        let request = "\nwith each request for this site\n  X-Site-Id: 3\n  SITE_ID=3\n";
        assert!(text.contains(request), "{text}");
        (rendered.id, rendered.pool) = (None, None);
        rendered.slug = "pool.small".into();
        assert_eq!(
            headline(&rendered),
            "pool.small, template uwsgi, revision 00ff"
        );
    }

    #[test]
    fn a_command_line_can_be_typed() {
        let argv = ["a", "b c", "", "it's", "fd://3"].map(str::to_owned);
        assert_eq!(command_line(&argv), r"a 'b c' '' 'it'\''s' fd://3");
    }
}
