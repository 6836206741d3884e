//! Documents of rows become values, field by field, and values become documents. What a field may
//! hold is `site-model`'s to say.

use std::fmt::Display;

use site_model::{Alias, AliasKind, HostPattern, Hostname, RunAs, SiteId, Slug, SlugError};
use site_registry::{NewSite, Row, SiteChange};
use thiserror::Error;
use wire::control::{
    AliasDocument, AliasKindDocument, NewRowDocument, RowChangeDocument, RowDocument,
};

/// A field holds what it can't hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {detail}")]
pub(crate) struct FieldError {
    /// Its name.
    field: &'static str,
    /// What is wrong with its value.
    detail: String,
}

fn wrong(field: &'static str) -> impl Fn(&dyn Display) -> FieldError {
    move |detail| FieldError {
        field,
        detail: detail.to_string(),
    }
}

fn parse<T, E: Display>(
    field: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, FieldError> {
    parse(text).map_err(|error| wrong(field)(&error))
}

/// `""` clears a column.
fn parse_column<T, E: Display>(
    field: &'static str,
    text: &str,
    of: impl Fn(&str) -> Result<T, E>,
) -> Result<Option<T>, FieldError> {
    match text {
        "" => Ok(None),
        text => parse(field, text, of).map(Some),
    }
}

/// A row to insert.
pub(super) fn new_site(row: &NewRowDocument) -> Result<NewSite, FieldError> {
    let id = row.id.map(SiteId::new).transpose();
    Ok(NewSite {
        slug: parse("slug", &row.slug, str::parse)?,
        id: id.map_err(|error| wrong("id")(&error))?,
        domain: parse_column("domain", &row.domain, Hostname::parse)?,
        aliases: row.aliases.iter().map(alias).collect::<Result<_, _>>()?,
        enabled: row.enabled,
        template: parse_column("template", &row.template, str::parse)?,
        extra_config: row.extra_config.clone(),
        run_as: parse_column("run_as", &row.run_as, RunAs::parse)?,
        pool: parse_column("pool", &row.pool, pool)?,
    })
}

/// Columns and hosts to change.
pub(super) fn site_change(change: &RowChangeDocument) -> Result<SiteChange, FieldError> {
    let slug = change.slug.as_deref();
    let domain = change.domain.as_deref();
    let template = change.template.as_deref();
    let run_as = change.run_as.as_deref();
    Ok(SiteChange {
        slug: slug
            .map(|text| parse("slug", text, str::parse))
            .transpose()?,
        domain: domain
            .map(|text| parse_column("domain", text, Hostname::parse))
            .transpose()?,
        enabled: change.enabled,
        template: template
            .map(|text| parse_column("template", text, str::parse))
            .transpose()?,
        extra_config: change.extra_config.clone(),
        run_as: run_as
            .map(|text| parse_column("run_as", text, RunAs::parse))
            .transpose()?,
        pool: change
            .pool
            .as_deref()
            .map(|text| parse_column("pool", text, pool))
            .transpose()?,
        remove_aliases: removed_hosts(change)?,
        add_aliases: change
            .add_aliases
            .iter()
            .map(alias)
            .collect::<Result<_, _>>()?,
    })
}

/// A pool is called what a site could be.
fn pool(name: &str) -> Result<String, SlugError> {
    Slug::of_pool(name).map(|_| name.to_owned())
}

fn removed_hosts(change: &RowChangeDocument) -> Result<Vec<HostPattern>, FieldError> {
    let hosts = change.remove_aliases.iter();
    hosts
        .map(|host| parse("remove_aliases", host, HostPattern::parse))
        .collect()
}

fn alias(document: &AliasDocument) -> Result<Alias, FieldError> {
    Ok(Alias {
        pattern: parse("aliases", &document.host, HostPattern::parse)?,
        kind: match document.kind {
            AliasKindDocument::Alias => AliasKind::Alias,
            AliasKindDocument::Redirect => AliasKind::Redirect,
        },
    })
}

/// A row as a document.
pub(crate) fn document(row: &Row) -> RowDocument {
    match row {
        Row::Site(site) => RowDocument {
            id: site.id.get(),
            slug: site.slug.to_string(),
            domain: text(site.domain.as_ref()),
            aliases: site.aliases.iter().map(alias_document).collect(),
            enabled: site.enabled,
            template: text(site.template.as_ref()),
            extra_config: site.extra_config.to_string(),
            run_as: text(site.run_as.as_ref()),
            pool: site.pool.as_deref().map(ToOwned::to_owned),
            rejected: None,
        },
        Row::Rejected(rejected) => RowDocument {
            id: rejected.id.get(),
            slug: rejected.slug.clone(),
            domain: String::new(),
            aliases: Vec::new(),
            enabled: true,
            template: String::new(),
            extra_config: String::new(),
            run_as: String::new(),
            pool: None,
            rejected: Some(rejected.reason.to_string()),
        },
    }
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn alias_document(alias: &Alias) -> AliasDocument {
    AliasDocument {
        host: alias.pattern.to_string(),
        kind: match alias.kind {
            AliasKind::Alias => AliasKindDocument::Alias,
            AliasKind::Redirect => AliasKindDocument::Redirect,
        },
    }
}
