//! One of Django's rows, and the row of the registry that it means. No I/O.
//!
//! A rejection names the column of Django's that is wrong, since that is where it is mended.

use site_model::{Hostname, SiteId};
use tokio_postgres::{Error, Row as DatabaseRow};

use crate::desired::Row;
use crate::reading::{Columns, RawRow, made_slug};

/// The column that a slug is made from where none is given.
const MADE_FROM: &str = "django_site.domain";

/// What the statement of [`query`](super::query) yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DjangoRow {
    pub(super) id: i64,
    /// `django_site.domain`
    pub(super) name: String,
    /// `django_multisite_plus_site.real_domain`; `None`: it has no row there.
    pub(super) real_domain: Option<String>,
    /// `django_multisite_plus_site.slug`
    pub(super) slug: Option<String>,
    pub(super) is_enabled: Option<bool>,
    pub(super) extra_uwsgi_ini: Option<String>,
    /// `emperor.django_sites.slug`
    pub(super) own_slug: Option<String>,
    pub(super) own_enabled: bool,
    pub(super) template: String,
    pub(super) extra_config: String,
    pub(super) run_as: String,
    pub(super) pool: Option<String>,
    pub(super) reloads: i64,
    /// Host and kind.
    pub(super) domains: Vec<(String, String)>,
}

impl DjangoRow {
    pub(super) fn from_database(row: &DatabaseRow) -> Result<Self, Error> {
        let hosts: Vec<String> = row.try_get("hosts")?;
        let kinds: Vec<String> = row.try_get("kinds")?;
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            real_domain: row.try_get("real_domain")?,
            slug: row.try_get("slug")?,
            is_enabled: row.try_get("is_enabled")?,
            extra_uwsgi_ini: row.try_get("extra_uwsgi_ini")?,
            own_slug: row.try_get("own_slug")?,
            own_enabled: row.try_get("own_enabled")?,
            template: row.try_get("template")?,
            extra_config: row.try_get("extra_config")?,
            run_as: row.try_get("run_as")?,
            pool: row.try_get("pool")?,
            reloads: row.try_get("reloads")?,
            domains: hosts.into_iter().zip(kinds).collect(),
        })
    }

    /// Which column its slug is from.
    pub(super) fn slug_column(&self) -> &'static str {
        self.slug_and_column().1
    }

    /// Whether another `django_site.domain` would be another slug.
    pub(super) fn makes_slug(&self) -> bool {
        self.slug_column() == MADE_FROM
    }

    /// Parses every column.
    pub(super) fn parse(self, id: SiteId) -> Row {
        let columns = Columns {
            slug: self.slug_column(),
            domain: self.domain_column(),
            template: "emperor.django_sites.template",
            run_as: "emperor.django_sites.run_as",
            host: "multisite_alias.domain",
            ..Columns::OF_EMPEROR
        };
        let row = RawRow {
            id: self.id,
            slug: self.slug_and_column().0,
            domain: self.real_domain.unwrap_or(self.name),
            enabled: self.is_enabled.unwrap_or(true) && self.own_enabled,
            template: self.template,
            extra_config: self.extra_config,
            extra_uwsgi_ini: self.extra_uwsgi_ini.unwrap_or_default(),
            run_as: self.run_as,
            pool: self.pool,
            reloads: self.reloads,
            domains: self.domains,
        };
        row.parse_as(id, &columns)
    }

    const fn domain_column(&self) -> &'static str {
        match self.real_domain {
            Some(_) => "django_multisite_plus_site.real_domain",
            None => "django_site.domain",
        }
    }

    /// The slug that was given, by the operator first; else one made from the domain.
    fn slug_and_column(&self) -> (String, &'static str) {
        let given = |slug: &Option<String>| slug.clone().filter(|slug| !slug.is_empty());
        if let Some(slug) = given(&self.own_slug) {
            return (slug, "emperor.django_sites.slug");
        }
        if let Some(slug) = given(&self.slug) {
            return (slug, "django_multisite_plus_site.slug");
        }
        (slug_of(&self.name), MADE_FROM)
    }
}

/// `www.example.com:8000` makes `www-example-com`. What is no host makes no slug.
fn slug_of(domain: &str) -> String {
    let Ok(host) = Hostname::parse(domain) else {
        return String::new();
    };
    made_slug(host.as_str())
}

#[cfg(test)]
pub(super) mod tests {
    use site_model::{AliasKind, RejectionReason, Site};

    use super::*;

    pub(crate) fn row(id: i64, domain: &str) -> DjangoRow {
        DjangoRow {
            id,
            name: domain.to_owned(),
            real_domain: None,
            slug: None,
            is_enabled: None,
            extra_uwsgi_ini: None,
            own_slug: None,
            own_enabled: true,
            template: String::new(),
            extra_config: String::new(),
            run_as: String::new(),
            pool: None,
            reloads: 0,
            domains: Vec::new(),
        }
    }

    fn parsed(change: impl FnOnce(&mut DjangoRow)) -> Row {
        let mut row = row(7, "www.example.com");
        change(&mut row);
        row.parse(SiteId::new(7).unwrap())
    }

    fn site(change: impl FnOnce(&mut DjangoRow)) -> Site {
        match parsed(change) {
            Row::Site(site) => (*site).clone(),
            Row::Rejected(rejected) => panic!("{rejected:?}"),
        }
    }

    #[test]
    fn a_slug_is_made_from_the_domain_where_none_is_given() {
        for (domain, slug) in [
            ("www.example.com", "www-example-com"),
            ("Example.COM:8000", "example-com"),
            ("bücher.example", "xn--bcher-kva-example"),
            ("_x.example", "x-example"),
            ("[::1]", "1"),
            (
                &format!("{}.{}", "a".repeat(62), "b".repeat(20)),
                &"a".repeat(62),
            ),
        ] {
            assert_eq!(site(|row| row.name = domain.to_owned()).slug.as_str(), slug);
        }
    }

    #[test]
    fn a_given_slug_comes_before_the_domain_and_the_operator_s_before_all() {
        let plus = |row: &mut DjangoRow| row.slug = Some("plus".to_owned());
        assert_eq!(site(plus).slug.as_str(), "plus");
        let own = |row: &mut DjangoRow| {
            plus(row);
            row.own_slug = Some("own".to_owned());
        };
        assert_eq!(site(own).slug.as_str(), "own");
        let blank = |row: &mut DjangoRow| row.slug = Some(String::new());
        assert_eq!(site(blank).slug.as_str(), "www-example-com");
    }

    #[test]
    fn the_real_domain_counts_and_a_blank_one_is_none() {
        let domain = |real: Option<&str>| {
            let site = site(|row| row.real_domain = real.map(str::to_owned));
            site.domain.map(|domain| domain.to_string())
        };
        assert_eq!(domain(None).as_deref(), Some("www.example.com"));
        assert_eq!(
            domain(Some("live.example")).as_deref(),
            Some("live.example")
        );
        assert_eq!(domain(Some("")), None);
    }

    #[test]
    fn a_site_runs_where_both_say_so() {
        for (is_enabled, own_enabled, runs) in [
            (None, true, true),
            (Some(true), true, true),
            (Some(false), true, false),
            (Some(true), false, false),
        ] {
            let site = site(|row| (row.is_enabled, row.own_enabled) = (is_enabled, own_enabled));
            assert_eq!(site.enabled, runs);
        }
    }

    #[test]
    fn aliases_with_ports_and_wildcards_are_hosts() {
        let given = [
            ("example.com:8000", "redirect"),
            ("*.example.com:80", "alias"),
            ("WWW.example.com", "redirect"),
        ];
        let own = |(host, kind): (&str, &str)| (host.to_owned(), kind.to_owned());
        let site = site(|row| row.domains = given.map(own).to_vec());
        let aliases: Vec<_> = site
            .aliases
            .iter()
            .map(|alias| (alias.pattern.to_string(), alias.kind))
            .collect();
        assert_eq!(
            aliases,
            [
                ("example.com".to_owned(), AliasKind::Redirect),
                ("*.example.com".to_owned(), AliasKind::Alias)
            ]
        );
    }

    #[test]
    fn a_rejection_names_the_column_of_django_s() {
        let check = |change: &dyn Fn(&mut DjangoRow), expected: &str| {
            let Row::Rejected(rejected) = parsed(change) else {
                panic!("{expected}: taken for a site");
            };
            let RejectionReason::Column { column, .. } = rejected.reason else {
                panic!("{:?}", rejected.reason);
            };
            assert_eq!(column, expected);
        };
        check(&|row| row.name = "no host".into(), "django_site.domain");
        check(&|row| row.name = String::new(), "django_site.domain");
        check(
            &|row| row.real_domain = Some("no host".into()),
            "django_multisite_plus_site.real_domain",
        );
        check(
            &|row| row.slug = Some("No_Slug".into()),
            "django_multisite_plus_site.slug",
        );
        check(
            &|row| row.domains = vec![("*".into(), "alias".into())],
            "multisite_alias.domain",
        );
        check(
            &|row| row.template = "../x".into(),
            "emperor.django_sites.template",
        );
    }
}
