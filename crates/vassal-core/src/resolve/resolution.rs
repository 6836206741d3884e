//! All rows against one catalog, kept up to date row by row.

use std::sync::Arc;

use imbl::OrdMap;
use site_model::{HostPattern, RejectionReason, Site, SiteId};

use super::catalog::Catalog;
use super::host_index::HostIndex;
use crate::settings::Settings;
use crate::spec::{SiteHosts, VassalSpec};
use crate::{Address, Rejection, Want};

/// What is wanted of every site. A value: cloning it is cheap and shares everything, and `plan` of
/// two clones looks only at what differs.
#[derive(Debug, Clone)]
pub struct Resolution {
    catalog: Arc<Catalog>,
    hosts: HostIndex,
    /// The rows of which something else is wanted than that they run.
    aside: OrdMap<SiteId, Row>,
    wants: OrdMap<SiteId, Want>,
}

/// A row, and what comes of it without regard to the others. One pointer each: there may be 100,000.
#[derive(Debug, Clone)]
enum Row {
    /// It can be run.
    Good(Arc<VassalSpec>),
    /// It is a site that can't be run.
    Bad(Arc<BadSite>),
    /// It became no site.
    Rejected(Arc<RejectionReason>),
}

#[derive(Debug)]
struct BadSite {
    site: Arc<Site>,
    hosts: Option<SiteHosts>,
    reason: RejectionReason,
}

impl Resolution {
    /// No row yet.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            hosts: HostIndex::default(),
            aside: OrdMap::new(),
            wants: OrdMap::new(),
        }
    }

    /// The same rows against another catalog.
    #[must_use]
    pub fn with_catalog(&self, catalog: Arc<Catalog>) -> Self {
        let mut other = Self::new(catalog);
        for id in self.wants.keys() {
            match self.row(*id) {
                Some(Row::Good(spec)) => other.set_site(&spec.site),
                Some(Row::Bad(bad)) => other.set_site(&bad.site),
                Some(rejected @ Row::Rejected(_)) => other.set(*id, Some(rejected)),
                None => {}
            }
        }
        other
    }

    /// What is wanted, for `plan`.
    pub fn wants(&self) -> &OrdMap<SiteId, Want> {
        &self.wants
    }

    /// What the rows are resolved against.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.catalog
    }

    /// Who has which host.
    pub fn hosts(&self) -> &HostIndex {
        &self.hosts
    }

    /// A row is new or differs.
    pub fn set_site(&mut self, site: &Arc<Site>) {
        let row = match self.catalog.resolve(site) {
            Ok(spec) => Row::Good(Arc::new(spec)),
            Err(reason) => Row::Bad(Arc::new(BadSite {
                site: Arc::clone(site),
                hosts: self.catalog.hosts(site).ok(),
                reason,
            })),
        };
        self.set(site.id, Some(row));
    }

    /// A row can't be read as a site.
    pub fn set_rejected(&mut self, id: SiteId, reason: RejectionReason) {
        self.set(id, Some(Row::Rejected(Arc::new(reason))));
    }

    /// A row is gone.
    pub fn remove(&mut self, id: SiteId) {
        self.set(id, None);
    }

    fn set(&mut self, id: SiteId, row: Option<Row>) {
        let wanted = row.as_ref().map(Row::patterns).unwrap_or_default();
        let had = self.row(id).as_ref().map(Row::patterns).unwrap_or_default();
        let touched = self.hosts.claim(id, &had, &wanted);
        self.judge(id, row);
        for other in touched {
            self.judge(other, self.row(other));
        }
    }

    /// The row of a site, if it has one.
    fn row(&self, id: SiteId) -> Option<Row> {
        match self.wants.get(&id)? {
            Want::Run(spec) => Some(Row::Good(Arc::clone(spec))),
            Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_) => self.aside.get(&id).cloned(),
        }
    }

    /// Finds out anew what is wanted of a site with this row.
    fn judge(&mut self, id: SiteId, row: Option<Row>) {
        let Some(row) = row else {
            self.aside.remove(&id);
            self.wants.remove(&id);
            return;
        };
        let want = self.want(id, &row);
        match &want {
            Want::Run(_) => drop(self.aside.remove(&id)),
            Want::Disabled(_) | Want::Pooled(_) | Want::Rejected(_) => {
                self.aside.insert(id, row);
            }
        }
        self.wants.insert(id, want);
    }

    fn want(&self, id: SiteId, row: &Row) -> Want {
        let (site, queue) = match row {
            Row::Good(spec) => (&spec.site, spec.settings.queue),
            Row::Bad(bad) => (&bad.site, Settings::default().queue),
            Row::Rejected(reason) => {
                let (reason, address) = (RejectionReason::clone(reason), None);
                return Rejection { reason, address }.into();
            }
        };
        let address = || {
            let address = Address::new(site.slug.clone(), row.hosts()?, queue);
            self.kept(id, address).map(Arc::new)
        };
        if let (false, Some(address)) = (site.enabled, address()) {
            return Want::Disabled(address);
        }
        let rejected = |reason| {
            let address = address();
            Rejection { reason, address }.into()
        };
        match (self.hosts.conflict(id, row.patterns()), row) {
            (Some((host, owner)), _) => rejected(RejectionReason::HostTaken { host, owner }),
            (None, Row::Bad(bad)) => rejected(bad.reason.clone()),
            (None, Row::Rejected(reason)) => rejected(RejectionReason::clone(reason)),
            (None, Row::Good(spec)) => Want::Run(Arc::clone(spec)),
        }
    }

    /// The address without the hosts that another site has; `None`: that leaves nothing.
    fn kept(&self, id: SiteId, mut address: Address) -> Option<Address> {
        let mut hosts = address.hosts.into_vec();
        hosts.retain(|(host, _)| self.hosts.owner(host) == Some(id));
        address.hosts = hosts.into();
        (!address.hosts.is_empty()).then_some(address)
    }
}

impl Row {
    fn hosts(&self) -> Option<&SiteHosts> {
        match self {
            Self::Good(spec) => Some(&spec.hosts),
            Self::Bad(bad) => bad.hosts.as_ref(),
            Self::Rejected(_) => None,
        }
    }

    /// What it claims.
    fn patterns(&self) -> Vec<HostPattern> {
        self.hosts()
            .into_iter()
            .flat_map(SiteHosts::patterns)
            .collect()
    }
}
