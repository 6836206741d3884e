//! What runs for a site, or for a pool, for people who ask. A site in a pool has no process of its own:
//! it is shown the pool's.

use std::path::PathBuf;
use std::sync::Arc;

use imbl::OrdMap;
use site_model::{Protocol, Site, SiteId};
use site_registry::Row;
use vassal_core::resolve::Rendering;
use vassal_core::{Catalog, InstanceContext, Pooling, Reach, VassalSpec, Want};
use wire::control::{
    FileDocument, PoolPlaceDocument, ReachDocument, RenderDocument, SettingDocument,
    VariableDocument,
};

use crate::daemon::Handle;

/// The number of the instance that is shown.
const EXAMPLE_NUMBER: u32 = 1;

/// What runs for a site or a pool; else why nothing would.
pub(super) async fn of(handle: &Handle, vassal: SiteId) -> Result<RenderDocument, String> {
    let catalog = handle.catalog();
    if vassal.is_pool() {
        return explained(&run(wanted(handle, vassal).await?)?, &catalog);
    }
    let desired = handle.registry().desired().borrow().clone();
    match desired.rows.get(&vassal) {
        Some(Row::Site(site)) if site.pool.is_some() => pooled(handle, site, &catalog).await,
        Some(Row::Site(site)) => explained(site, &catalog),
        Some(Row::Rejected(rejected)) => Err(rejected.reason.to_string()),
        None => Err(format!(
            "the row of site {vassal} is gone; it is being stopped"
        )),
    }
}

/// The pool's, and what its worker is told of the site.
async fn pooled(
    handle: &Handle,
    site: &Arc<Site>,
    catalog: &Catalog,
) -> Result<RenderDocument, String> {
    let pool = match wanted(handle, site.id).await? {
        Some(Want::Pooled(membership)) => wanted(handle, membership.pool).await?,
        Some(Want::Rejected(rejection)) => return Err(rejection.reason.to_string()),
        // It is in no pool as long as it isn't to run.
        Some(Want::Disabled(_) | Want::Run(_)) | None => alone(site, catalog)?,
    };
    let pool = run(pool)?;
    let rendered = explained(&pool, catalog)?;
    let rendering = catalog
        .resolve(&pool)
        .map_err(|reason| reason.to_string())?;
    Ok(RenderDocument {
        id: Some(site.id.get()),
        slug: site.slug.to_string(),
        pool: Some(PoolPlaceDocument {
            name: pool.slug.pool().unwrap_or_default().to_owned(),
            request: of_request(site.id, rendering.protocol),
        }),
        ..rendered
    })
}

async fn wanted(handle: &Handle, vassal: SiteId) -> Result<Option<Want>, String> {
    let wanted = handle.wanted(vassal).await;
    wanted.map_err(|stopping| stopping.to_string())
}

/// A pool of this site alone.
fn alone(site: &Arc<Site>, catalog: &Catalog) -> Result<Option<Want>, String> {
    let spec = catalog.resolve(site).map_err(|reason| reason.to_string())?;
    let want = Want::Run(Arc::new(spec));
    let pooling = Pooling::to_look_at(&OrdMap::unit(site.id, want), catalog);
    let of_site = pooling.wants().get(&site.id);
    let pool = pooling.pool_of(site.id);
    let pool = pool.and_then(|pool| pooling.wants().get(&pool));
    Ok(pool.or(of_site).cloned())
}

/// What a pool is made from.
fn run(pool: Option<Want>) -> Result<Arc<Site>, String> {
    match pool {
        Some(Want::Run(spec)) => Ok(Arc::clone(&spec.site)),
        Some(Want::Rejected(rejection)) => Err(rejection.reason.to_string()),
        Some(Want::Disabled(_) | Want::Pooled(_)) | None => {
            Err("no site is in this pool any more; it is being stopped".to_owned())
        }
    }
}

fn explained(site: &Arc<Site>, catalog: &Catalog) -> Result<RenderDocument, String> {
    let rendering = catalog.explain(site, &example_instance());
    rendering
        .map(|rendering| document(&rendering))
        .map_err(|reason| reason.to_string())
}

/// An instance that doesn't exist: what each has of its own stays a name.
fn example_instance() -> InstanceContext {
    InstanceContext {
        number: EXAMPLE_NUMBER,
        dir: "{{ instance.dir }}".into(),
        socket_path: "{{ socket.path }}".into(),
    }
}

fn document(rendering: &Rendering) -> RenderDocument {
    let spec: &VassalSpec = &rendering.spec;
    let id = spec.site.id;
    let launch = &rendering.launch;
    let working_dir = launch.working_dir.as_ref();
    RenderDocument {
        id: (!id.is_pool()).then_some(id.get()),
        slug: spec.site.slug.to_string(),
        pool: None,
        template: spec.template.to_string(),
        revision: spec.revision.to_string(),
        run_as: spec.run_as.to_string(),
        command: launch.argv.clone(),
        working_dir: working_dir.map(|dir| dir.to_string_lossy().into_owned()),
        env: own_variables(spec)
            .chain(launch.env.iter().map(variable))
            .collect(),
        files: launch
            .files
            .iter()
            .map(|file| FileDocument {
                name: file.name.clone(),
                text: file.text.clone(),
            })
            .collect(),
        reach: reach(&launch.reach),
        settings: rendering
            .settings
            .iter()
            .map(|setting| SettingDocument {
                key: setting.key.clone(),
                value: setting.value.clone(),
                origin: setting.origin.clone(),
            })
            .collect(),
    }
}

fn reach(reach: &Reach) -> ReachDocument {
    let shown = |paths: &[PathBuf]| {
        let paths = paths.iter();
        paths
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    };
    ReachDocument {
        writable: shown(&reach.writable),
        readable: shown(&reach.readable),
        inaccessible: shown(&reach.inaccessible),
    }
}

/// What tells a worker which site it serves, or which pool.
fn own_variables(spec: &VassalSpec) -> impl Iterator<Item = VariableDocument> {
    let slug = spec.site.slug.to_string();
    let own = match spec.site.slug.pool() {
        Some(pool) => vec![("EMPEROR_POOL", pool.to_owned())],
        None => vec![
            ("SITE_ID", spec.site.id.to_string()),
            ("SITE_SLUG", slug.clone()),
            ("SITE_DOMAIN", spec.hosts.canonical.to_string()),
        ],
    };
    let always = [
        ("EMPEROR_VASSAL", slug),
        ("EMPEROR_INSTANCE", EXAMPLE_NUMBER.to_string()),
    ];
    own.into_iter().chain(always).map(named)
}

/// What a pool's worker is told of a site, with each of its requests.
fn of_request(site: SiteId, protocol: Protocol) -> Vec<VariableDocument> {
    let header = ("X-Site-Id", site.to_string());
    let variable = match protocol {
        Protocol::Uwsgi => Some(("SITE_ID", site.to_string())),
        Protocol::Http | Protocol::Fastcgi | Protocol::Scgi => None,
    };
    let told = std::iter::once(header).chain(variable);
    told.map(named).collect()
}

fn named((name, value): (&str, String)) -> VariableDocument {
    VariableDocument {
        name: name.to_owned(),
        value,
    }
}

fn variable((name, value): &(String, String)) -> VariableDocument {
    VariableDocument {
        name: name.clone(),
        value: value.clone(),
    }
}
