//! Effective domains, written into the rows that have them: `emperor db rewrite-domains`.
//!
//! The emperor itself needs none of this, since it computes what `[domains]` makes of a row whenever it
//! reads one. It is for what else reads the column: Django's `Site`, a report, another program. All is
//! written in one transaction, or nothing.
//!
//! `plan` decides what would change, without I/O.

mod plan;

use std::collections::HashSet;

use thiserror::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, IsolationLevel, Transaction};
use vassal_core::resolve::Domains;

use self::plan::plan;
pub use self::plan::{DomainChange, Obstacle};
use crate::configured;
use crate::desired::NamedRow;
use crate::django;
use crate::edit::SiteChange;
use crate::link::{DatabaseTarget, Doing, LinkError, STATEMENT_TIMEOUT, Session};
use crate::reading;
use crate::schema::require;
use crate::source::RowSource;

/// How long a `django_site.domain` may be, as the migration of `django.contrib.sites` makes it.
const LONGEST_OF_DJANGO: usize = 100;

/// Whether the changes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// They are.
    Written,
    /// They are only told.
    Told,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RewriteError {
    /// The sites are what a query yields.
    #[error(
        "the sites are the rows of database.query, which the emperor only reads: nothing was written; \
         have the query yield the domain that is wanted, or leave it to [domains]"
    )]
    KeptElsewhere,
    /// Some sites can't have the domain that they would get.
    #[error("nothing was written:{}", listed(.0))]
    Impossible(Vec<Obstacle>),
    /// Somebody else is changing the same rows right now.
    #[error("nothing was written: another transaction holds the rows; try again when it has ended")]
    Locked,
    /// The database refused it.
    #[error("nothing was written: {0}")]
    Link(#[from] LinkError),
}

fn listed(obstacles: &[Obstacle]) -> String {
    let lines = obstacles.iter().map(|obstacle| format!("\n  {obstacle}"));
    lines.collect()
}

/// Opens a session and writes the effective domain of each site into its row, where another stands
/// there. Returns what changed.
///
/// # Errors
///
/// See [`RewriteError`]. Nothing was written then.
pub async fn rewrite_domains(
    target: &DatabaseTarget,
    source: &RowSource,
    domains: &Domains,
    writing: Writing,
) -> Result<Vec<DomainChange>, RewriteError> {
    let mut session = Session::open(target).await?;
    let rewriting = rewrite(&mut session.client, source, domains, writing);
    let rewritten = tokio::time::timeout(STATEMENT_TIMEOUT, rewriting).await;
    session.close().await;
    rewritten.map_err(|_| LinkError::TimedOut {
        doing: Doing::Editing,
        after: STATEMENT_TIMEOUT,
    })?
}

async fn rewrite(
    client: &mut Client,
    source: &RowSource,
    domains: &Domains,
    writing: Writing,
) -> Result<Vec<DomainChange>, RewriteError> {
    let table = Table::of(source)?;
    require(client).await?;
    // Before the snapshot is taken, which has to show what another emperor wrote meanwhile. The
    // session's end lets go of it.
    let lock = client.execute("SELECT pg_advisory_lock($1)", &[&configured::LOCK]);
    lock.await.map_err(|error| failed(&error))?;
    let transaction = client.build_transaction();
    let transaction = transaction.isolation_level(IsolationLevel::RepeatableRead);
    let transaction = transaction.start().await.map_err(|error| failed(&error))?;
    let rows = table.rows(&transaction).await?;
    let changes = plan(&rows, domains, table.longest()).map_err(RewriteError::Impossible)?;
    match writing {
        Writing::Written if !changes.is_empty() => {
            let written = table.write(&transaction, &changes).await;
            written.map_err(|error| failed(&error))?;
            transaction.commit().await.map_err(|error| failed(&error))?;
        }
        Writing::Written | Writing::Told => {}
    }
    Ok(changes)
}

fn failed(error: &tokio_postgres::Error) -> RewriteError {
    match error.code() {
        Some(
            &SqlState::LOCK_NOT_AVAILABLE
            | &SqlState::T_R_DEADLOCK_DETECTED
            | &SqlState::T_R_SERIALIZATION_FAILURE,
        ) => RewriteError::Locked,
        Some(_) | None => RewriteError::Link(LinkError::from_postgres(error, Doing::Editing)),
    }
}

/// Where the domains stand.
enum Table<'a> {
    Emperor,
    Django(&'a django::DjangoTables),
}

impl<'a> Table<'a> {
    fn of(source: &'a RowSource) -> Result<Self, RewriteError> {
        match source {
            RowSource::Emperor => Ok(Self::Emperor),
            RowSource::Django(tables) => Ok(Self::Django(tables)),
            RowSource::Query(_) => Err(RewriteError::KeptElsewhere),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Emperor => "emperor.sites".to_owned(),
            Self::Django(tables) => django::site_table(tables),
        }
    }

    fn longest(&self) -> Option<usize> {
        match self {
            Self::Emperor => None,
            Self::Django(_) => Some(LONGEST_OF_DJANGO),
        }
    }

    async fn rows(&self, transaction: &Transaction<'_>) -> Result<Vec<NamedRow>, LinkError> {
        match self {
            Self::Emperor => reading::named_rows(transaction).await,
            Self::Django(tables) => django::named_rows(transaction, tables).await,
        }
    }

    /// Two sites may exchange their domains: whoever is to give one away has it taken first.
    async fn write(
        &self,
        transaction: &Transaction<'_>,
        changes: &[DomainChange],
    ) -> Result<(), tokio_postgres::Error> {
        let update = format!(
            "UPDATE {} s SET domain = c.domain \
             FROM unnest($1::bigint[], $2::text[]) AS c (id, domain) WHERE s.id = c.id",
            self.name()
        );
        let new = |change: &DomainChange| change.new.to_string();
        let wanted: HashSet<_> = changes.iter().map(new).collect();
        let taken = changes.iter().filter(|change| wanted.contains(&change.old));
        let taken = taken.map(|change| {
            let id = change.site.get();
            (id, format!("site-{id}.being-rewritten.invalid"))
        });
        let (ids, meanwhile): (Vec<_>, Vec<_>) = taken.unzip();
        // Hosts of the emperor's own table are claimed at the end of each statement otherwise.
        let defer = "SET CONSTRAINTS ALL DEFERRED";
        transaction.batch_execute(defer).await?;
        if !ids.is_empty() {
            transaction.execute(&update, &[&ids, &meanwhile]).await?;
        }
        for change in changes.iter().filter(|change| change.keeps_slug) {
            keep_slug(transaction, change).await?;
        }
        let ids: Vec<_> = changes.iter().map(|change| change.site.get()).collect();
        let domains: Vec<_> = changes.iter().map(new).collect();
        transaction.execute(&update, &[&ids, &domains]).await?;
        Ok(())
    }
}

async fn keep_slug(
    transaction: &Transaction<'_>,
    change: &DomainChange,
) -> Result<(), tokio_postgres::Error> {
    let kept = SiteChange {
        slug: change.slug.parse().ok(),
        ..SiteChange::default()
    };
    django::set(transaction, change.site, &kept).await.map(drop)
}
