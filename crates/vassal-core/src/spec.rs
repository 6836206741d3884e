//! The resolved specification of a vassal.

use std::fmt;
use std::sync::Arc;

use site_model::{Alias, Hostname, Protocol, Revision, RunAs, Site, SiteId, TemplateName};

use crate::Settings;
pub use crate::launch::{InstanceContext, Launch, Reach, RenderError, RenderedFile};
pub use crate::resolve::{NamesTold, Recipe};
pub use crate::settings::ListenMode;

/// Everything that decides how one site is run: row, template and configuration, resolved.
///
/// Two specifications with one [`revision`](Self::revision) run the same thing. They may differ in what
/// the router alone has to know: hosts that no worker was told of, and what is kept of the pages.
#[derive(Clone)]
pub struct VassalSpec {
    /// The row.
    pub site: Arc<Site>,
    /// The hosts it answers to.
    pub hosts: SiteHosts,
    /// The template it was made from.
    pub template: TemplateName,
    /// What its workers speak.
    pub protocol: Protocol,
    /// Who binds the listening socket.
    pub listen: ListenMode,
    /// Who its workers run as.
    pub run_as: RunAs,
    /// The rest of the settings.
    pub settings: Arc<Settings>,
    /// What is rendered for each instance.
    pub recipe: Recipe,
    /// Which of the site's names its workers are told by that.
    pub told: NamesTold,
    /// As which of its sites a pool's worker is asked whether it is ready; `None`: it serves one site
    /// alone.
    pub asked_as: Option<SiteId>,
    /// The hash of all that makes a worker another one.
    pub revision: Revision,
}

/// Whose page an instance is asked for, to find out how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The host.
    pub host: Hostname,
    /// What a worker of several sites is told besides.
    pub site: Option<SiteId>,
}

impl From<Hostname> for Asked {
    /// Of one that serves one site.
    fn from(host: Hostname) -> Self {
        Self { host, site: None }
    }
}

/// Without what its workers are told: there may be secrets in it, and this gets into the daemon's log.
impl fmt::Debug for VassalSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VassalSpec")
            .field("site", &self.site.id)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

impl VassalSpec {
    /// Whose page its instances are asked for.
    pub fn asked(&self) -> Asked {
        Asked {
            host: self.hosts.canonical.clone(),
            site: self.asked_as,
        }
    }

    /// Whether it runs only when a request wants it to.
    pub fn begins_asleep(&self) -> bool {
        !self.settings.idle.stop_after.is_zero()
    }

    /// What a worker of this one runs now that `wanted` is: the same, reached as is wanted, unless it
    /// was told where it is reached. Then it knows no other hosts, and keeps them until it is replaced.
    pub(crate) fn reached_as(self: Arc<Self>, wanted: &Arc<Self>) -> Arc<Self> {
        if self.revision == wanted.revision {
            return Arc::clone(wanted);
        }
        let NamesTold {
            slug: _,
            domain,
            hosts,
        } = self.told;
        let is_asked_so = self.hosts == wanted.hosts && self.asked_as == wanted.asked_as;
        if domain || hosts || is_asked_so {
            return self;
        }
        Arc::new(Self {
            hosts: wanted.hosts.clone(),
            asked_as: wanted.asked_as,
            ..Self::clone(&self)
        })
    }
}

/// The hosts of a site after rewriting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteHosts {
    /// The one that redirects lead to and that `SITE_DOMAIN` names.
    pub canonical: Hostname,
    /// The others.
    pub aliases: Box<[Alias]>,
}
