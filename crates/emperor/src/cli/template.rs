//! `emperor template`: what templates there are, and what they make of a site.

use site_model::TemplateName;
use wire::control::{ReachDocument, RenderDocument, TemplateDocument};

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
    let of = format!(
        "{} (id {}), template {}, revision {}",
        rendered.slug, rendered.id, rendered.template, rendered.revision
    );
    heading(&mut text, &of);
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
    fn a_command_line_can_be_typed() {
        let argv = ["a", "b c", "", "it's", "fd://3"].map(str::to_owned);
        assert_eq!(command_line(&argv), r"a 'b c' '' 'it'\''s' fd://3");
    }
}
