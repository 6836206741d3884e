//! `[[site]]`: rows that are kept in the configuration.

use std::fmt::Display;

use site_model::{Hostname, RunAs, SiteId, Slug, SlugError};

use super::document::Section;
use super::model::ConfiguredSite;

/// Reads all of them; ids and slugs are of one each.
pub(super) fn read(sections: Vec<Section<'_>>) -> Vec<ConfiguredSite> {
    let mut sites = Vec::<ConfiguredSite>::new();
    for section in sections {
        let (span, findings) = (section.span(), section.findings());
        let Some(site) = read_one(section) else {
            continue;
        };
        let same_id = |other: &ConfiguredSite| site.id.is_some() && other.id == site.id;
        if sites.iter().any(|other| other.slug == site.slug) {
            findings.report(span, format!("a second site with the slug `{}`", site.slug));
        } else if let Some(other) = sites.iter().find(|other| same_id(other)) {
            findings.report(span, format!("site `{}` has this id already", other.slug));
        }
        sites.push(site);
    }
    sites
}

fn read_one(mut section: Section<'_>) -> Option<ConfiguredSite> {
    let slug = section.required("slug", str::parse);
    let id = section.optional_number("id", SiteId::new);
    let domain = said(&mut section, "domain", Hostname::parse);
    let template = said(&mut section, "template", str::parse);
    let extra_config = section
        .text("extra_config")
        .map(|text| text.text.to_owned());
    let run_as = said(&mut section, "run_as", RunAs::parse);
    let pool = said(&mut section, "pool", pool_name);
    let enabled = section.optional_switch("enabled");
    section.finish();
    Some(ConfiguredSite {
        slug: slug?,
        id,
        domain,
        template,
        extra_config,
        run_as,
        pool,
        enabled,
    })
}

/// A column of a row. An empty text says nothing, as a key that is left out.
fn said<T, E: Display>(
    section: &mut Section<'_>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Option<T> {
    let column = section.parsed_text(name, |text| match text {
        "" => Ok(None),
        text => parse(text).map(Some),
    });
    column.flatten()
}

/// A pool is called what a site could be.
fn pool_name(name: &str) -> Result<String, SlugError> {
    Slug::of_pool(name).map(|_| name.to_owned())
}
