//! What is to be purged. No I/O.

use site_model::{HostPattern, SiteId};

/// Pages of one site, or of all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Order {
    /// Whose; `None`: every site's.
    pub site: Option<SiteId>,
    /// The hosts the site answers for, or those that are meant. Without a site they mean nothing.
    pub hosts: Vec<HostPattern>,
    /// Which pages.
    pub what: What,
}

/// Which pages of a site are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// Those with one of these paths, whatever their query.
    Paths(Vec<String>),
    /// Those whose path begins with one of these.
    Prefixes(Vec<String>),
    /// Those that carry one of these tags.
    Tags(Vec<String>),
    /// All that stands under the order's hosts, which the site has lost.
    Hosts,
    /// All of them.
    Everything,
}

impl Order {
    /// Everything of every site: what is left to say when nobody knows what was missed.
    pub const fn everything() -> Self {
        Self {
            site: None,
            hosts: Vec::new(),
            what: What::Everything,
        }
    }

    /// The same site, whole.
    pub(crate) fn widened(&self) -> Self {
        Self {
            what: What::Everything,
            ..self.clone()
        }
    }
}
