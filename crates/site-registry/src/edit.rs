//! The changes an operator makes through the command line, as values (`change`) and as SQL.
//!
//! Each is one transaction on the query session. The rows are read again before the caller gets its
//! answer, so what it reads afterwards includes its own change.

mod change;
mod failure;

use site_model::{Alias, HostPattern, SiteId};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Transaction};

pub use self::change::{Edit, EditError, NewSite, SiteChange};
use self::failure::Failure;
use crate::django;
use crate::link::{Doing, LinkError, STATEMENT_TIMEOUT};
use crate::queried;
use crate::reading::kind_text;
use crate::source::RowSource;

/// Makes one change, whole or not at all. Returns the sites whose rows are to be read again, for
/// [`Edit::ReloadAll`] none.
pub(crate) async fn apply(
    client: &mut Client,
    source: &RowSource,
    edit: &Edit,
) -> Result<Vec<SiteId>, EditError> {
    match source {
        RowSource::Emperor => {}
        RowSource::Django(_) => django::check(edit)?,
        RowSource::Query(_) => queried::check(edit)?,
    }
    let change = async {
        let transaction = client.transaction().await.map_err(Failure::from)?;
        let ids = apply_in(&transaction, source, edit).await?;
        transaction.commit().await?;
        Ok(ids)
    };
    match tokio::time::timeout(STATEMENT_TIMEOUT, change).await {
        Ok(done) => done.map_err(|failure: Failure| failure.explain(edit)),
        Err(_) => Err(EditError::Link(LinkError::TimedOut {
            doing: Doing::Editing,
            after: STATEMENT_TIMEOUT,
        })),
    }
}

async fn apply_in(
    transaction: &Transaction<'_>,
    source: &RowSource,
    edit: &Edit,
) -> Result<Vec<SiteId>, Failure> {
    match edit {
        Edit::Set(id, change) if matches!(source, RowSource::Django(_)) => {
            let is_there = django::set(transaction, *id, change).await?;
            exists(*id, u64::from(is_there))?;
            Ok(vec![*id])
        }
        Edit::Add(site) => {
            let id = add(transaction, site).await?;
            for alias in &site.aliases {
                add_domain(transaction, id, alias).await?;
            }
            Ok(vec![id])
        }
        Edit::Set(id, change) => {
            if change.has_columns() {
                set(transaction, *id, change).await?;
            }
            for host in &change.remove_aliases {
                remove_domain(transaction, *id, host).await?;
            }
            for alias in &change.add_aliases {
                add_domain(transaction, *id, alias).await?;
            }
            Ok(vec![*id])
        }
        Edit::Remove(id) => {
            let delete = "DELETE FROM emperor.sites WHERE id = $1";
            let deleted = transaction.execute(delete, &[&id.get()]).await?;
            exists(*id, deleted)?;
            Ok(vec![*id])
        }
        Edit::Reload(ids) if matches!(source, RowSource::Query(_)) => {
            queried::reload(transaction, ids).await?;
            Ok(ids.clone())
        }
        Edit::Reload(ids) => {
            for id in ids {
                reload(transaction, Some(*id)).await?;
            }
            Ok(ids.clone())
        }
        Edit::ReloadAll => {
            reload(transaction, None).await?;
            Ok(Vec::new())
        }
    }
}

async fn add(transaction: &Transaction<'_>, site: &NewSite) -> Result<SiteId, Failure> {
    // Without an id the column's own default is due, which no parameter can stand for.
    let (column, value) = match site.id {
        Some(_) => ("id, ", "$8, "),
        None => ("", ""),
    };
    let insert = format!(
        "INSERT INTO emperor.sites \
         ({column}slug, domain, enabled, template, extra_config, run_as, pool) \
         VALUES ({value}$1, $2, $3, $4, $5, $6, $7) RETURNING id"
    );
    let (slug, domain) = (site.slug.as_str(), text(site.domain.as_ref()));
    let (template, run_as) = (text(site.template.as_ref()), text(site.run_as.as_ref()));
    let id = site.id.map(SiteId::get);
    let mut values: Vec<&(dyn ToSql + Sync)> = vec![
        &slug,
        &domain,
        &site.enabled,
        &template,
        &site.extra_config,
        &run_as,
        &site.pool,
    ];
    if let Some(id) = &id {
        values.push(id);
    }
    let row = transaction.query_one(&insert, &values).await?;
    let id = SiteId::new(row.get(0));
    Ok(id.map_err(|error| EditError::Refused(error.to_string()))?)
}

async fn set(
    transaction: &Transaction<'_>,
    id: SiteId,
    change: &SiteChange,
) -> Result<(), Failure> {
    const UPDATE: &str = "
        UPDATE emperor.sites SET
            slug = coalesce($2, slug), domain = coalesce($3, domain),
            enabled = coalesce($4, enabled), template = coalesce($5, template),
            extra_config = coalesce($6, extra_config), run_as = coalesce($7, run_as),
            pool = CASE WHEN $8 THEN $9 ELSE pool END
        WHERE id = $1";
    let slug = change.slug.as_ref().map(ToString::to_string);
    let domain = change.domain.as_ref().map(|d| text(d.as_ref()));
    let template = change.template.as_ref().map(|t| text(t.as_ref()));
    let run_as = change.run_as.as_ref().map(|r| text(r.as_ref()));
    let values: [&(dyn ToSql + Sync); 9] = [
        &id.get(),
        &slug,
        &domain,
        &change.enabled,
        &template,
        &change.extra_config,
        &run_as,
        &change.pool.is_some(),
        &change.pool.clone().flatten(),
    ];
    let updated = transaction.execute(UPDATE, &values).await?;
    Ok(exists(id, updated)?)
}

async fn add_domain(
    transaction: &Transaction<'_>,
    id: SiteId,
    alias: &Alias,
) -> Result<(), Failure> {
    const UPSERT: &str = "
        INSERT INTO emperor.domains AS d (host, site_id, kind) VALUES ($1, $2, $3)
        ON CONFLICT (host) DO UPDATE SET kind = excluded.kind WHERE d.site_id = excluded.site_id";
    const OWNER: &str = "
        SELECT format('host \"%s\" already belongs to site %s (%s)', d.host, s.id, s.slug)
        FROM emperor.domains d JOIN emperor.sites s ON s.id = d.site_id WHERE d.host = $1";
    let host = alias.pattern.to_string();
    let values: [&(dyn ToSql + Sync); 3] = [&host, &id.get(), &kind_text(alias.kind)];
    if transaction.execute(UPSERT, &values).await? == 0 {
        let owner = transaction.query_opt(OWNER, &[&host]).await?;
        let owner = owner.map(|row| row.get::<_, String>(0));
        let message = owner.unwrap_or_else(|| format!("host \"{host}\" belongs to another site"));
        return Err(EditError::HostTaken(message).into());
    }
    Ok(())
}

async fn remove_domain(
    transaction: &Transaction<'_>,
    id: SiteId,
    host: &HostPattern,
) -> Result<(), Failure> {
    let delete = "DELETE FROM emperor.domains WHERE site_id = $1 AND host = $2";
    let values: [&(dyn ToSql + Sync); 2] = [&id.get(), &host.to_string()];
    if transaction.execute(delete, &values).await? > 0 {
        return Ok(());
    }
    let site = "SELECT FROM emperor.sites WHERE id = $1";
    let found = transaction.query_opt(site, &[&id.get()]).await?;
    exists(id, u64::from(found.is_some()))?;
    let host = host.clone();
    Err(EditError::NoSuchDomain { site: id, host }.into())
}

async fn reload(transaction: &Transaction<'_>, site: Option<SiteId>) -> Result<(), Failure> {
    let id = site.map(SiteId::get);
    let called = transaction
        .execute("SELECT emperor.reload($1)", &[&id])
        .await;
    match (called, site) {
        (Err(error), Some(site)) if error.code() == Some(&SqlState::NO_DATA_FOUND) => {
            Err(EditError::NoSuchSite(site).into())
        }
        (called, _) => Ok(called.map(drop)?),
    }
}

fn exists(site: SiteId, rows: u64) -> Result<(), EditError> {
    if rows == 0 {
        return Err(EditError::NoSuchSite(site));
    }
    Ok(())
}

/// `''` is how a column says that it has no value.
fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
