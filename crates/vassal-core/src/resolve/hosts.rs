//! Effective hosts: which hosts a site answers to on this machine.

use site_model::{Alias, HostPattern, Hostname, RejectionReason, Site};
use thiserror::Error;

use crate::spec::SiteHosts;

/// `[domains]`: how a site gets a host that it doesn't have of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domains {
    rewrite: Rewrite,
    format: String,
}

/// Whose domain is made from the slug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rewrite {
    /// That of sites without one.
    Missing,
    /// That of every site: this is a copy of a live database.
    Every,
}

/// `domains.rewrite_format` yields no host of a site's own.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// All sites would get one host.
    #[error(
        "domains.rewrite_format: {0:?} has no {{slug}} in it, so every site would get one host"
    )]
    NoSlug(String),
    /// What comes of it is no host.
    #[error("domains.rewrite_format: {format:?} yields no host: {cause}")]
    NoHost {
        /// The format.
        format: String,
        /// Why not.
        cause: site_model::HostnameError,
    },
}

impl Domains {
    /// Takes `domains.rewrite` and `domains.rewrite_format`.
    pub fn new(rewrite: Rewrite, format: impl Into<String>) -> Result<Self, FormatError> {
        let format = format.into();
        if !format.contains("{slug}") {
            return Err(FormatError::NoSlug(format));
        }
        match Hostname::parse(&format.replace("{slug}", "x")) {
            Ok(_) => Ok(Self { rewrite, format }),
            Err(cause) => Err(FormatError::NoHost { format, cause }),
        }
    }

    /// The hosts of a site. Its aliases stay as they are, but for one that is its canonical host.
    pub fn hosts(&self, site: &Site) -> Result<SiteHosts, RejectionReason> {
        let canonical = match (self.rewrite, &site.domain) {
            (Rewrite::Missing, Some(domain)) => domain.clone(),
            (Rewrite::Missing, None) | (Rewrite::Every, _) => self.made_host(site)?,
        };
        let own = HostPattern::Exact(canonical.clone());
        let others = site.aliases.iter().filter(|alias| alias.pattern != own);
        let mut aliases: Vec<Alias> = others.cloned().collect();
        aliases.dedup_by(|a, b| a.pattern == b.pattern);
        Ok(SiteHosts {
            canonical,
            aliases: aliases.into(),
        })
    }

    fn made_host(&self, site: &Site) -> Result<Hostname, RejectionReason> {
        let host = self.format.replace("{slug}", site.slug.as_str());
        Hostname::parse(&host).map_err(|error| RejectionReason::Column {
            column: "slug",
            detail: format!("domains.rewrite_format makes {host:?} of it: {error}"),
        })
    }
}

impl Default for Domains {
    fn default() -> Self {
        Self {
            rewrite: Rewrite::Missing,
            format: "{slug}.localhost".to_owned(),
        }
    }
}

impl SiteHosts {
    /// All hosts, the canonical one first.
    pub fn patterns(&self) -> impl Iterator<Item = HostPattern> {
        let aliases = self.aliases.iter().map(|alias| alias.pattern.clone());
        std::iter::once(HostPattern::Exact(self.canonical.clone())).chain(aliases)
    }
}
