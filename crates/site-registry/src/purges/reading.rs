//! The SQL of following purges: reading what is new, writing how far somebody has read.

use site_model::SiteId;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::event::{EventId, Position, Purge, PurgeEvent};
use super::news::Reader;
use super::post::Outgoing;
use crate::link::{Doing, LinkError, PURGES, bounded_by};

/// For each statement. A look that takes longer is a link that is lost: with the time between two
/// looks this has to stay below `emperor.purge_lease()`.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// Beyond so many new purges, what is told is the sites they are of. Not of lost hosts, since those are the
/// sites' no more.
const MAX_EVENTS: i64 = 10_000;

/// What is visible now, or in the snapshot `$3`, and was not in `$1`. Rows of transactions that this
/// server hasn't begun yet came with a dump of another one, and whoever follows starts anew there.
const NEW: &str = "
WITH now AS (
    SELECT coalesce($3::text::pg_snapshot, pg_current_snapshot()) AS snapshot
), new AS MATERIALIZED (
    SELECT p.id, p.site_id, p.kind, p.names FROM emperor.purges p, now
    WHERE p.transaction >= pg_snapshot_xmin($1::text::pg_snapshot)
        AND NOT pg_visible_in_snapshot(p.transaction, $1::text::pg_snapshot)
        AND pg_visible_in_snapshot(p.transaction, now.snapshot)
), many AS (
    SELECT count(*) > $2 AS many FROM new
), told AS (
    SELECT n.* FROM new n, many m WHERE NOT m.many OR n.kind = 'host'
    UNION ALL
    SELECT max(n.id), n.site_id, 'site', '{}' FROM new n, many m
    WHERE m.many AND n.kind <> 'host' GROUP BY n.site_id
)
SELECT now.snapshot::text AS snapshot, t.id, t.site_id, t.kind, t.names
FROM now LEFT JOIN told t ON true ORDER BY t.id";

/// Whether purges that were not visible in `$1`, on the server `$2`, may be gone from the table, or
/// may never have been in it.
const MISSED: &str = "
SELECT $2 <> emperor.server_identity()
    OR pg_snapshot_xmax($1::text::pg_snapshot) > pg_snapshot_xmax(pg_current_snapshot())
    OR EXISTS (
        SELECT FROM emperor.purges_forgotten f
        WHERE f.transaction >= pg_snapshot_xmin($1::text::pg_snapshot)
    )";

/// Writes how far readers have read, and that they are there. A crash of the server that loses the
/// last ones has them carry out some purges again, which is no harm.
const ADVANCE: &str = "
INSERT INTO emperor.purge_readers AS r (node, reader, through, server)
SELECT $1, a.reader, a.through::pg_snapshot, a.server
FROM unnest($2::text[], $3::text[], $4::text[]) AS a (reader, through, server)
ON CONFLICT (node, reader) DO UPDATE SET
    through = excluded.through, server = excluded.server, seen_at = clock_timestamp()";

const LETTER: &str = "
INSERT INTO emperor.purge_dead_letters (node, target, site_id, kind, names, reason)
VALUES ($1, $2, $3, $4, $5, $6)";

/// Has the commit of its statement wait for the disk. What the session writes else may be lost with the
/// server: it is done again then.
const DURABLY: &str = "set_config('synchronous_commit', 'local', true)";

/// Prepares a session: nobody's settings of role or database may slow it, stall it, or have it see
/// less than what is committed.
pub(super) async fn begin(client: &Client) -> Result<(), LinkError> {
    let settings = format!(
        "SET search_path = pg_catalog;
        SET lock_timeout = '2s';
        SET default_transaction_isolation = 'read committed';
        SET synchronous_commit = off;
        SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout';
        LISTEN {PURGES};"
    );
    timed(client.batch_execute(&settings)).await
}

/// Prepares what is asked at each notification, when somebody may be waiting for the answer.
pub(super) async fn prepare(client: &Client) -> Result<Statement, LinkError> {
    timed(client.prepare(NEW)).await
}

/// The present, for who has no past.
pub(super) async fn present(client: &Client) -> Result<Position, LinkError> {
    let query = "SELECT pg_current_snapshot()::text, emperor.server_identity()";
    let row = timed(client.query_one(query, &[])).await?;
    Ok(Position {
        snapshot: row.get(0),
        server: row.get(1),
    })
}

/// Whether the server still has the subscription. A proxy that pools transactions hasn't.
pub(super) async fn check_subscription(client: &Client) -> Result<(), LinkError> {
    let query = "SELECT EXISTS (SELECT FROM pg_listening_channels() c WHERE c = $1)";
    let row = timed(client.query_one(query, &[&PURGES])).await?;
    if row.get(0) {
        Ok(())
    } else {
        Err(LinkError::Pooled)
    }
}

/// How far a reader of this node had read, as far as that was written.
pub(super) async fn remembered(
    client: &Client,
    node: &str,
    reader: &Reader,
) -> Result<Option<Position>, LinkError> {
    let query = "SELECT r.through::text, r.server FROM emperor.purge_readers r
        WHERE r.node = $1 AND r.reader = $2";
    let reader = reader.text();
    let row = timed(client.query_opt(query, &[&node, &reader])).await?;
    Ok(row.map(|row| Position {
        snapshot: row.get(0),
        server: row.get(1),
    }))
}

pub(super) async fn missed(client: &Client, since: &Position) -> Result<bool, LinkError> {
    let row = timed(client.query_one(MISSED, &[&since.snapshot, &since.server])).await?;
    Ok(row.get(0))
}

/// What is new since a snapshot, up to another or up to the present, and the snapshot of this
/// reading.
pub(super) async fn new_events(
    client: &Client,
    new: &Statement,
    since: &str,
    up_to: Option<&str>,
) -> Result<(String, Vec<PurgeEvent>), LinkError> {
    let rows = timed(client.query(new, &[&since, &MAX_EVENTS, &up_to])).await?;
    let Some(first) = rows.first() else {
        // Unreachable in practice: the present is always one row.
        return Ok((since.to_owned(), Vec::new()));
    };
    let snapshot = first.get("snapshot");
    Ok((snapshot, rows.iter().filter_map(event).collect()))
}

fn event(row: &Row) -> Option<PurgeEvent> {
    let id: Option<i64> = row.get("id");
    let site: Option<i64> = row.get("site_id");
    Some(PurgeEvent {
        id: EventId::new(id?),
        // An id that no site can have has no pages.
        site: site.map(SiteId::new).transpose().ok()?,
        what: Purge::from_row(row.get("kind"), row.get("names")),
    })
}

/// Forgets where this node's targets were, durably: each gets everything purged, and is there again once it
/// is.
pub(super) async fn start_over(client: &Client, node: &str) -> Result<(), LinkError> {
    let update = format!(
        "UPDATE emperor.purge_readers SET server = ''
        WHERE node = $1 AND reader <> $2 AND {DURABLY} IS NOT NULL"
    );
    let cache = Reader::Cache.text();
    timed(client.execute(&update, &[&node, &cache]))
        .await
        .map(drop)
}

/// Writes marks and dead letters.
pub(super) async fn write(
    client: &Client,
    node: &str,
    outgoing: &Outgoing,
) -> Result<(), LinkError> {
    if !outgoing.marks.is_empty() {
        let positions = outgoing.marks.iter();
        let positions = positions.map(|(reader, mark)| (reader, &*mark.position));
        advance(client, node, positions).await?;
    }
    for letter in &outgoing.letters {
        let site = letter.site.map(SiteId::get);
        let (kind, names) = (letter.what.kind(), letter.what.names());
        let reason = letter.reason.replace('\0', "\u{fffd}");
        let values: [&(dyn ToSql + Sync); 6] =
            [&node, &letter.target, &site, &kind, &names, &reason];
        timed(client.execute(LETTER, &values)).await?;
    }
    Ok(())
}

/// Writes how far readers have read.
pub(super) async fn advance<'a>(
    client: &Client,
    node: &str,
    positions: impl Iterator<Item = (&'a Reader, &'a Position)>,
) -> Result<(), LinkError> {
    let (mut readers, mut snapshots, mut servers) = (vec![], vec![], vec![]);
    for (reader, position) in positions {
        readers.push(reader.text());
        snapshots.push(position.snapshot.as_str());
        servers.push(position.server.as_str());
    }
    let values: [&(dyn ToSql + Sync); 4] = [&node, &readers, &snapshots, &servers];
    timed(client.execute(ADVANCE, &values)).await.map(drop)
}

/// Says that the readers of this node are there, without having read on.
pub(super) async fn still_there(client: &Client, node: &str) -> Result<(), LinkError> {
    let update = "UPDATE emperor.purge_readers SET seen_at = clock_timestamp() WHERE node = $1";
    timed(client.execute(update, &[&node])).await.map(drop)
}

/// Nobody needs to wait for this node's caches any more; where it read up to stays known.
pub(super) async fn leave(client: &Client, node: &str) -> Result<(), LinkError> {
    let update = "UPDATE emperor.purge_readers
        SET seen_at = clock_timestamp() - emperor.purge_lease() WHERE node = $1";
    timed(client.execute(update, &[&node])).await.map(drop)
}

/// Deletes what everybody has read.
pub(super) async fn forget(client: &Client) -> Result<i64, LinkError> {
    let row = timed(client.query_one("SELECT emperor.forget_purges()", &[])).await?;
    Ok(row.get(0))
}

/// Purges as a caller of SQL does.
pub(super) async fn purge(
    client: &Client,
    site: Option<SiteId>,
    what: &Purge,
) -> Result<EventId, LinkError> {
    let site = site.map(SiteId::get);
    let row = match what {
        Purge::Paths(paths) => {
            let query = format!("SELECT emperor.purge($1, VARIADIC $2), {DURABLY}");
            timed(client.query_one(&query, &[&site, paths])).await?
        }
        Purge::Tags(tags) => {
            let query = format!("SELECT emperor.purge_tags($1, VARIADIC $2), {DURABLY}");
            timed(client.query_one(&query, &[&site, tags])).await?
        }
        Purge::Prefixes(prefixes) => {
            let query = format!(
                "SELECT max(emperor.purge_prefix($1, p)), {DURABLY} FROM unnest($2::text[]) p"
            );
            timed(client.query_one(&query, &[&site, prefixes])).await?
        }
        Purge::Hosts(hosts) => {
            let query = format!(
                "SELECT emperor.purge_hosts(array_fill($1::bigint, ARRAY[cardinality($2)]), $2), {DURABLY}"
            );
            timed(client.query_one(&query, &[&site, hosts])).await?
        }
        Purge::Everything => {
            let query = format!("SELECT emperor.purge_site($1), {DURABLY}");
            timed(client.query_one(&query, &[&site])).await?
        }
    };
    let id: Option<i64> = row.get(0);
    id.map(EventId::new).ok_or_else(|| LinkError::Statement {
        doing: Doing::Purging,
        message: "nothing is named".into(),
    })
}

/// Purges hosts, each with the site that has lost it.
pub(super) async fn purge_hosts(
    client: &Client,
    lost: &[(SiteId, String)],
) -> Result<(), LinkError> {
    let (sites, hosts): (Vec<_>, Vec<_>) =
        lost.iter().map(|(site, host)| (site.get(), host)).unzip();
    let query = format!("SELECT emperor.purge_hosts($1, $2), {DURABLY}");
    timed(client.query_one(&query, &[&sites, &hosts]))
        .await
        .map(drop)
}

async fn timed<T>(
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, LinkError> {
    bounded_by(TIMEOUT, Doing::Purging, answer).await
}
