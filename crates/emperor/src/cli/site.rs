//! `emperor site`: the rows, asked of and changed through the daemon.

use std::io::Read as _;
use std::path::Path;

use site_model::HostPattern;
use wire::control::{
    AliasDocument, AliasKindDocument, NewRowDocument, RowChangeDocument, RowDocument,
};

use super::args::{Columns, Format, Site, SiteAdd, SiteRef, SiteSet};
use super::client::Client;
use super::failure::Failure;
use super::output;
use super::text::{Cell, Table, Tone, printable, put_line};

/// Runs the command.
pub(super) async fn run(command: &Site, client: &Client) -> Result<(), Failure> {
    match command {
        Site::List(format) => list(*format, client).await,
        Site::Show { site, format } => show(site, *format, client).await,
        Site::Add(add) => insert(add, client).await,
        Site::Set(set) => change(&set.site, &changed_row(set)?, client).await,
        Site::Enable { site } => change(site, &enabled(true), client).await,
        Site::Disable { site } => change(site, &enabled(false), client).await,
        Site::Remove { site } => remove(site, client).await,
    }
}

fn path(site: &SiteRef) -> String {
    format!("/v1/sites/{}", site.as_str())
}

async fn list(format: Format, client: &Client) -> Result<(), Failure> {
    let rows: Vec<RowDocument> = client.get("/v1/sites").await?;
    if format.json {
        return Ok(output::print_json(&rows)?);
    }
    Ok(output::print(&table(&rows))?)
}

fn table(rows: &[RowDocument]) -> String {
    let headings = [
        "ID",
        "SLUG",
        "DOMAIN",
        "FURTHER HOSTS",
        "TEMPLATE",
        "RUN AS",
        "ENABLED",
    ];
    let mut table = Table::new(0, &headings);
    for row in rows {
        let hosts: Vec<_> = row.aliases.iter().map(alias_words).collect();
        let beneath = row.rejected.iter().flat_map(|reason| reason.lines());
        table.row(
            vec![
                Cell::number(&row.id),
                Cell::toned(&row.slug, Tone::Heading),
                Cell::new(&row.domain),
                Cell::new(hosts.join(", ")),
                Cell::new(&row.template),
                Cell::new(&row.run_as),
                Cell::new(enabled_words(row)),
            ],
            beneath
                .map(|line| format!("    {}", Tone::Bad.paint(&printable(line))))
                .collect(),
        );
    }
    table.render()
}

fn alias_words(alias: &AliasDocument) -> String {
    match alias.kind {
        AliasKindDocument::Alias => alias.host.clone(),
        AliasKindDocument::Redirect => format!("{} (redirect)", alias.host),
    }
}

fn enabled_words(row: &RowDocument) -> &'static str {
    match (&row.rejected, row.enabled) {
        (Some(_), _) => "",
        (None, true) => "yes",
        (None, false) => "no",
    }
}

async fn show(site: &SiteRef, format: Format, client: &Client) -> Result<(), Failure> {
    let row: RowDocument = client.get(&path(site)).await?;
    if format.json {
        return Ok(output::print_json(&row)?);
    }
    Ok(output::print(&sheet(&row))?)
}

fn sheet(row: &RowDocument) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        for (number, part) in value.lines().enumerate() {
            let name = if number == 0 { name } else { "" };
            let name = Tone::Faint.paint(&format!("{name:<14}"));
            put_line!(text, "{name}{}", printable(part));
        }
    };
    line("id", &row.id.to_string());
    line("slug", &row.slug);
    if let Some(reason) = &row.rejected {
        line("rejected", reason);
        return text;
    }
    line("domain", &row.domain);
    let hosts: Vec<_> = row.aliases.iter().map(alias_words).collect();
    line("further hosts", &hosts.join("\n"));
    line("enabled", enabled_words(row));
    line("template", &row.template);
    line("run as", &row.run_as);
    line("pool", row.pool.as_deref().unwrap_or_default());
    line("extra config", row.extra_config.trim_matches('\n'));
    text
}

async fn insert(add: &SiteAdd, client: &Client) -> Result<(), Failure> {
    let row = new_row(add)?;
    let row: RowDocument = client.post("/v1/sites", &row).await?;
    let said = format!(
        "site {} has id {}; emperor status {0} shows how it starts\n",
        row.slug, row.id
    );
    Ok(output::print(&said)?)
}

fn new_row(add: &SiteAdd) -> Result<NewRowDocument, Failure> {
    let columns = &add.columns;
    Ok(NewRowDocument {
        slug: add.slug.to_string(),
        id: add.id.map(site_model::SiteId::get),
        domain: columns.domain.clone().unwrap_or_default(),
        aliases: aliases(columns),
        enabled: !add.disabled,
        template: columns.template.clone().unwrap_or_default(),
        extra_config: extra_config(columns)?.unwrap_or_default(),
        run_as: columns.run_as.clone().unwrap_or_default(),
        pool: columns.pool.clone().unwrap_or_default(),
    })
}

fn changed_row(set: &SiteSet) -> Result<RowChangeDocument, Failure> {
    let columns = &set.columns;
    let removed = set.remove_alias.iter();
    Ok(RowChangeDocument {
        slug: set.slug.as_ref().map(ToString::to_string),
        domain: columns.domain.clone(),
        enabled: None,
        template: columns.template.clone(),
        extra_config: extra_config(columns)?,
        run_as: columns.run_as.clone(),
        pool: columns.pool.clone(),
        add_aliases: aliases(columns),
        remove_aliases: removed.map(ToString::to_string).collect(),
    })
}

fn enabled(enabled: bool) -> RowChangeDocument {
    RowChangeDocument {
        enabled: Some(enabled),
        ..RowChangeDocument::default()
    }
}

async fn change(
    site: &SiteRef,
    change: &RowChangeDocument,
    client: &Client,
) -> Result<(), Failure> {
    if *change == RowChangeDocument::default() {
        return Err(Failure::NothingToChange);
    }
    let row: RowDocument = client.patch(&path(site), change).await?;
    let said = format!(
        "site {} is changed; emperor status {0} shows what becomes of it\n",
        row.slug
    );
    Ok(output::print(&said)?)
}

async fn remove(site: &SiteRef, client: &Client) -> Result<(), Failure> {
    client.delete(&path(site)).await?;
    Ok(output::print(&format!(
        "site {} is removed\n",
        site.as_str()
    ))?)
}

fn aliases(columns: &Columns) -> Vec<AliasDocument> {
    let of_kind = |kind: AliasKindDocument| {
        move |host: &HostPattern| AliasDocument {
            host: host.to_string(),
            kind,
        }
    };
    let served = columns.alias.iter().map(of_kind(AliasKindDocument::Alias));
    let redirected = columns
        .redirect
        .iter()
        .map(of_kind(AliasKindDocument::Redirect));
    served.chain(redirected).collect()
}

fn extra_config(columns: &Columns) -> Result<Option<String>, Failure> {
    columns.extra_config.as_deref().map(read).transpose()
}

fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .read_to_string(&mut text)
            .map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    text.map_err(|source| Failure::Unreadable {
        path: path.to_owned(),
        source,
    })
}
