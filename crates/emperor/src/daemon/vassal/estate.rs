//! What an earlier emperor left of a vassal, and what its instances run.

use std::sync::Arc;

use site_registry::row_from_text;
use vassal_core::lifecycle::Stage;
use vassal_core::settings::Probe;
use vassal_core::{Catalog, VassalSpec, Want};

use crate::daemon::process::{LeftInstance, SiteMemory};

/// What an earlier emperor left of a vassal.
#[derive(Debug, Default)]
pub(in crate::daemon) struct Estate {
    /// Its instances, in the order of their incarnations.
    pub(in crate::daemon) heirs: Vec<Heir>,
    /// How it fared.
    pub(in crate::daemon) memory: SiteMemory,
}

/// An instance that an earlier emperor started, and what it runs.
#[derive(Debug)]
pub(in crate::daemon) struct Heir {
    pub(in crate::daemon) left: LeftInstance,
    pub(in crate::daemon) spec: Arc<VassalSpec>,
}

impl Heir {
    /// Finds out what an instance runs: what is wanted, where that is the same revision; else what
    /// the row it was made from comes to now. A template or a configuration that changed as well
    /// leaves only what the router has to know as it was; the next revision is on its way anyway.
    ///
    /// Gives the instance back, with the reason, where nothing can be made of it.
    pub(in crate::daemon) fn new(
        left: LeftInstance,
        want: Option<&Want>,
        catalog: &Catalog,
    ) -> Result<Self, Unfit> {
        let unfit = |left, reason| {
            let left = Box::new(left);
            Err(Unfit { left, reason })
        };
        let Some(spec) = specification(&left, want, catalog) else {
            return unfit(left, "its row can't be run with the present templates");
        };
        let is_starting = matches!(left.memory.stage, Stage::Starting);
        if is_starting && spec.settings.ready.probe == Probe::Notify {
            return unfit(left, "it was starting, and may have said READY=1 to nobody");
        }
        Ok(Self { left, spec })
    }
}

/// An instance that can't be gone on with.
#[derive(Debug)]
pub(in crate::daemon) struct Unfit {
    pub(in crate::daemon) left: Box<LeftInstance>,
    pub(in crate::daemon) reason: &'static str,
}

fn specification(
    left: &LeftInstance,
    want: Option<&Want>,
    catalog: &Catalog,
) -> Option<Arc<VassalSpec>> {
    if let Some(Want::Run(spec)) = want
        && spec.revision == left.revision
    {
        return Some(Arc::clone(spec));
    }
    let spec = catalog.resolve(&row_from_text(&left.row)?).ok()?;
    Some(Arc::new(VassalSpec {
        protocol: left.protocol,
        revision: left.revision,
        ..spec
    }))
}
