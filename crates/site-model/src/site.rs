//! A site as its operator wrote it: one row of desired state, parsed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::{HostPattern, Hostname, SiteId, Slug};

/// One valid row of `emperor.sites` with its `emperor.domains`.
///
/// What its template and overlay make of it is decided elsewhere: `extra_config` is still text
/// here, so that a mistake in it is reported as that site's and nobody else's. Nothing in it grows, so
/// nothing has room to: there may be very many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Primary key, the worker's `SITE_ID`.
    pub id: SiteId,
    /// Unique short name.
    pub slug: Slug,
    /// The real domain; `None` where the row has `''`, and the host is made from the slug.
    pub domain: Option<Hostname>,
    /// Further hosts, sorted by pattern.
    pub aliases: Box<[Alias]>,
    /// False: the site is known but not run.
    pub enabled: bool,
    /// Which template; `None` where the row has `''`, and `[vassal] template` decides.
    pub template: Option<TemplateName>,
    /// The site's own overlay, in TOML.
    pub extra_config: Box<str>,
    /// Lines for uWSGI's ini, where Django keeps some for it.
    pub extra_uwsgi_ini: Box<str>,
    /// The user it runs as; `None` where the row has `''`.
    pub run_as: Option<RunAs>,
    /// Name of the pool it shares a vassal with, if any.
    pub pool: Option<Box<str>>,
    /// How often `emperor.reload()` was called for it: a moved count replaces its instances even
    /// though nothing else in the row changed.
    pub reloads: u64,
}

/// A further host of a site.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias {
    /// The host or the wildcard.
    pub pattern: HostPattern,
    /// What a request for it gets.
    pub kind: AliasKind,
}

/// What a request for an alias gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AliasKind {
    /// The site's page.
    Alias,
    /// 301 to the canonical host.
    Redirect,
}

/// The user a site's workers run as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunAs {
    /// A uid and gid of the site's own, out of `policy.uid_range`, needing no account.
    Auto,
    /// An account of the system, by name.
    User(Arc<str>),
}

/// Name of a template: the stem of its file, in the characters of a file name that needs no care.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateName(Arc<str>);

/// A name was blank or held a character that it can't have.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no name: letters, digits, '-', '_' and '.' are, not beginning with '.' or '-'")]
pub struct BlankName(pub String);

/// A row that can't be run, beside the good ones. It is reported and disturbs nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedSite {
    /// The row's key.
    pub id: SiteId,
    /// The row's slug as it stands there, valid or not.
    pub slug: String,
    /// Why it can't be run.
    pub reason: RejectionReason,
}

/// Why a row can't be run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RejectionReason {
    /// A column holds what it can't hold.
    #[error("column {column}: {detail}")]
    Column {
        /// Name of the column.
        column: &'static str,
        /// What is wrong with its value.
        detail: String,
    },
    /// Another site answers to one of its hosts already.
    #[error("host {host} already belongs to site {owner}; remove it from one of the two")]
    HostTaken {
        /// The host both claim.
        host: HostPattern,
        /// The site that keeps it: the one with the lower id.
        owner: SiteId,
    },
    /// Its template doesn't exist.
    #[error("there is no template {name:?}{}", template_hint(.nearest.as_deref()))]
    UnknownTemplate {
        /// The name in the row.
        name: String,
        /// The template that may have been meant.
        nearest: Option<String>,
    },
    /// Its overlay or a value in it is wrong; the text shows the line.
    #[error("{0}")]
    Configuration(String),
    /// The user it should run as can't be had.
    #[error("run_as: {0}")]
    RunAs(String),
}

/// How to go on where a template doesn't exist: to the one that may have been meant, else to those
/// there are.
pub fn template_hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(
        || "; `emperor template list` names those there are".to_owned(),
        |name| format!("; did you mean {name:?}?"),
    )
}

impl Site {
    /// Holds what is equal in another together with it: most sites have one of a few templates.
    pub fn share(&mut self, other: &Self) {
        if self.template == other.template {
            self.template.clone_from(&other.template);
        }
    }
}

impl RunAs {
    /// Parses the column: `auto` or the name of an account.
    pub fn parse(text: &str) -> Result<Self, BlankName> {
        match text {
            "auto" => Ok(Self::Auto),
            name => checked_name(name).map(|name| Self::User(name.into())),
        }
    }
}

impl fmt::Display for RunAs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::User(name) => f.pad(name),
        }
    }
}

impl TemplateName {
    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TemplateName {
    type Err = BlankName;

    fn from_str(text: &str) -> Result<Self, BlankName> {
        checked_name(text).map(|name| Self(name.into()))
    }
}

impl fmt::Display for TemplateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn checked_name(text: &str) -> Result<String, BlankName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.starts_with(['.', '-']) || !text.chars().all(allowed) {
        return Err(BlankName(text.to_owned()));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_name_can_t_leave_its_folder() {
        for wrong in ["", ".", "..", "../x", "a/b", "-x", ".hidden", "a b"] {
            assert!(
                wrong.parse::<TemplateName>().is_err(),
                "{wrong:?} was taken for a name"
            );
        }
        assert_eq!(
            "gunicorn".parse::<TemplateName>().unwrap().as_str(),
            "gunicorn"
        );
    }

    #[test]
    fn an_unknown_template_is_named_with_the_nearest_or_with_where_to_look() {
        let text = |name: &str, nearest: Option<&str>| {
            let (name, nearest) = (name.to_owned(), nearest.map(ToOwned::to_owned));
            RejectionReason::UnknownTemplate { name, nearest }.to_string()
        };
        assert_eq!(
            text("gunicron", Some("gunicorn")),
            "there is no template \"gunicron\"; did you mean \"gunicorn\"?"
        );
        assert_eq!(
            text("x", None),
            "there is no template \"x\"; `emperor template list` names those there are"
        );
    }
}
