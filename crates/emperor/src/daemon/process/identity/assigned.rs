//! Which uid of the range belongs to whom, for good.
//!
//! A uid that was given is never given to another site, not even after its site is gone: files it
//! left behind would become readable to the next. That costs a line in a file per site that ever
//! was; a range has a hundred thousand. Nor is one given that another emperor of this machine gave:
//! `neighbours`.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use site_model::SiteId;
use tracing::warn;

use super::super::durable;
use super::super::failure::{IdentityError, PathFailure, PrepareError};
use super::accounts;
use super::neighbours::{Neighbours, Turn};
use super::table::{self, Table};

/// The assignments, in memory and on disk.
#[derive(Debug)]
pub(super) struct Assigned {
    file: PathBuf,
    range: RangeInclusive<u32>,
    neighbours: Option<Neighbours>,
    table: Mutex<Table>,
}

impl Assigned {
    /// Reads the file; none yet is an empty one.
    pub(super) fn read(
        file: PathBuf,
        range: RangeInclusive<u32>,
        neighbours: Option<Neighbours>,
    ) -> Result<Self, PrepareError> {
        let table = table::read(&file)?.unwrap_or_default();
        let assigned = Self {
            file,
            range,
            neighbours,
            table: Mutex::new(table),
        };
        assigned.tell_what_is_shared()?;
        Ok(assigned)
    }

    /// What was given twice before emperors looked at each other, or by one whose `state_dir` was copied.
    fn tell_what_is_shared(&self) -> Result<(), PrepareError> {
        let own = self.lock().taken();
        let others = self.turn()?.map(|turn| turn.given_by_others());
        for (theirs, given) in others.into_iter().flatten() {
            if let Some(uid) = own.intersection(&given).next() {
                warn!(
                    uid, count = own.intersection(&given).count(), theirs = %theirs.display(),
                    "sites of another emperor have the same uids as sites of this one, and either can read \
                     the other's files; give one of the two another policy.uid_range and an empty state_dir, \
                     or remove that file if its emperor is gone for good"
                );
            }
        }
        Ok(())
    }

    fn turn(&self) -> Result<Option<Turn<'_>>, PathFailure> {
        self.neighbours.as_ref().map(Neighbours::turn).transpose()
    }

    /// The router's uid: the highest that was free at its first start.
    pub(super) fn to_router(&self) -> Result<u32, IdentityError> {
        let mut table = self.lock();
        if let Some(uid) = table.router {
            return self.in_range(uid);
        }
        let turn = self.turn().map_err(IdentityError::NotWritten)?;
        let taken = taken(&table, turn.as_ref());
        let uid = self.free(self.range.clone().rev(), &taken)?;
        let mut next = table.clone();
        next.router = Some(uid);
        self.write(&mut table, next)?;
        Ok(uid)
    }

    /// A site's uid: the lowest that was free at its first start.
    pub(super) fn to_site(&self, site: SiteId) -> Result<u32, IdentityError> {
        if self.known(site).is_none() {
            self.to_sites(&[site])?;
        }
        self.known(site).map_or_else(
            || Err(IdentityError::Exhausted(self.range.clone())),
            |uid| self.in_range(uid),
        )
    }

    /// The uid that a site has, whatever the range is now.
    fn known(&self, site: SiteId) -> Option<u32> {
        self.lock().sites.get(&site.get()).copied()
    }

    /// Uids for all of these, as far as the range reaches, in one writing.
    pub(super) fn to_sites(&self, sites: &[SiteId]) -> Result<(), IdentityError> {
        let mut table = self.lock();
        if sites
            .iter()
            .all(|site| table.sites.contains_key(&site.get()))
        {
            return Ok(());
        }
        let turn = self.turn().map_err(IdentityError::NotWritten)?;
        let mut next = table.clone();
        let mut taken = taken(&next, turn.as_ref());
        let mut candidates = self.range.clone();
        for site in sites {
            if next.sites.contains_key(&site.get()) {
                continue;
            }
            // The candidates before were seen taken, so the search goes on where it ended.
            match self.free(candidates.by_ref(), &taken) {
                Ok(uid) => {
                    next.sites.insert(site.get(), uid);
                    taken.insert(uid);
                }
                // Those before it have theirs; this one is told when it is asked for by itself.
                Err(IdentityError::Exhausted(_)) => break,
                Err(error) => return Err(error),
            }
        }
        if next.sites.len() == table.sites.len() {
            return Ok(());
        }
        self.write(&mut table, next)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn free(
        &self,
        mut candidates: impl Iterator<Item = u32>,
        taken: &BTreeSet<u32>,
    ) -> Result<u32, IdentityError> {
        candidates
            .find_map(|uid| {
                if taken.contains(&uid) {
                    return None;
                }
                match accounts::is_taken(uid) {
                    Ok(true) => None,
                    Ok(false) => Some(Ok(uid)),
                    Err(error) => Some(Err(error)),
                }
            })
            .unwrap_or_else(|| Err(IdentityError::Exhausted(self.range.clone())))
    }

    fn in_range(&self, uid: u32) -> Result<u32, IdentityError> {
        if self.range.contains(&uid) {
            return Ok(uid);
        }
        Err(IdentityError::OutOfRange {
            uid,
            range: self.range.clone(),
        })
    }

    /// On disk first: what is only in memory would be given to another after a restart.
    fn write(&self, table: &mut Table, next: Table) -> Result<(), IdentityError> {
        let text = serde_json::to_string_pretty(&next).expect("numbers under numbers are JSON");
        durable::replace(&self.file, &text).map_err(IdentityError::NotWritten)?;
        *table = next;
        Ok(())
    }
}

/// What is given here and by the others.
fn taken(table: &Table, turn: Option<&Turn<'_>>) -> BTreeSet<u32> {
    let others = turn.map(Turn::given_by_others).unwrap_or_default();
    let others = others.into_iter().flat_map(|(_, given)| given);
    table.taken().into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(id: i64) -> SiteId {
        SiteId::new(id).unwrap()
    }

    fn read(folder: &tempfile::TempDir, range: RangeInclusive<u32>) -> Assigned {
        Assigned::read(folder.path().join("identities.json"), range, None).unwrap()
    }

    #[test]
    fn two_emperors_with_one_range_give_out_no_uid_twice() {
        let folder = tempfile::tempdir().unwrap();
        let open = |name: &str| {
            let state = folder.path().join(name);
            std::fs::create_dir_all(&state).unwrap();
            let file = state.join("identities.json");
            let meeting = folder.path().join("uids");
            let neighbours = Neighbours::meet(meeting, file.clone()).unwrap();
            Assigned::read(file, 271_000..=271_009, Some(neighbours)).unwrap()
        };
        let (one, other) = (open("one"), open("other"));
        let uids = |assigned: &Assigned| {
            let sites = [1, 2].map(|id| assigned.to_site(site(id)).unwrap());
            (assigned.to_router().unwrap(), sites)
        };
        assert_eq!(uids(&one), (271_009, [271_000, 271_001]));
        assert_eq!(uids(&other), (271_008, [271_002, 271_003]));
        // It needn't run for what it gave to be its own.
        drop(one);
        assert_eq!(other.to_site(site(3)).unwrap(), 271_004);
        assert_eq!(open("one").to_site(site(3)).unwrap(), 271_005);
        // What is gone with its state_dir can be given again.
        std::fs::remove_dir_all(folder.path().join("one")).unwrap();
        assert_eq!(other.to_site(site(4)).unwrap(), 271_000);
    }

    #[test]
    fn a_site_has_the_same_uid_at_every_start_and_no_two_have_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = read(&folder, 271_000..=271_009);
        let router = first.to_router().unwrap();
        let uids = [7, 3, 5].map(|id| first.to_site(site(id)).unwrap());
        assert_eq!(uids, [271_000, 271_001, 271_002]);

        let second = read(&folder, 271_000..=271_009);
        assert_eq!([7, 3, 5].map(|id| second.to_site(site(id)).unwrap()), uids);
        assert_eq!(second.to_router().unwrap(), router);
        assert_eq!(second.to_site(site(1)).unwrap(), 271_003);
    }

    #[test]
    fn a_range_that_ends_or_moves_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let assigned = read(&folder, 271_000..=271_001);
        assigned.to_sites(&[site(1), site(2), site(3)]).unwrap();
        assert_eq!(assigned.to_site(site(2)).unwrap(), 271_001);
        let exhausted = assigned.to_site(site(3)).unwrap_err();
        assert_eq!(
            exhausted.to_string(),
            "every uid of policy.uid_range \"271000-271001\" is taken; widen it"
        );
        let moved = read(&folder, 272_000..=272_001);
        assert!(matches!(
            moved.to_site(site(1)),
            Err(IdentityError::OutOfRange { uid: 271_000, .. })
        ));
    }

    #[test]
    fn a_uid_of_a_real_account_is_passed_over() {
        // 0 is root's everywhere.
        let folder = tempfile::tempdir().unwrap();
        let assigned = read(&folder, 0..=65_000);
        assert_ne!(assigned.to_site(site(1)).unwrap(), 0);
    }

    #[test]
    fn a_uid_that_can_t_be_written_down_is_not_given() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gone/identities.json");
        let assigned = Assigned::read(file, 271_000..=271_009, None).unwrap();
        for _ in 0..2 {
            let refused = assigned.to_site(site(1));
            assert!(matches!(refused, Err(IdentityError::NotWritten(_))));
        }
    }

    #[test]
    fn a_file_that_can_t_be_understood_is_never_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("identities.json");
        for wrong in ["", "{", r#"{"sites": {"1": 5, "2": 5}}"#] {
            std::fs::write(&file, wrong).unwrap();
            let refused = Assigned::read(file.clone(), 1..=9, None);
            assert!(
                matches!(refused, Err(PrepareError::Identities { .. })),
                "{wrong}"
            );
        }
    }
}
