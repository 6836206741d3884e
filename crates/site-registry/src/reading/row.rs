//! One row as text, and what becomes of it: a [`Site`] or a rejection that names the column.
//!
//! Serves both sources of rows, PostgreSQL and the snapshot on disk, so a row means the same from
//! either. No I/O.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use site_model::{
    Alias, AliasKind, HostPattern, Hostname, RejectedSite, RejectionReason, RunAs, Site, SiteId,
    Slug,
};

use crate::desired::Row;

/// A row's columns, unparsed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RawRow {
    pub(crate) id: i64,
    pub(crate) slug: String,
    pub(crate) domain: String,
    pub(crate) enabled: bool,
    pub(crate) template: String,
    pub(crate) extra_config: String,
    /// Only Django's rows have it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) extra_uwsgi_ini: String,
    pub(crate) run_as: String,
    pub(crate) pool: Option<String>,
    pub(crate) reloads: i64,
    /// Host and kind.
    pub(crate) domains: Vec<(String, String)>,
}

/// The most characters of a slug.
const MAX_SLUG: usize = 63;

/// A slug out of a text in lower case: what can't stand in one becomes a hyphen.
pub(crate) fn made_slug(text: &str) -> String {
    let letters = text.chars().map(|c| match c {
        'a'..='z' | '0'..='9' => c,
        _ => '-',
    });
    let slug: String = letters.skip_while(|c| *c == '-').take(MAX_SLUG).collect();
    slug.trim_end_matches('-').to_owned()
}

/// What the columns are called where the row is from, for whoever has to mend one of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) slug: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) template: &'static str,
    pub(crate) run_as: &'static str,
    pub(crate) reloads: &'static str,
    pub(crate) host: &'static str,
    pub(crate) kind: &'static str,
}

impl Columns {
    /// Those of schema `emperor`.
    pub(crate) const OF_EMPEROR: Self = Self {
        slug: "slug",
        domain: "domain",
        template: "template",
        run_as: "run_as",
        reloads: "reloads",
        host: "domains.host",
        kind: "domains.kind",
    };
}

impl RawRow {
    /// Parses every column of a row of `emperor.sites`; the first that can't be parsed rejects the
    /// row.
    pub(crate) fn parse(self, id: SiteId) -> Row {
        self.parse_as(id, &Columns::OF_EMPEROR)
    }

    /// The same of a row from elsewhere.
    pub(crate) fn parse_as(self, id: SiteId, columns: &Columns) -> Row {
        let slug = self.slug.clone();
        match self.into_site(id, columns) {
            Ok(site) => Row::Site(Arc::new(site)),
            Err(reason) => Row::Rejected(Arc::new(RejectedSite { id, slug, reason })),
        }
    }

    fn into_site(self, id: SiteId, columns: &Columns) -> Result<Site, RejectionReason> {
        let domain = optional(columns.domain, &self.domain, Hostname::parse)?;
        let mut aliases = self
            .domains
            .iter()
            .map(|(host, kind)| alias(host, kind, columns))
            .collect::<Result<Vec<_>, _>>()?;
        // A further host that is the domain itself says nothing, and as a redirect it would lead to
        // itself for ever.
        aliases.retain(|alias| match &alias.pattern {
            HostPattern::Exact(host) => Some(host) != domain.as_ref(),
            HostPattern::Wildcard(_) => true,
        });
        aliases.sort();
        Ok(Site {
            id,
            // A pool has no row: only what was written down of its vassal is read as one.
            slug: if id.is_pool() {
                Slug::of_vassal(&self.slug)
            } else {
                self.slug.parse()
            }
            .map_err(in_column(columns.slug))?,
            domain,
            aliases: aliases.into(),
            enabled: self.enabled,
            template: optional(columns.template, &self.template, str::parse)?,
            extra_config: self.extra_config.into(),
            extra_uwsgi_ini: self.extra_uwsgi_ini.into(),
            run_as: optional(columns.run_as, &self.run_as, RunAs::parse)?,
            pool: self.pool.filter(|name| !name.is_empty()).map(Into::into),
            reloads: u64::try_from(self.reloads).map_err(in_column(columns.reloads))?,
        })
    }
}

impl From<&Site> for RawRow {
    fn from(site: &Site) -> Self {
        let text = |value: Option<String>| value.unwrap_or_default();
        Self {
            id: site.id.get(),
            slug: site.slug.to_string(),
            domain: text(site.domain.as_ref().map(ToString::to_string)),
            enabled: site.enabled,
            template: text(site.template.as_ref().map(ToString::to_string)),
            extra_config: site.extra_config.to_string(),
            extra_uwsgi_ini: site.extra_uwsgi_ini.to_string(),
            run_as: text(site.run_as.as_ref().map(ToString::to_string)),
            pool: site.pool.as_deref().map(ToOwned::to_owned),
            reloads: i64::try_from(site.reloads).unwrap_or(i64::MAX),
            domains: site
                .aliases
                .iter()
                .map(|alias| (alias.pattern.to_string(), kind_text(alias.kind).to_owned()))
                .collect(),
        }
    }
}

/// A row as text, for whoever has to know it again: [`row_from_text`] reads it.
pub fn row_text(site: &Site) -> String {
    // Numbers and texts are always JSON; no row at all would be read as none.
    serde_json::to_string(&RawRow::from(site)).unwrap_or_default()
}

/// Reads what [`row_text`] wrote; `None`: that is no row, or one that can't be run.
pub fn row_from_text(text: &str) -> Option<Arc<Site>> {
    let raw: RawRow = serde_json::from_str(text).ok()?;
    let id = SiteId::of_vassal(raw.id).ok()?;
    match raw.parse(id) {
        Row::Site(site) => Some(site),
        Row::Rejected(_) => None,
    }
}

/// The word of the column `kind`.
pub(crate) const fn kind_text(kind: AliasKind) -> &'static str {
    match kind {
        AliasKind::Alias => "alias",
        AliasKind::Redirect => "redirect",
    }
}

fn alias(host: &str, kind: &str, columns: &Columns) -> Result<Alias, RejectionReason> {
    let kind = match kind {
        "alias" => AliasKind::Alias,
        "redirect" => AliasKind::Redirect,
        other => {
            return Err(in_column(columns.kind)(format!(
                "{other:?} is neither alias nor redirect"
            )));
        }
    };
    let pattern = HostPattern::parse(host)
        .map_err(|error| in_column(columns.host)(format!("{host:?}: {error}")))?;
    Ok(Alias { pattern, kind })
}

/// `''` is how a column says that it has no value.
fn optional<T, E: ToString>(
    column: &'static str,
    text: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, RejectionReason> {
    match text {
        "" => Ok(None),
        text => parse(text).map(Some).map_err(in_column(column)),
    }
}

fn in_column<E: ToString>(column: &'static str) -> impl FnOnce(E) -> RejectionReason {
    move |error| RejectionReason::Column {
        column,
        detail: error.to_string(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn raw(id: i64) -> RawRow {
        RawRow {
            id,
            slug: format!("site-{id}"),
            domain: format!("www{id}.example"),
            enabled: true,
            template: "demo".into(),
            extra_config: "[vars]\n".into(),
            extra_uwsgi_ini: String::new(),
            run_as: "auto".into(),
            pool: None,
            reloads: 3,
            domains: vec![("*.example".into(), "redirect".into())],
        }
    }

    fn check(change: impl FnOnce(&mut RawRow), column: &str) {
        let mut row = raw(7);
        change(&mut row);
        let id = SiteId::new(7).unwrap();
        let Row::Rejected(rejected) = row.clone().parse(id) else {
            panic!("{row:?} was taken for a site");
        };
        assert_eq!((rejected.id, &rejected.slug), (id, &row.slug));
        let RejectionReason::Column { column: found, .. } = rejected.reason else {
            panic!("{:?}", rejected.reason);
        };
        assert_eq!(found, column);
    }

    #[test]
    fn a_bad_column_is_named() {
        check(|row| row.slug = "A".into(), "slug");
        check(|row| row.domain = "*.example".into(), "domain");
        check(|row| row.template = "../x".into(), "template");
        check(|row| row.run_as = "no one".into(), "run_as");
        check(|row| row.reloads = -1, "reloads");
        check(|row| row.domains[0].0 = "a b".into(), "domains.host");
        check(|row| row.domains[0].1 = "other".into(), "domains.kind");
    }

    #[test]
    fn an_alias_that_is_the_domain_itself_is_left_out() {
        let mut row = raw(7);
        row.domains.push(("www7.example".into(), "redirect".into()));
        let Row::Site(site) = row.parse(SiteId::new(7).unwrap()) else {
            panic!("a good row was rejected");
        };
        assert_eq!(site.aliases.len(), 1);
    }

    #[test]
    fn neighbours_hold_the_name_of_their_template_together() {
        let [first, mut second] = [7, 8].map(|id| raw(id).parse(SiteId::new(id).unwrap()));
        second.share(&first);
        let [first, second] = [first, second].map(|row| match row {
            Row::Site(site) => site.template.clone().unwrap(),
            Row::Rejected(rejected) => panic!("{}", rejected.reason),
        });
        assert_eq!(first.as_str().as_ptr(), second.as_str().as_ptr());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_good_row_survives_the_journey(
            slug in "[a-z0-9-]{0,5}", domain in "\\PC{0,12}", template in "\\PC{0,6}",
            run_as in "\\PC{0,6}", host in "\\PC{0,12}", kind in "(alias|redirect|x)"
        ) {
            let id = SiteId::new(7).unwrap();
            let row = RawRow { slug, domain, template, run_as, domains: vec![(host, kind)], ..raw(7) };
            if let Row::Site(site) = row.parse(id) {
                let again = RawRow::from(&*site).parse(id);
                prop_assert_eq!(again, Row::Site(site));
            }
        }
    }
}
