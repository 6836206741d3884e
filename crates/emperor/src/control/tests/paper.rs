//! A daemon of paper: rows in memory, and nothing that runs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use site_model::{Site, SiteId};
use site_registry::purges::{EventId, Purge};
use site_registry::{Doing, EditError, LinkError, NewSite, Row, SiteChange};
use tokio::sync::watch;
use wire::control::{
    CachedDocument, DatabaseStatus, EmperorStatus, RenderDocument, RouterStatus, RowDocument,
    SiteDocument, StatusDocument, TemplateDocument,
};

use super::super::{Daemon, rows};
use super::id;
use crate::daemon::{PurgeError, Reread, RereadError, Selection, Stopping};

/// Rows in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Paper {
    sites: Arc<Mutex<BTreeMap<SiteId, Site>>>,
    changed: watch::Sender<u64>,
    logs: PathBuf,
}

impl Paper {
    /// With its logs in a folder.
    pub(super) fn with_logs(logs: PathBuf) -> Self {
        Self {
            logs,
            ..Self::default()
        }
    }

    fn change(&self, site: SiteId, change: impl FnOnce(&mut Site)) -> Result<(), EditError> {
        let mut sites = self.sites.lock().unwrap();
        let site = sites.get_mut(&site).ok_or(EditError::NoSuchSite(site))?;
        change(site);
        Ok(())
    }
}

impl Daemon for Paper {
    async fn status(&self) -> StatusDocument {
        let sites = self.sites.lock().unwrap();
        status(sites.values().map(site_document).collect())
    }

    async fn site_status(&self, site: SiteId) -> Option<StatusDocument> {
        let sites = self.sites.lock().unwrap();
        let only = sites.get(&site)?;
        Some(status(vec![site_document(only)]))
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let changes = stream::unfold(self.changed.subscribe(), async |mut changed| {
            changed.changed().await.ok()?;
            Some(((), changed))
        });
        changes.boxed()
    }

    fn find(&self, reference: &str) -> Option<SiteId> {
        if reference == "pool.small" {
            return Some(SiteId::of_vassal(-1).unwrap());
        }
        let sites = self.sites.lock().unwrap();
        let is_meant =
            |site: &&Site| site.slug.as_str() == reference || site.id.to_string() == reference;
        sites.values().find(is_meant).map(|site| site.id)
    }

    fn rows(&self) -> Vec<RowDocument> {
        let sites = self.sites.lock().unwrap();
        sites.values().map(row_document).collect()
    }

    fn row(&self, site: SiteId) -> Option<RowDocument> {
        self.sites.lock().unwrap().get(&site).map(row_document)
    }

    async fn add(&self, new: NewSite) -> Result<SiteId, EditError> {
        let mut sites = self.sites.lock().unwrap();
        if sites.values().any(|site| site.slug == new.slug) {
            return Err(EditError::SlugTaken(new.slug));
        }
        let next = sites.keys().last().map_or(1, |last| last.get() + 1);
        let id = new.id.unwrap_or(id(next));
        let site = Site {
            id,
            slug: new.slug,
            domain: new.domain,
            aliases: new.aliases.into(),
            enabled: new.enabled,
            template: new.template,
            extra_config: new.extra_config.into(),
            run_as: new.run_as,
            extra_uwsgi_ini: Box::default(),
            pool: new.pool.map(Into::into),
            reloads: 0,
        };
        sites.insert(id, site);
        Ok(id)
    }

    async fn set(&self, site: SiteId, change: SiteChange) -> Result<(), EditError> {
        self.change(site, |site| {
            site.enabled = change.enabled.unwrap_or(site.enabled);
            site.domain = change.domain.unwrap_or(site.domain.take());
            let mut aliases = std::mem::take(&mut site.aliases).into_vec();
            aliases.retain(|alias| !change.remove_aliases.contains(&alias.pattern));
            aliases.extend(change.add_aliases);
            site.aliases = aliases.into();
        })
    }

    async fn remove(&self, site: SiteId) -> Result<(), EditError> {
        self.changed.send_modify(|changes| *changes += 1);
        let removed = self.sites.lock().unwrap().remove(&site);
        removed.map(drop).ok_or(EditError::NoSuchSite(site))
    }

    async fn reload(&self, selection: Selection) -> Result<Vec<SiteId>, Stopping> {
        match selection {
            Selection::All => Ok(self.sites.lock().unwrap().keys().copied().collect()),
            Selection::Sites(ids) => Ok(ids),
        }
    }

    async fn reread(&self) -> Result<Result<Reread, RereadError>, Stopping> {
        let needs_restart = vec!["node"];
        Ok(Ok(Reread { needs_restart }))
    }

    async fn confirm_removals(&self) -> Result<Vec<SiteId>, EditError> {
        Ok(vec![id(7)])
    }

    async fn purge(&self, site: Option<SiteId>, what: Purge) -> Result<EventId, PurgeError> {
        match what {
            Purge::Paths(paths) if paths[0].starts_with('/') => {
                Ok(EventId::new(site.map_or(0, SiteId::get) + 40))
            }
            Purge::Everything => Ok(EventId::new(7)),
            other => Err(PurgeError::Link(LinkError::Statement {
                doing: Doing::Purging,
                message: format!("{other:?} is no path"),
            })),
        }
    }

    async fn cached(&self, site: SiteId, path: Option<String>) -> Option<CachedDocument> {
        path.is_none().then_some(CachedDocument {
            site: site.get(),
            suspended: false,
            counters: None,
            pages: vec![],
        })
    }

    fn templates(&self) -> Vec<TemplateDocument> {
        vec![TemplateDocument {
            name: "gunicorn".into(),
            description: "A WSGI application".into(),
            origin: "built-in".into(),
            text: "command = []".into(),
            problem: String::new(),
        }]
    }

    async fn render(&self, site: SiteId) -> Result<RenderDocument, String> {
        Err(format!("site {site}: `vars.app_dir` is required"))
    }

    fn log(&self, site: SiteId) -> PathBuf {
        self.logs.join(format!("{site}.log"))
    }
}

fn row_document(site: &Site) -> RowDocument {
    rows::document(&Row::Site(Arc::new(site.clone())))
}

fn status(sites: Vec<SiteDocument>) -> StatusDocument {
    StatusDocument {
        emperor: EmperorStatus {
            version: "0".into(),
            pid: 1,
            node: "n".into(),
            started_at: "2026-01-01T00:00:00Z".into(),
            database: DatabaseStatus {
                state: "connected".into(),
                target: "db/sites".into(),
                detail: String::new(),
                notification_queue_usage: 0.0,
                rows: "database".into(),
                last_read_at: None,
            },
            removals_held: vec![],
            starts: None,
            rollout: None,
            purges: None,
        },
        router: RouterStatus {
            state: "running".into(),
            detail: String::new(),
            pid: None,
            listen: vec![],
            generation: 1,
            connections: 0,
            requests: 0,
            in_flight: 0,
            cache: None,
        },
        sites,
        pools: vec![],
    }
}

fn site_document(site: &Site) -> SiteDocument {
    SiteDocument {
        id: site.id.get(),
        slug: site.slug.to_string(),
        pool: None,
        state: "ready".into(),
        detail: String::new(),
        hosts: vec![],
        revision: None,
        restarts: 0,
        instances: vec![],
        cache: None,
        next_try_at: None,
        exit: None,
        last_start: None,
        events: vec![],
    }
}
