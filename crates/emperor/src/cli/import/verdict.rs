//! Whether a row could run, by the rules of the daemon: the shipped template, a row's rights.

use std::sync::Arc;

use site_model::{RunAs, Site};
use vassal_core::diagnostic::headline;
use vassal_core::{Catalog, CatalogInput, Resolution, Want};

use super::row::Row;
use crate::daemon;

/// The id of rows that have none yet.
const SOME_ID: i64 = 1;

/// Why it can't run; `None`: it can.
pub(super) fn refusal(row: &Row) -> Option<String> {
    match resolved(row) {
        Ok(Want::Rejected(rejection)) => Some(headline(&rejection.reason.to_string())),
        Ok(Want::Run(_) | Want::Disabled(_) | Want::Pooled(_)) => None,
        Err(why) => Some(why),
    }
}

fn resolved(row: &Row) -> Result<Want, String> {
    let site = site(row)?;
    let input = CatalogInput {
        templates: daemon::shipped().collect(),
        ..CatalogInput::default()
    };
    let catalog = Catalog::new(input).map_err(|wrong| headline(&wrong.to_string()))?;
    let mut resolution = Resolution::new(Arc::new(catalog));
    let site = Arc::new(site);
    resolution.set_site(&site);
    let want = resolution.wants().get(&site.id).cloned();
    want.ok_or_else(|| "nothing would run of it".to_owned())
}

/// The row as the daemon would read it. Who has which host is seen to elsewhere.
fn site(row: &Row) -> Result<Site, String> {
    let id = row.id.unwrap_or(SOME_ID).to_string();
    let run_as = match row.run_as.as_str() {
        "" => None,
        user => Some(RunAs::parse(user).map_err(|error| format!("uid: {error}"))?),
    };
    Ok(Site {
        id: id.parse().map_err(|error| format!("SITE_ID: {error}"))?,
        slug: row.slug.parse().map_err(|error| format!("slug: {error}"))?,
        domain: None,
        aliases: Box::default(),
        enabled: true,
        template: row.template.parse().ok(),
        extra_config: row.extra_config.as_str().into(),
        extra_uwsgi_ini: Box::default(),
        run_as,
        pool: None,
        reloads: 0,
    })
}
