//! An operator's changes where Django keeps the sites: what Django has no column for is written to
//! `emperor.django_sites`; the rest is Django's to change.

use imbl::OrdMap;
use site_model::SiteId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, GenericClient};

use crate::configured::explain_enabled;
use crate::desired::Row;
use crate::edit::{Edit, EditError, SiteChange};
use crate::options::ConfiguredRow;

/// What isn't given leaves the column as it is, and a row that is as wanted is not touched.
const UPSERT: &str = "
INSERT INTO emperor.django_sites AS d (site_id, slug, enabled, template, extra_config, run_as, pool)
VALUES ($1, $2, coalesce($3, true), coalesce($4, ''), coalesce($5, ''), coalesce($6, ''), $8)
ON CONFLICT (site_id) DO UPDATE SET
    slug = coalesce($2, d.slug), enabled = coalesce($3, d.enabled),
    template = coalesce($4, d.template), extra_config = coalesce($5, d.extra_config),
    run_as = coalesce($6, d.run_as), pool = CASE WHEN $7 THEN $8 ELSE d.pool END
WHERE (d.slug, d.enabled, d.template, d.extra_config, d.run_as, d.pool) IS DISTINCT FROM (
    coalesce($2, d.slug), coalesce($3, d.enabled), coalesce($4, d.template),
    coalesce($5, d.extra_config), coalesce($6, d.run_as),
    CASE WHEN $7 THEN $8 ELSE d.pool END)";

/// Refuses what only Django may change.
pub(crate) fn check(edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::Add(_) => Err(EditError::KeptByDjango(
            "add it to django_site, in Django's admin for one",
        )),
        Edit::Remove(_) => Err(EditError::KeptByDjango(
            "delete its row of django_site, in Django's admin for one; `emperor site disable` stops it",
        )),
        Edit::Set(_, change) if concerns_hosts(change) => Err(EditError::KeptByDjango(
            "change django_site.domain or multisite_alias, in Django's admin for one",
        )),
        Edit::Set(..) | Edit::Reload(_) | Edit::ReloadAll => Ok(()),
    }
}

fn concerns_hosts(change: &SiteChange) -> bool {
    change.domain.is_some() || !change.add_aliases.is_empty() || !change.remove_aliases.is_empty()
}

/// Writes what is given of a site that Django has; tells whether it has it.
pub(crate) async fn set(
    client: &impl GenericClient,
    id: SiteId,
    change: &SiteChange,
) -> Result<bool, Error> {
    let exists = "SELECT EXISTS (SELECT FROM emperor.django_site_ids($1))";
    if !client
        .query_one(exists, &[&id.get()])
        .await?
        .get::<_, bool>(0)
    {
        return Ok(false);
    }
    let text = |value: Option<String>| value.unwrap_or_default();
    let template = change.template.as_ref();
    let template = template.map(|name| text(name.as_ref().map(ToString::to_string)));
    let run_as = change.run_as.as_ref();
    let run_as = run_as.map(|user| text(user.as_ref().map(ToString::to_string)));
    let values: [&(dyn ToSql + Sync); 8] = [
        &id.get(),
        &change.slug.as_ref().map(ToString::to_string),
        &change.enabled,
        &template,
        &change.extra_config,
        &run_as,
        &change.pool.is_some(),
        &change.pool.clone().flatten(),
    ];
    client.execute(UPSERT, &values).await.map(|_| true)
}

/// Writes a `[[site]]` for the row it names, among those that were read. What only Django may write
/// is said and left out.
pub(crate) async fn configure(
    client: &impl GenericClient,
    known: &OrdMap<SiteId, Row>,
    row: &ConfiguredRow,
) -> Result<(), Error> {
    let slug = row.slug.as_str();
    let found = match row.id {
        Some(id) => known.get(&id),
        None => known.values().find(|known| known.slug() == slug),
    };
    let Some(found) = found else {
        tracing::error!(
            slug,
            "a [[site]] names no site of Django's; add it to django_site"
        );
        return Ok(());
    };
    if row.domain.is_some() {
        tracing::error!(
            slug,
            "the domain of this [[site]] is Django's: change django_site.domain"
        );
    }
    let is_enabled = matches!(found, Row::Site(site) if site.enabled);
    if is_enabled {
        explain_enabled(row);
    }
    let overlay = row.extra_config.clone();
    let change = SiteChange {
        slug: (found.slug() != slug).then(|| row.slug.clone()),
        template: row.template.clone().map(Some),
        extra_config: overlay.filter(|text| !text.is_empty()),
        run_as: row.run_as.clone().map(Some),
        pool: row.pool.clone().map(Some),
        enabled: row.enabled.filter(|enabled| *enabled && !is_enabled),
        ..SiteChange::default()
    };
    if change != SiteChange::default() {
        set(client, found.id(), &change).await?;
    }
    Ok(())
}
