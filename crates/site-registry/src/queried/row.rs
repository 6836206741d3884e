//! One row of a query, and the row of the registry that it means. No I/O.

use serde::Deserialize;
use serde_json::Value;
use site_model::{NotPositive, SiteId};
use thiserror::Error;

use crate::desired::Row;
use crate::reading::{Columns, RawRow, made_slug};

/// The columns of uWSGI's `emperor_pg`, in its order.
pub(super) const PLACES: [&str; 6] = ["name", "config", "ts", "uid", "gid", "socket"];
/// Every column that is understood.
pub(super) const UNDERSTOOD: [&str; 16] = [
    "site_id",
    "slug",
    "domain",
    "enabled",
    "template",
    "extra_config",
    "run_as",
    "pool",
    "hosts",
    "redirects",
    PLACES[0],
    PLACES[1],
    PLACES[2],
    PLACES[3],
    PLACES[4],
    PLACES[5],
];
/// Options of an `emperor_pg` config that say what the emperor sees to.
const TAKEN_OVER: [&str; 7] = [
    "socket",
    "uwsgi-socket",
    "chmod-socket",
    "chown-socket",
    "vacuum",
    "master",
    "die-on-term",
];
const SITE_ID: &str = "SITE_ID=";
/// The template of a row that has a config and names none.
const UWSGI: &str = "uwsgi";

/// Why a row has no place among the others.
#[derive(Debug, Error)]
pub(super) enum Unusable {
    #[error("it holds what its column can't hold: {0}")]
    Value(#[from] serde_json::Error),
    #[error("it has no site_id, nor a config with env = SITE_ID=…")]
    NoId,
    #[error(transparent)]
    Id(#[from] NotPositive),
}

/// A row; NULL is as good as no column.
#[derive(Debug, Default, Deserialize)]
pub(super) struct QueriedRow {
    site_id: Option<i64>,
    slug: Option<String>,
    domain: Option<String>,
    enabled: Option<bool>,
    template: Option<String>,
    extra_config: Option<String>,
    run_as: Option<String>,
    pool: Option<String>,
    hosts: Option<Vec<String>>,
    redirects: Option<Vec<String>>,
    name: Option<String>,
    config: Option<String>,
    uid: Option<Value>,
}

impl QueriedRow {
    /// Reads what the database made of a row, and its id.
    pub(super) fn read(text: &str) -> Result<(SiteId, Self), Unusable> {
        let row: Self = serde_json::from_str(text)?;
        let id = row.site_id.or_else(|| id_in(row.config.as_deref()?));
        Ok((SiteId::new(id.ok_or(Unusable::NoId)?)?, row))
    }

    /// Parses every column.
    pub(super) fn parse(self, id: SiteId, reloads: i64) -> Row {
        let columns = Columns {
            host: "hosts",
            ..Columns::OF_EMPEROR
        };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let slug = given(&self.slug).or_else(|| {
            let name = self
                .name
                .as_deref()
                .map(|name| name.strip_suffix(".ini").unwrap_or(name));
            let text = name.or(self.domain.as_deref())?;
            Some(made_slug(&text.to_ascii_lowercase()))
        });
        let implied = self.config.as_ref().map(|_| UWSGI.to_owned());
        let kind = |hosts: Option<Vec<String>>, kind: &'static str| {
            let hosts = hosts.unwrap_or_default().into_iter();
            hosts.map(move |host| (host, kind.to_owned()))
        };
        let row = RawRow {
            id: id.get(),
            slug: slug.unwrap_or_default(),
            template: given(&self.template).or(implied).unwrap_or_default(),
            run_as: given(&self.run_as)
                .or_else(|| account(self.uid))
                .unwrap_or_default(),
            domain: self.domain.unwrap_or_default(),
            enabled: self.enabled.unwrap_or(true),
            extra_config: self.extra_config.unwrap_or_default(),
            extra_uwsgi_ini: self.config.as_deref().map(own_lines).unwrap_or_default(),
            pool: self.pool,
            reloads,
            domains: kind(self.hosts, "alias")
                .chain(kind(self.redirects, "redirect"))
                .collect(),
        };
        row.parse_as(id, &columns)
    }
}

/// The site that a config is for.
fn id_in(config: &str) -> Option<i64> {
    let mut options = config.lines().filter_map(option);
    let value = options.find_map(|(name, value)| {
        let env = name == "env";
        value.strip_prefix(SITE_ID).filter(|_| env)
    });
    value?.trim().parse().ok()
}

/// The lines that the emperor doesn't see to itself.
fn own_lines(config: &str) -> String {
    let is_own = |line: &&str| {
        option(line).is_none_or(|(name, value)| {
            !(TAKEN_OVER.contains(&name) || name == "env" && value.starts_with(SITE_ID))
        })
    };
    let lines: Vec<_> = config.lines().filter(is_own).collect();
    lines.join("\n")
}

fn option(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once('=')?;
    Some((name.trim(), value.trim()))
}

/// A uid is a name, or a number that is looked up as one.
fn account(uid: Option<Value>) -> Option<String> {
    match uid? {
        Value::String(name) if !name.is_empty() => Some(name),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use site_model::{AliasKind, Site};

    use super::*;

    fn site(text: &str) -> Site {
        let (id, row) = QueriedRow::read(text).unwrap();
        match row.parse(id, 0) {
            Row::Site(site) => (*site).clone(),
            Row::Rejected(rejected) => panic!("{rejected:?}"),
        }
    }

    #[test]
    fn a_row_of_emperor_pg_is_read_as_it_is() {
        let config =
            "[uwsgi]\nenv = SITE_ID=7\nsocket = /run/abc.sock\nworkers = 3\nmaster = true\n";
        let text = serde_json::json!({
            "name": "My_Site.ini", "config": config, "ts": 1.5, "uid": "www", "gid": null,
            "socket": null,
        });
        let site = site(&text.to_string());
        assert_eq!((site.id.get(), site.slug.as_str()), (7, "my-site"));
        assert_eq!(site.template.unwrap().as_str(), "uwsgi");
        assert_eq!(site.run_as.unwrap().to_string(), "www");
        assert_eq!(&*site.extra_uwsgi_ini, "[uwsgi]\nworkers = 3");
        assert!(site.enabled && site.domain.is_none());
    }

    #[test]
    fn a_row_with_columns_of_ours_is_a_site() {
        let text = r#"{"site_id": 3, "slug": "c", "domain": "C.example:80", "enabled": false,
            "hosts": ["*.c.example"], "redirects": ["d.example"], "pool": "p"}"#;
        let site = site(text);
        assert_eq!(site.domain.unwrap().as_str(), "c.example");
        assert!(!site.enabled && site.template.is_none());
        let kinds: Vec<_> = site.aliases.iter().map(|alias| alias.kind).collect();
        assert_eq!(kinds, [AliasKind::Redirect, AliasKind::Alias]);
    }

    #[test]
    fn a_row_without_an_id_is_of_no_site() {
        for text in [
            r#"{"slug": "a"}"#,
            r#"{"site_id": 0, "slug": "a"}"#,
            r#"{"site_id": "x"}"#,
            r#"{"name": "a.ini", "config": "[uwsgi]\nworkers = 1"}"#,
        ] {
            assert!(QueriedRow::read(text).is_err(), "{text}");
        }
    }
}
