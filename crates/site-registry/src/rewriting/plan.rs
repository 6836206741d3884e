//! Which domains are to be written, or why that can't be. No I/O.

use std::collections::HashMap;
use std::fmt;

use site_model::{HostPattern, Hostname, RejectionReason, SiteId};
use vassal_core::resolve::Domains;
use vassal_core::spec::SiteHosts;

use crate::desired::{NamedRow, Row};

/// A domain that another one is written over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainChange {
    /// The site.
    pub site: SiteId,
    /// Its slug.
    pub slug: String,
    /// What stands in the column; empty: nothing.
    pub old: String,
    /// What is to stand there.
    pub new: Hostname,
    /// Its slug was made from the old domain. It is kept in `emperor.django_sites`, since another slug
    /// would make another domain again.
    pub keeps_slug: bool,
}

/// Why a site can't have the domain that it would get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// Another site would have it, too.
    Shared {
        /// The host that both would have.
        host: HostPattern,
        /// The two, by id and slug.
        sites: [(SiteId, String); 2],
    },
    /// The column is too short.
    TooLong {
        /// The site, by id and slug.
        site: (SiteId, String),
        /// Its domain.
        domain: Hostname,
        /// How many characters the column has.
        longest: usize,
    },
    /// Its row is wrong, so it has no effective domain.
    Wrong {
        /// The site, by id and slug.
        site: (SiteId, String),
        /// What is wrong.
        reason: Box<RejectionReason>,
    },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shared {
                host,
                sites: [(a, slug_a), (b, slug_b)],
            } => write!(
                f,
                "sites {a} ({slug_a}) and {b} ({slug_b}) would both have the host {host}; give one of \
                 them another slug"
            ),
            Self::TooLong {
                site: (id, slug),
                domain,
                longest,
            } => write!(
                f,
                "site {id} ({slug}) would have the domain {domain}, and the column takes {longest} \
                 characters; shorten its slug or domains.rewrite_format"
            ),
            Self::Wrong {
                site: (id, slug),
                reason,
            } => write!(f, "site {id} ({slug}): {reason}"),
        }
    }
}

/// What is to be written; rows whose domain is the effective one already are left alone.
pub(super) fn plan(
    rows: &[NamedRow],
    domains: &Domains,
    longest: Option<usize>,
) -> Result<Vec<DomainChange>, Vec<Obstacle>> {
    let (mut changes, mut obstacles) = (Vec::new(), Vec::new());
    let mut owners: HashMap<HostPattern, (SiteId, String)> = HashMap::new();
    for named in rows {
        let site = (named.row.id(), named.row.slug().to_owned());
        let hosts = match hosts(&named.row, domains) {
            Ok(hosts) => hosts,
            Err(reason) => {
                let reason = Box::new(reason);
                obstacles.push(Obstacle::Wrong { site, reason });
                continue;
            }
        };
        for host in hosts.patterns() {
            let owner = owners.entry(host.clone()).or_insert_with(|| site.clone());
            if *owner != site {
                let sites = [owner.clone(), site.clone()];
                obstacles.push(Obstacle::Shared { host, sites });
            }
        }
        let domain = hosts.canonical;
        if let Some(longest) = longest.filter(|longest| domain.to_string().len() > *longest) {
            obstacles.push(Obstacle::TooLong {
                site,
                domain,
                longest,
            });
        } else if Hostname::parse(&named.domain).ok().as_ref() != Some(&domain) {
            changes.push(change(named, domain));
        }
    }
    if obstacles.is_empty() {
        Ok(changes)
    } else {
        Err(obstacles)
    }
}

fn hosts(row: &Row, domains: &Domains) -> Result<SiteHosts, RejectionReason> {
    match row {
        Row::Site(site) => domains.hosts(site),
        Row::Rejected(rejected) => Err(rejected.reason.clone()),
    }
}

fn change(named: &NamedRow, new: Hostname) -> DomainChange {
    DomainChange {
        site: named.row.id(),
        slug: named.row.slug().to_owned(),
        old: named.domain.clone(),
        new,
        keeps_slug: named.makes_slug,
    }
}

#[cfg(test)]
mod tests {
    use vassal_core::resolve::Rewrite;

    use super::*;
    use crate::reading::tests::raw;

    fn named(id: i64, slug: &str, domain: &str) -> NamedRow {
        let mut raw = raw(id);
        raw.slug = slug.to_owned();
        raw.domain = domain.to_owned();
        raw.domains = Vec::new();
        NamedRow {
            row: raw.parse(SiteId::new(id).unwrap()),
            domain: domain.to_owned(),
            makes_slug: false,
        }
    }

    fn every(format: &str) -> Domains {
        Domains::new(Rewrite::Every, format).unwrap()
    }

    fn check(rows: &[NamedRow], domains: &Domains, expected: &[&str]) {
        let told: Vec<_> = match plan(rows, domains, Some(30)) {
            Ok(changes) => changes
                .iter()
                .map(|change| format!("{} {} -> {}", change.site, change.old, change.new))
                .collect(),
            Err(obstacles) => obstacles.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn what_differs_is_written_and_nothing_else() {
        let rows = [
            named(1, "one", "one.example"),
            named(2, "two", ""),
            named(3, "three", "three.stage.example"),
        ];
        let stage = "{slug}.stage.example";
        let expected = [
            "1 one.example -> one.stage.example",
            "2  -> two.stage.example",
        ];
        check(&rows, &every(stage), &expected);
        let missing = Domains::new(Rewrite::Missing, stage).unwrap();
        check(&rows, &missing, &["2  -> two.stage.example"]);
    }

    #[test]
    fn case_and_port_make_no_other_domain() {
        let rows = [named(1, "one", "ONE.example:8000")];
        check(&rows, &Domains::default(), &[]);
    }

    #[test]
    fn obstacles_name_the_sites() {
        let shared = "sites 1 (one) and 2 (two) would both have the host two.stage.example; give one of \
                      them another slug";
        let mut one = named(1, "one", "two.stage.example");
        let two = named(2, "two", "");
        let missing = Domains::new(Rewrite::Missing, "{slug}.stage.example").unwrap();
        check(&[one.clone(), two], &missing, &[shared]);
        one = named(1, "a-slug-of-some-length", "");
        let long = "site 1 (a-slug-of-some-length) would have the domain \
                    a-slug-of-some-length.stage.example, and the column takes 30 characters; shorten its \
                    slug or domains.rewrite_format";
        check(&[one], &missing, &[long]);
        let obstacles = plan(&[named(1, "No", "")], &missing, None).unwrap_err();
        let wrong = obstacles[0].to_string();
        assert!(wrong.starts_with("site 1 (No): column slug:"), "{wrong}");
    }
}
