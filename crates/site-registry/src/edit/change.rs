//! What an operator can change, and why it may not come about. No I/O.

use site_model::{Alias, HostPattern, Hostname, RunAs, SiteId, Slug, TemplateName};
use thiserror::Error;

use crate::link::LinkError;

/// A site to add. Only the slug has to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSite {
    /// Its slug.
    pub slug: Slug,
    /// Its id; `None`: the next free one.
    pub id: Option<SiteId>,
    /// Its domain; `None`: made from the slug.
    pub domain: Option<Hostname>,
    /// Further hosts.
    pub aliases: Vec<Alias>,
    /// Whether it runs.
    pub enabled: bool,
    /// Its template; `None`: the default one.
    pub template: Option<TemplateName>,
    /// Its overlay, in TOML.
    pub extra_config: String,
    /// The user it runs as; `None`: the default one.
    pub run_as: Option<RunAs>,
    /// The pool it shares a vassal with.
    pub pool: Option<String>,
}

/// Columns and further hosts to change; `None` leaves a column as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteChange {
    /// `slug`
    pub slug: Option<Slug>,
    /// `domain`; `Some(None)` clears it.
    pub domain: Option<Option<Hostname>>,
    /// `enabled`
    pub enabled: Option<bool>,
    /// `template`; `Some(None)` clears it.
    pub template: Option<Option<TemplateName>>,
    /// `extra_config`
    pub extra_config: Option<String>,
    /// `run_as`; `Some(None)` clears it.
    pub run_as: Option<Option<RunAs>>,
    /// `pool`; `Some(None)` clears it.
    pub pool: Option<Option<String>>,
    /// Further hosts that it doesn't have any more.
    pub remove_aliases: Vec<HostPattern>,
    /// Further hosts that it has from now on, or that are of another kind.
    pub add_aliases: Vec<Alias>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Insert a site with its aliases.
    Add(NewSite),
    /// Change columns and further hosts of a site.
    Set(SiteId, SiteChange),
    /// Delete a site with its aliases.
    Remove(SiteId),
    /// Count up the reloads of some sites.
    Reload(Vec<SiteId>),
    /// Count up the reloads of every site.
    ReloadAll,
}

/// Why a change was not made. Nothing of it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EditError {
    /// There is no such site.
    #[error("there is no site with id {0}")]
    NoSuchSite(SiteId),
    /// The site doesn't have this host.
    #[error(
        "site {site} has no further host {host}; `emperor site show {site}` names those it has"
    )]
    NoSuchDomain {
        /// The site.
        site: SiteId,
        /// The host.
        host: HostPattern,
    },
    /// Another site has this slug.
    #[error("another site has the slug \"{0}\"; choose another one")]
    SlugTaken(Slug),
    /// Another site has this id.
    #[error("another site has the id {0}; leave the id out to get the next free one")]
    IdTaken(SiteId),
    /// Another site has one of the hosts; the text names both.
    #[error("{0}")]
    HostTaken(String),
    /// Somebody else is changing the same rows right now.
    #[error("another transaction holds the rows; try again when it has ended")]
    Locked,
    /// The sites are Django's, and so is this part of them.
    #[error("Django keeps the sites (database.source): {0}")]
    KeptByDjango(&'static str),
    /// The sites are what a query yields.
    #[error("the sites are the rows of database.query; {0}")]
    KeptElsewhere(&'static str),
    /// The database refused the values.
    #[error("the database refused the change: {0}")]
    Refused(String),
    /// There is no link to PostgreSQL, or it was lost or lacked a right under way.
    #[error("PostgreSQL: {0}")]
    Link(LinkError),
    /// The registry has ended.
    #[error("the daemon is stopping")]
    Stopping,
}

impl SiteChange {
    /// A change of `enabled` alone.
    pub fn enabled(enabled: bool) -> Self {
        Self {
            enabled: Some(enabled),
            ..Self::default()
        }
    }

    /// Whether a column of the row changes, and not its further hosts alone.
    pub(super) fn has_columns(&self) -> bool {
        let Self {
            slug,
            domain,
            enabled,
            template,
            extra_config,
            run_as,
            pool,
            remove_aliases: _,
            add_aliases: _,
        } = self;
        slug.is_some()
            || domain.is_some()
            || enabled.is_some()
            || template.is_some()
            || extra_config.is_some()
            || run_as.is_some()
            || pool.is_some()
    }
}
