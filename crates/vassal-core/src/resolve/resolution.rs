//! All rows against one catalog, kept up to date row by row.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::OrdMap;
use site_model::{HostPattern, RejectionReason, Site, SiteId};

use super::catalog::Catalog;
use super::host_index::HostIndex;
use crate::settings::Settings;
use crate::spec::{SiteHosts, VassalSpec};
use crate::{Address, Want};

/// What is wanted of every site. A value: cloning it is cheap and shares everything, and `plan` of
/// two clones looks only at what differs.
#[derive(Debug, Clone)]
pub struct Resolution {
    catalog: Arc<Catalog>,
    hosts: HostIndex,
    rows: OrdMap<SiteId, Row>,
    wants: OrdMap<SiteId, Want>,
}

/// A row, and what comes of it without regard to the others.
#[derive(Debug, Clone)]
enum Row {
    /// It became a site.
    Site {
        site: Arc<Site>,
        hosts: Option<SiteHosts>,
        outcome: Result<Arc<VassalSpec>, RejectionReason>,
    },
    /// It became none.
    Rejected(RejectionReason),
}

impl Resolution {
    /// No row yet.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self {
            catalog,
            hosts: HostIndex::default(),
            rows: OrdMap::new(),
            wants: OrdMap::new(),
        }
    }

    /// The same rows against another catalog.
    #[must_use]
    pub fn with_catalog(&self, catalog: Arc<Catalog>) -> Self {
        let mut other = Self::new(catalog);
        for (id, row) in &self.rows {
            match row {
                Row::Site { site, .. } => other.set_site(site),
                Row::Rejected(reason) => other.set_rejected(*id, reason.clone()),
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
        let hosts = self.catalog.hosts(site).ok();
        let row = Row::Site {
            site: Arc::clone(site),
            outcome: self.catalog.resolve(site).map(Arc::new),
            hosts: hosts.clone(),
        };
        let patterns = hosts.iter().flat_map(SiteHosts::patterns);
        self.set(site.id, Some(row), patterns.collect());
    }

    /// A row can't be read as a site.
    pub fn set_rejected(&mut self, id: SiteId, reason: RejectionReason) {
        self.set(id, Some(Row::Rejected(reason)), Vec::new());
    }

    /// A row is gone.
    pub fn remove(&mut self, id: SiteId) {
        self.set(id, None, Vec::new());
    }

    fn set(&mut self, id: SiteId, row: Option<Row>, hosts: Vec<HostPattern>) {
        let mut touched: BTreeSet<_> = self.hosts.claim(id, hosts);
        match row {
            Some(row) => self.rows.insert(id, row),
            None => self.rows.remove(&id),
        };
        touched.insert(id);
        for id in touched {
            match self.rows.get(&id).map(|row| self.want(id, row)) {
                Some(want) => self.wants.insert(id, want),
                None => self.wants.remove(&id),
            };
        }
    }

    fn want(&self, id: SiteId, row: &Row) -> Want {
        let (site, hosts, outcome) = match row {
            Row::Site {
                site,
                hosts,
                outcome,
            } => (site, hosts.as_ref(), outcome),
            Row::Rejected(reason) => {
                let (reason, address) = (reason.clone(), None);
                return Want::Rejected { reason, address };
            }
        };
        let queue = match outcome {
            Ok(spec) => spec.settings.queue,
            Err(_) => Settings::default().queue,
        };
        let address = || {
            let address = Address::new(site.slug.clone(), hosts?, queue);
            self.kept(id, address).map(Arc::new)
        };
        if let (false, Some(address)) = (site.enabled, address()) {
            return Want::Disabled(address);
        }
        match (self.hosts.conflict(id), outcome) {
            (Some((host, owner)), _) => Want::Rejected {
                reason: RejectionReason::HostTaken { host, owner },
                address: address(),
            },
            (None, Err(reason)) => Want::Rejected {
                reason: reason.clone(),
                address: address(),
            },
            (None, Ok(spec)) => Want::Run(Arc::clone(spec)),
        }
    }

    /// The address without the hosts that another site has; `None`: that leaves nothing.
    fn kept(&self, id: SiteId, mut address: Address) -> Option<Address> {
        let hosts = &mut address.hosts;
        hosts.retain(|(host, _)| self.hosts.owner(host) == Some(id));
        (!hosts.is_empty()).then_some(address)
    }
}
