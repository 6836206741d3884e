//! Writing the status board into `emperor.site_status`.

use serde_json::{Value, json};
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
    let upserts: Vec<_> = batch
        .upserts
        .iter()
        .map(|status| document(status))
        .collect();
    let upserts = Value::Array(upserts).to_string();
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

fn document(status: &SiteStatus) -> Value {
    let hosts: Vec<_> = status.hosts.iter().map(ToString::to_string).collect();
    let instances: Vec<_> = status.instances.iter().map(instance).collect();
    json!({
        "site_id": status.id.get(),
        "state": status.state.as_str(),
        "detail": storable(&status.detail),
        "hosts": hosts,
        "instances": instances,
        "revision": status.revision.map(|revision| revision.to_string()),
    })
}

fn instance(status: &InstanceStatus) -> Value {
    let started = status
        .started_at
        .and_then(|at| jiff::Timestamp::try_from(at).ok());
    json!({
        "number": status.number.get(),
        "incarnation": status.incarnation.get(),
        "state": status.state.as_str(),
        "revision": status.revision.to_string(),
        "pid": status.pid,
        "socket": storable(&status.socket.to_string_lossy()),
        "started_at": started.map(|at| at.to_string()),
    })
}

/// A text of PostgreSQL has no NUL, and a worker's last words may.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
