//! The last good reading on disk, for a cold start without PostgreSQL.
//!
//! It holds the rows as text and is parsed by what parses rows, so it can't smuggle in what a row
//! could not have. It is written whole and renamed into place; what changes afterwards is written
//! beside it, until that has become too much. A disk that is full costs the snapshot and nothing else.
//! The mode is 0600, since `extra_config` may hold secrets.

mod changes;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use imbl::OrdMap;
use serde::{Deserialize, Serialize, Serializer};
use site_model::{RejectedSite, RejectionReason, SiteId, every_second_first};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::changes::Step;
use crate::desired::{Desired, Row, Source};
use crate::reading::RawRow;

/// Raised when an older program would misread the file.
const VERSION: u32 = 2;
/// Had no changes beside it.
const VERSION_WITHOUT_CHANGES: u32 = 1;
/// One row in so many may have changed before everything is written anew.
const ROWS_PER_CHANGE: usize = 4;
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
    "django_site.domain",
    "django_multisite_plus_site.real_domain",
    "django_multisite_plus_site.slug",
    "multisite_alias.domain",
    "emperor.django_sites.slug",
    "emperor.django_sites.template",
    "emperor.django_sites.run_as",
    "site_id",
    "hosts",
];

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

    fn write(path: &Path, desired: &Desired) -> Written {
        Written::bring(None, path, desired).unwrap().unwrap()
    }

    /// A house of twenty, so that a change of some is written beside it.
    fn many() -> Desired {
        let rows = (1..=20).map(|number| {
            let id = SiteId::new(number).unwrap();
            (id, raw(number).parse(id))
        });
        Desired {
            rows: rows.collect(),
            ..desired()
        }
    }

    /// One row is another, one is gone, and the reading is later.
    fn edited(desired: &Desired, seconds: u64) -> Desired {
        let mut rows = desired.rows.clone();
        let (gone, _) = rows.get_min().cloned().unwrap();
        let (changed, _) = rows.get_max().cloned().unwrap();
        rows.remove(&gone);
        let mut row = raw(changed.get());
        row.domain = format!("at-{seconds}.example");
        rows.insert(changed, row.parse(changed));
        Desired {
            rows,
            source: Source::Database {
                read_at: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            },
            ..desired.clone()
        }
    }

    fn check(path: &Path, expected: &Desired) {
        let (rows, read_at) = load(path).unwrap().unwrap();
        assert_eq!(rows, expected.rows);
        assert_eq!(expected.source, Source::Database { read_at });
    }

    #[test]
    fn an_edit_is_written_beside_the_rest_and_many_are_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        let mut latest = many();
        let mut written = Some(write(&path, &latest));
        let whole = fs::read(&path).unwrap();
        for seconds in 1..=2 {
            latest = edited(&latest, seconds);
            written = Written::bring(written, &path, &latest).unwrap();
            check(&path, &latest);
        }
        assert_eq!(fs::read(&path).unwrap(), whole, "written again for an edit");
        latest = edited(&latest, 3);
        Written::bring(written, &path, &latest).unwrap();
        check(&path, &latest);
        assert_ne!(fs::read(&path).unwrap(), whole);
        assert!(!changes_path(&path).exists());
    }

    #[test]
    fn a_change_that_a_death_broke_off_is_left_out_and_so_is_one_of_another_edition() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        let before = many();
        let written = write(&path, &before);
        let once = edited(&before, 1);
        let written = Written::bring(Some(written), &path, &once).unwrap();
        let first = fs::read(changes_path(&path)).unwrap();
        Written::bring(written, &path, &edited(&once, 2)).unwrap();
        let both = fs::read(changes_path(&path)).unwrap();
        for length in first.len()..both.len() - 1 {
            fs::write(changes_path(&path), &both[..length]).unwrap();
            check(&path, &once);
        }
        write(&path, &before);
        fs::write(changes_path(&path), &both).unwrap();
        check(&path, &before);
    }

    #[test]
    fn a_snapshot_of_the_version_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        write(&path, &desired());
        let mut document: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let fields = document.as_object_mut().unwrap();
        fields.insert("version".into(), 1.into());
        fields.remove("edition");
        fs::write(&path, document.to_string()).unwrap();
        check(&path, &desired());
    }

    #[test]
    fn rows_survive_on_disk_the_rejected_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        assert!(load(&path).unwrap().is_none());
        write(&path, &desired());
        let (rows, read_at) = load(&path).unwrap().unwrap();
        assert_eq!((rows, read_at), (desired().rows, SystemTime::UNIX_EPOCH));
    }

    #[test]
    fn a_snapshot_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        write(&path, &desired());
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
                "{\"version\":3,\"read_at\":{\"secs_since_epoch\":0,\"nanos_since_epoch\":0},\"rows\":[]}",
                "has version 3",
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
        write(&path, &desired());
        // A folder in the way of the unfinished file stands for a disk that takes no more.
        fs::create_dir(path.with_extension("json.unfinished")).unwrap();
        let empty = Desired {
            rows: OrdMap::new(),
            ..desired()
        };
        assert!(Written::bring(None, &path, &empty).is_err());
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
