//! The last good reading on disk, for a cold start without PostgreSQL.
//!
//! It holds the rows as text and is parsed by what parses rows, so it can't smuggle in what a row
//! could not have. It is written whole and renamed into place; a disk that is full costs the
//! snapshot and nothing else. Its mode is 0600, since `extra_config` may hold secrets.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imbl::OrdMap;
use serde::{Deserialize, Serialize};
use site_model::{RejectedSite, RejectionReason, SiteId};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::desired::{Desired, Row, Source};
use crate::reading::RawRow;

/// Raised when an older program would misread the file.
const VERSION: u32 = 1;
/// Changes that come within this time are written once.
const SETTLE: Duration = Duration::from_secs(1);
/// The columns a rejection can name; one that is not among them was written by a newer program.
const COLUMNS: &[&str] = &[
    "slug",
    "domain",
    "template",
    "run_as",
    "reloads",
    "domains.host",
    "domains.kind",
];

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    read_at: SystemTime,
    rows: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    Site(RawRow),
    Rejected {
        id: i64,
        slug: String,
        column: String,
        detail: String,
    },
}

/// Why a snapshot can't be used or written.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    /// The file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is no snapshot.
    #[error("{} is no snapshot: {source}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Where it ends to make sense.
        source: serde_json::Error,
    },
    /// It was written by another version of this program.
    #[error("{} has version {found}, this program knows {VERSION}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

/// The rows of a snapshot and when they were read; `None`: there is no snapshot.
pub(crate) type Loaded = Option<(OrdMap<SiteId, Row>, SystemTime)>;

/// Reads a snapshot. Blocks.
pub(crate) fn load(path: &Path) -> Result<Loaded, SnapshotError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(in_file(path)(source)),
    };
    let content = |source| SnapshotError::Content {
        path: path.to_owned(),
        source,
    };
    let document: Document = serde_json::from_slice(&text).map_err(content)?;
    if document.version != VERSION {
        return Err(SnapshotError::Version {
            path: path.to_owned(),
            found: document.version,
        });
    }
    let rows = document.rows.into_iter().filter_map(Entry::into_row);
    Ok(Some((rows.collect(), document.read_at)))
}

/// Writes a snapshot. Blocks. The file before stays whole until the new one is.
pub(crate) fn store(path: &Path, desired: &Desired) -> Result<(), SnapshotError> {
    let Source::Database { read_at } = desired.source else {
        return Ok(());
    };
    let document = Document {
        version: VERSION,
        read_at,
        rows: desired.rows.values().map(Entry::from).collect(),
    };
    let unfinished = path.with_extension("json.unfinished");
    write_synced(&unfinished, &document).map_err(in_file(&unfinished))?;
    fs::rename(&unfinished, path).map_err(in_file(path))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(in_file(folder))
}

/// Writes a snapshot after each change, until it is to stop; then once more. Owned by the
/// registry's task.
pub(crate) async fn keep(
    path: PathBuf,
    mut desired: watch::Receiver<Arc<Desired>>,
    stop: CancellationToken,
) {
    let mut failing = false;
    let mut written: Option<OrdMap<SiteId, Row>> = None;
    loop {
        tokio::select! {
            // The sender is gone together with the registry's task.
            changed = desired.changed() => if changed.is_err() { return },
            () = stop.cancelled() => {}
        }
        tokio::select! {
            () = tokio::time::sleep(SETTLE) => {}
            () = stop.cancelled() => {}
        }
        let latest = Arc::clone(&desired.borrow_and_update());
        if written.as_ref() != Some(&latest.rows) && latest.is_known() {
            let (path, rows) = (path.clone(), latest.rows.clone());
            let stored = tokio::task::spawn_blocking(move || store(&path, &latest)).await;
            match stored {
                Ok(Ok(())) => (failing, written) = (false, Some(rows)),
                Ok(Err(error)) if !failing => {
                    failing = true;
                    tracing::warn!(
                        %error,
                        "the snapshot of the last reading can't be written; a start without \
                         PostgreSQL would begin with an older one"
                    );
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

fn write_synced(path: &Path, document: &Document) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut writer = BufWriter::new(file);
    serde_json::to_writer(&mut writer, document)?;
    writer.flush()?;
    writer.get_ref().sync_all()
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::File { path, source }
}

impl From<&Row> for Entry {
    fn from(row: &Row) -> Self {
        match row {
            Row::Site(site) => Self::Site(RawRow::from(&**site)),
            Row::Rejected(rejected) => {
                let (column, detail) = match &rejected.reason {
                    RejectionReason::Column { column, detail } => (*column, detail.clone()),
                    // Of later judges, not of a row as such.
                    reason @ (RejectionReason::HostTaken { .. }
                    | RejectionReason::UnknownTemplate { .. }
                    | RejectionReason::Configuration(_)
                    | RejectionReason::RunAs(_)) => ("slug", reason.to_string()),
                };
                Self::Rejected {
                    id: rejected.id.get(),
                    slug: rejected.slug.clone(),
                    column: column.to_owned(),
                    detail,
                }
            }
        }
    }
}

impl Entry {
    fn into_row(self) -> Option<(SiteId, Row)> {
        match self {
            Self::Site(raw) => {
                let id = SiteId::new(raw.id).ok()?;
                Some((id, raw.parse(id)))
            }
            Self::Rejected {
                id,
                slug,
                column,
                detail,
            } => {
                let id = SiteId::new(id).ok()?;
                let known = COLUMNS.iter().find(|known| **known == column);
                let column = known.copied().unwrap_or("(another)");
                let reason = RejectionReason::Column { column, detail };
                Some((
                    id,
                    Row::Rejected(Arc::new(RejectedSite { id, slug, reason })),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::tests::raw;

    fn desired() -> Desired {
        let mut bad = raw(2);
        bad.template = "../x".into();
        let rows = [raw(1), bad].map(|raw| {
            let id = SiteId::new(raw.id).unwrap();
            (id, raw.parse(id))
        });
        Desired {
            rows: rows.into_iter().collect(),
            held_removals: None,
            source: Source::Database {
                read_at: SystemTime::UNIX_EPOCH,
            },
        }
    }

    #[test]
    fn rows_survive_on_disk_the_rejected_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        assert!(load(&path).unwrap().is_none());
        store(&path, &desired()).unwrap();
        let (rows, read_at) = load(&path).unwrap().unwrap();
        assert_eq!((rows, read_at), (desired().rows, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_snapshot_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        store(&path, &desired()).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_snapshot_is_named_and_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        for (text, message) in [
            ("", "is no snapshot"),
            ("{\"version\":1,\"rows\":[", "is no snapshot"),
            (
                "{\"version\":2,\"read_at\":{\"secs_since_epoch\":0,\"nanos_since_epoch\":0},\"rows\":[]}",
                "has version 2",
            ),
        ] {
            fs::write(&path, text).unwrap();
            let error = load(&path).unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_snapshot_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        store(&path, &desired()).unwrap();
        // A folder in the way of the unfinished file stands for a disk that takes no more.
        fs::create_dir(path.with_extension("json.unfinished")).unwrap();
        assert!(
            store(
                &path,
                &Desired {
                    rows: OrdMap::new(),
                    ..desired()
                }
            )
            .is_err()
        );
        assert_eq!(load(&path).unwrap().unwrap().0, desired().rows);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_read_from_the_database_is_never_stored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        let (_sender, receiver) = watch::channel(Arc::new(Desired::nothing()));
        let stop = CancellationToken::new();
        stop.cancel();
        keep(path.clone(), receiver, stop).await;
        assert!(load(&path).unwrap().is_none());
    }
}
