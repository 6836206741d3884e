//! Writing the status board into `emperor.site_status`.

use std::borrow::Cow;
use std::path::Path;

use serde::Serialize;
use site_model::{InstanceStatus, SiteId, SiteStatus};
use tokio_postgres::Client;

use crate::board::Batch;
use crate::link::{Doing, LinkError, bounded};

/// A row that is as it was is not touched, so `updated_at` says when the status changed.
const UPSERT: &str = "
INSERT INTO emperor.site_status AS s
    (site_id, node, state, detail, hosts, instances, revision, updated_at)
SELECT r.site_id, $1, r.state, r.detail, r.hosts, r.instances, r.revision, now()
FROM jsonb_to_recordset($2::text::jsonb) AS r
    (site_id bigint, state text, detail text, hosts text[], instances jsonb, revision text)
ON CONFLICT (site_id, node) DO UPDATE SET
    state = excluded.state, detail = excluded.detail, hosts = excluded.hosts,
    instances = excluded.instances, revision = excluded.revision,
    updated_at = excluded.updated_at
WHERE (s.state, s.detail, s.hosts, s.instances, s.revision) IS DISTINCT FROM
    (excluded.state, excluded.detail, excluded.hosts, excluded.instances, excluded.revision)";

const DELETE: &str = "DELETE FROM emperor.site_status WHERE node = $1 AND site_id = ANY($2)";

/// A join: to look for each row in a list of 100,000 ids would take minutes.
const SWEEP: &str = "
DELETE FROM emperor.site_status AS s WHERE s.node = $1
    AND NOT EXISTS (SELECT FROM unnest($2::bigint[]) AS known WHERE known = s.site_id)";

/// Writes a batch. A status is told again after every reconnect, so losing the last ones in a
/// crash of the server is no loss, and waiting for its disk no gain.
pub(crate) async fn write(client: &mut Client, node: &str, batch: &Batch) -> Result<(), LinkError> {
    let upserts: Vec<_> = batch.upserts.iter().map(|status| row(status)).collect();
    // Numbers and texts are always JSON; were they not, nothing would be written.
    let upserts = serde_json::to_string(&upserts).unwrap_or_else(|_| "[]".to_owned());
    let deletes: Vec<i64> = batch.deletes.iter().map(|id| id.get()).collect();
    let written = async {
        let transaction = client.transaction().await?;
        transaction
            .batch_execute("SET LOCAL synchronous_commit = off")
            .await?;
        transaction.execute(DELETE, &[&node, &deletes]).await?;
        transaction.execute(UPSERT, &[&node, &upserts]).await?;
        transaction.commit().await
    };
    bounded(Doing::Reporting, written).await
}

/// Deletes this node's rows of sites that are not among `known`: they went while nobody looked.
pub(crate) async fn sweep(client: &Client, node: &str, known: &[SiteId]) -> Result<(), LinkError> {
    let known: Vec<i64> = known.iter().map(|id| id.get()).collect();
    let swept = async { client.execute(SWEEP, &[&node, &known]).await };
    bounded(Doing::Reporting, swept).await.map(drop)
}

/// As the statement takes it.
#[derive(Serialize)]
struct StatusRow<'a> {
    site_id: i64,
    state: &'static str,
    detail: Cow<'a, str>,
    hosts: Vec<String>,
    instances: Vec<InstanceRow<'a>>,
    revision: Option<String>,
}

#[derive(Serialize)]
struct InstanceRow<'a> {
    number: u32,
    incarnation: u64,
    state: &'static str,
    revision: String,
    pid: Option<u32>,
    socket: Cow<'a, str>,
    started_at: Option<String>,
}

fn row(status: &SiteStatus) -> StatusRow<'_> {
    StatusRow {
        site_id: status.id.get(),
        state: status.state.as_str(),
        detail: storable(Cow::Borrowed(&status.detail)),
        hosts: status.hosts.iter().map(ToString::to_string).collect(),
        instances: status.instances.iter().map(instance).collect(),
        revision: status.revision.map(|revision| revision.to_string()),
    }
}

fn instance(status: &InstanceStatus) -> InstanceRow<'_> {
    let started = status
        .started_at
        .and_then(|at| jiff::Timestamp::try_from(at).ok());
    InstanceRow {
        number: status.number.get(),
        incarnation: status.incarnation.get(),
        state: status.state.as_str(),
        revision: status.revision.to_string(),
        pid: status.pid,
        socket: storable(Path::to_string_lossy(&status.socket)),
        started_at: started.map(|at| at.to_string()),
    }
}

/// A text of PostgreSQL has no NUL, and a worker's last words may.
fn storable(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.contains('\0') {
        Cow::Owned(text.replace('\0', "\u{fffd}"))
    } else {
        text
    }
}
