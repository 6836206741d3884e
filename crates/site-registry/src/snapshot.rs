//! The last good reading on disk, for a cold start without PostgreSQL.
//!
//! It holds the rows as text and is parsed by what parses rows, so it can't smuggle in what a row
//! could not have. It is written whole and renamed into place; what changes afterwards is written
//! beside it, until that has become too much. A disk that is full costs the snapshot and nothing else.
//! The mode is 0600, since `extra_config` may hold secrets.

mod changes;
mod entry;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imbl::OrdMap;
use serde::{Deserialize, Serialize, Serializer};
use site_model::{SiteId, every_second_first};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::changes::Step;
use self::entry::Entry;
use crate::desired::{Desired, Row, Source};

/// Raised when an older program would misread the file.
const VERSION: u32 = 2;
/// Had no changes beside it.
const VERSION_WITHOUT_CHANGES: u32 = 1;
/// One row in so many may have changed before everything is written anew.
const ROWS_PER_CHANGE: usize = 4;
/// Changes that come within this time are written once.
const SETTLE: Duration = Duration::from_secs(1);
#[derive(Deserialize)]
struct Document {
    version: u32,
    /// Tells changes that are laid over it from others.
    #[serde(default)]
    edition: u64,
    read_at: SystemTime,
    rows: Vec<Entry>,
}

/// The same while it is written: no row stands in memory a second time.
#[derive(Serialize)]
struct Outgoing<'a> {
    version: u32,
    edition: u64,
    read_at: SystemTime,
    #[serde(serialize_with = "entries")]
    rows: &'a OrdMap<SiteId, Row>,
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
    if ![VERSION, VERSION_WITHOUT_CHANGES].contains(&document.version) {
        return Err(SnapshotError::Version {
            path: path.to_owned(),
            found: document.version,
        });
    }
    let rows = document.rows.into_iter().filter_map(Entry::into_row);
    let (mut rows, mut read_at) = (every_second_first(rows).collect(), document.read_at);
    for step in changes::read(&changes_beside(path)?, document.edition) {
        read_at = step.read_at;
        step.apply(&mut rows);
    }
    Ok(Some((rows, read_at)))
}

fn changes_beside(path: &Path) -> Result<Vec<u8>, SnapshotError> {
    let path = changes_path(path);
    match fs::read(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(in_file(&path)(source)),
    }
}

fn changes_path(path: &Path) -> PathBuf {
    path.with_extension("changes.json")
}

/// What this process has written.
#[derive(Debug)]
struct Written {
    edition: u64,
    rows: OrdMap<SiteId, Row>,
    /// Rows that the changes beside the whole have.
    changed: usize,
}

impl Written {
    /// Writes down what is known now. Blocks. What was written before stays whole until the new is.
    fn bring(
        before: Option<Self>,
        path: &Path,
        desired: &Desired,
    ) -> Result<Option<Self>, SnapshotError> {
        let Source::Database { read_at } = desired.source else {
            return Ok(before);
        };
        let rows = &desired.rows;
        if let Some(before) = before {
            let step = Step::between(before.edition, &before.rows, (rows, read_at));
            let changed = before.changed + step.len();
            if step.len() == 0 {
                return Ok(Some(before));
            }
            if changed <= rows.len() / ROWS_PER_CHANGE {
                let path = changes_path(path);
                step.append(&path).map_err(in_file(&path))?;
                let (rows, edition) = (rows.clone(), before.edition);
                return Ok(Some(Self {
                    edition,
                    rows,
                    changed,
                }));
            }
        }
        let edition = fastrand::u64(..);
        store(path, (rows, read_at), edition)?;
        Ok(Some(Self {
            edition,
            rows: rows.clone(),
            changed: 0,
        }))
    }
}

fn store(
    path: &Path,
    (rows, read_at): (&OrdMap<SiteId, Row>, SystemTime),
    edition: u64,
) -> Result<(), SnapshotError> {
    let document = Outgoing {
        version: VERSION,
        edition,
        read_at,
        rows,
    };
    let unfinished = path.with_extension("json.unfinished");
    write_synced(&unfinished, &document).map_err(in_file(&unfinished))?;
    fs::rename(&unfinished, path).map_err(in_file(path))?;
    // A death before this leaves changes of another edition, which nobody reads.
    let changes = changes_path(path);
    match fs::remove_file(&changes) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(in_file(&changes)(error));
        }
        Ok(()) | Err(_) => {}
    }
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
    let mut written: Option<Written> = None;
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
        let (file, before) = (path.clone(), written.take());
        let stored =
            tokio::task::spawn_blocking(move || Written::bring(before, &file, &latest)).await;
        match stored {
            Ok(Ok(now)) => (failing, written) = (false, now),
            Ok(Err(error)) if !failing => {
                failing = true;
                tracing::warn!(
                    %error,
                    "the snapshot of the last reading can't be written; a start without \
                     PostgreSQL would begin with an older one"
                );
            }
            // Written whole the next time: how far this came isn't known.
            Ok(Err(_)) | Err(_) => {}
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

fn write_synced(path: &Path, document: &Outgoing<'_>) -> io::Result<()> {
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

fn entries<S: Serializer>(rows: &OrdMap<SiteId, Row>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.values().map(Entry::from))
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    let path = path.to_owned();
    move |source| SnapshotError::File { path, source }
}

#[cfg(test)]
mod tests;
