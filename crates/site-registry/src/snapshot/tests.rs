//! A snapshot over its life on disk.

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
