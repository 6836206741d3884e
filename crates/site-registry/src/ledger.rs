//! Desired state from reading to reading, and the guard against mass removal. No I/O, no clock.
//!
//! A site is removed when a reading lacks it. When one reading lacks many at once, that is more
//! often a mistake (a `DELETE` without `WHERE`, the wrong database, a restore under way) than meant,
//! and nothing is as hard to take back as stopping everything: those sites are kept until somebody
//! confirms, or until their rows are back.

use std::collections::BTreeSet;
use std::time::SystemTime;

use imbl::{OrdMap, OrdSet};
use site_model::SiteId;

use crate::desired::{Desired, HeldRemovals, Row, Source};

/// Fewer than so many removals are believed, whatever their share.
const ALWAYS_BELIEVED_BELOW: usize = 10;

/// Desired state, and what may change it.
#[derive(Debug)]
pub(crate) struct Ledger {
    desired: Desired,
    max_removals_percent: u8,
}

/// A reading of some rows.
#[derive(Debug)]
pub(crate) struct PartialReading {
    /// The ids that were asked for.
    pub(crate) asked: BTreeSet<i64>,
    /// The rows that exist.
    pub(crate) found: OrdMap<SiteId, Row>,
}

impl Ledger {
    pub(crate) fn new(max_removals_percent: u8) -> Self {
        Self {
            desired: Desired::nothing(),
            max_removals_percent,
        }
    }

    pub(crate) fn desired(&self) -> &Desired {
        &self.desired
    }

    /// Begins with what was known before this process.
    pub(crate) fn restore(&mut self, rows: OrdMap<SiteId, Row>, read_at: SystemTime) {
        self.desired = Desired {
            rows,
            held_removals: None,
            source: Source::Snapshot { read_at },
        };
    }

    /// Takes in a reading of everything.
    pub(crate) fn take_all(&mut self, rows: &OrdMap<SiteId, Row>, now: SystemTime) {
        let missing = self.ids_where(|id| !rows.contains_key(id));
        self.take(rows, missing, now);
    }

    /// Takes in a reading of some rows; `false` where it lacks one that was known. Then the guard
    /// has to see all that is missing, and [`take_with_ids`](Self::take_with_ids) is to be called
    /// with every id there is: notifications of one transaction may be read in parts, and what
    /// looks like one removal may be the first of thousands.
    #[must_use]
    pub(crate) fn take_some(&mut self, reading: &PartialReading, now: SystemTime) -> bool {
        let lacks = |id: &i64| {
            let id = SiteId::new(*id).ok();
            id.is_some_and(|id| {
                self.desired.rows.contains_key(&id)
                    && !reading.found.contains_key(&id)
                    && !self.holds(id)
            })
        };
        if reading.asked.iter().any(lacks) {
            return false;
        }
        let held = self.desired.held_removals.as_ref();
        let still_missing = held.map(|held| &held.ids).into_iter().flatten().copied();
        let still_missing = still_missing.filter(|id| !reading.found.contains_key(id));
        let missing = still_missing.collect();
        self.take(&reading.found, missing, now);
        true
    }

    /// Takes in a reading of some rows, judged by every id there is.
    pub(crate) fn take_with_ids(
        &mut self,
        reading: &PartialReading,
        existing: &BTreeSet<i64>,
        now: SystemTime,
    ) {
        let missing = self.ids_where(|id| !existing.contains(&id.get()));
        // A row may have gone between the two readings.
        let mut found = reading.found.clone();
        for id in &missing {
            found.remove(id);
        }
        self.take(&found, missing, now);
    }

    /// Removes a site that its operator just removed by name.
    pub(crate) fn remove(&mut self, site: SiteId) {
        self.desired.rows.remove(&site);
        self.release(&OrdSet::unit(site));
    }

    /// Lets go of the sites that are held, and returns them.
    pub(crate) fn confirm_removals(&mut self) -> Vec<SiteId> {
        let held = self.desired.held_removals.take();
        let ids: Vec<_> = held.iter().flat_map(|held| &held.ids).copied().collect();
        for id in &ids {
            self.desired.rows.remove(id);
        }
        ids
    }

    /// What is held stays held until it is back, however few are left of it: rows that are restored
    /// one by one must not cost the last ones their sites. What is newly missing is judged alone.
    fn take(&mut self, found: &OrdMap<SiteId, Row>, missing: OrdSet<SiteId>, now: SystemTime) {
        let of = self.desired.rows.len();
        let (held, new): (OrdSet<_>, OrdSet<_>) =
            missing.into_iter().partition(|id| self.holds(*id));
        let since = self.desired.held_removals.as_ref().map(|held| held.since);
        let held = if self.is_believed(new.len(), of) {
            for id in &new {
                self.desired.rows.remove(id);
            }
            held
        } else {
            held.union(new)
        };
        self.desired.held_removals = (!held.is_empty()).then(|| HeldRemovals {
            ids: held,
            of,
            since: since.unwrap_or(now),
        });
        if self.desired.rows.is_empty() {
            self.desired.rows = found.clone();
        }
        for (id, row) in found {
            // A row that is as it was keeps its place, so that two versions share it.
            if self.desired.rows.get(id) != Some(row) {
                self.desired.rows.insert(*id, row.clone());
            }
        }
        self.desired.source = Source::Database { read_at: now };
    }

    fn is_believed(&self, missing: usize, of: usize) -> bool {
        missing < ALWAYS_BELIEVED_BELOW
            || missing * 100 <= of * usize::from(self.max_removals_percent)
    }

    fn holds(&self, id: SiteId) -> bool {
        let held = self.desired.held_removals.as_ref();
        held.is_some_and(|held| held.ids.contains(&id))
    }

    fn release(&mut self, ids: &OrdSet<SiteId>) {
        if let Some(held) = self.desired.held_removals.take() {
            let rest = held.ids.clone().relative_complement(ids.clone());
            self.desired.held_removals =
                (!rest.is_empty()).then_some(HeldRemovals { ids: rest, ..held });
        }
    }

    fn ids_where(&self, predicate: impl Fn(&SiteId) -> bool) -> OrdSet<SiteId> {
        let ids = self.desired.rows.keys();
        ids.filter(|id| predicate(id)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reading::tests::raw;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn rows(ids: impl IntoIterator<Item = i64>) -> OrdMap<SiteId, Row> {
        let row = |id| {
            let id = SiteId::new(id).unwrap();
            (id, raw(id.get()).parse(id))
        };
        ids.into_iter().map(row).collect()
    }

    fn ledger(ids: impl IntoIterator<Item = i64>, percent: u8) -> Ledger {
        let mut ledger = Ledger::new(percent);
        ledger.take_all(&rows(ids), NOW);
        ledger
    }

    fn held(ledger: &Ledger) -> usize {
        ledger
            .desired()
            .held_removals
            .as_ref()
            .map_or(0, |held| held.ids.len())
    }

    fn check(before: i64, after: i64, percent: u8, expected_rows: usize, expected_held: usize) {
        let mut ledger = ledger(1..=before, percent);
        ledger.take_all(&rows(1..=after), NOW);
        assert_eq!(
            (ledger.desired().rows.len(), held(&ledger)),
            (expected_rows, expected_held),
            "{before} -> {after} at {percent}%"
        );
    }

    #[test]
    fn many_removals_in_one_reading_are_held_and_few_are_not() {
        check(100, 50, 50, 50, 0);
        check(100, 49, 50, 100, 51);
        check(100, 0, 50, 100, 100);
        check(9, 0, 50, 0, 0);
        check(10, 0, 50, 10, 10);
        check(100, 91, 0, 91, 0);
        check(100, 90, 0, 100, 10);
        check(100, 0, 100, 0, 0);
        check(0, 100, 50, 100, 0);
    }

    #[test]
    fn a_hold_ends_when_the_rows_are_back() {
        let mut ledger = ledger(1..=100, 50);
        ledger.take_all(&rows(1..=10), NOW);
        assert_eq!(held(&ledger), 90);
        ledger.take_all(&rows(1..=100), NOW);
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (100, 0));
    }

    #[test]
    fn rows_that_come_back_one_by_one_end_the_hold_with_the_last() {
        let mut ledger = ledger(1..=100, 50);
        ledger.take_all(&rows(1..=10), NOW);
        for restored in 11..100 {
            ledger.take_all(&rows(1..=restored), NOW);
            let left = usize::try_from(100 - restored).unwrap();
            assert_eq!((ledger.desired().rows.len(), held(&ledger)), (100, left));
        }
        ledger.take_all(&rows(1..=100), NOW);
        assert_eq!(ledger.desired().held_removals, None);
    }

    #[test]
    fn a_few_removals_are_believed_while_others_are_held() {
        let mut ledger = ledger(1..=100, 50);
        ledger.take_all(&rows(1..=20), NOW);
        ledger.take_all(&rows(2..=20), NOW);
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (99, 80));
    }

    #[test]
    fn a_hold_lasts_over_readings_of_other_rows() {
        let mut ledger = ledger(1..=100, 50);
        ledger.take_all(&rows(1..=10), NOW);
        let reading = PartialReading {
            asked: [5, 11, 200].into(),
            found: rows([5, 11, 200]),
        };
        assert!(ledger.take_some(&reading, NOW));
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (101, 89));
    }

    #[test]
    fn a_missing_row_has_the_guard_look_at_all_of_them() {
        let mut ledger = ledger(1..=100, 50);
        let reading = PartialReading {
            asked: [1].into(),
            found: OrdMap::new(),
        };
        assert!(!ledger.take_some(&reading, NOW));
        ledger.take_with_ids(&reading, &(90..=100).collect(), NOW);
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (100, 89));
        let mut ledger = self::ledger(1..=100, 50);
        ledger.take_with_ids(&reading, &(2..=100).collect(), NOW);
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (99, 0));
    }

    #[test]
    fn confirmed_removals_are_gone_and_the_rest_stays() {
        let mut ledger = ledger(1..=100, 50);
        ledger.take_all(&rows(1..=10), NOW);
        assert_eq!(ledger.confirm_removals().len(), 90);
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (10, 0));
        assert!(ledger.confirm_removals().is_empty());
    }

    #[test]
    fn a_site_removed_by_name_is_not_held() {
        let mut ledger = ledger(1..=100, 50);
        ledger.take_all(&rows(1..=10), NOW);
        ledger.remove(SiteId::new(50).unwrap());
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (99, 89));
    }

    #[test]
    fn a_snapshot_is_guarded_like_a_reading() {
        let mut ledger = Ledger::new(50);
        ledger.restore(rows(1..=20), NOW);
        ledger.take_all(&rows([]), NOW);
        assert_eq!((ledger.desired().rows.len(), held(&ledger)), (20, 20));
    }

    proptest! {
        /// Whatever was read in between: once a reading of everything is believed, the rows are
        /// exactly those of that reading.
        #[test]
        fn a_believed_reading_is_what_counts(
            steps in prop::collection::vec(prop::collection::btree_set(1i64..40, 0..40), 1..6),
            percent in 0u8..=100,
        ) {
            let mut ledger = Ledger::new(percent);
            for step in &steps {
                ledger.take_all(&rows(step.iter().copied()), NOW);
            }
            let last = rows(steps.last().unwrap().iter().copied());
            for (id, row) in &last {
                prop_assert_eq!(ledger.desired().rows.get(id), Some(row));
            }
            ledger.confirm_removals();
            prop_assert_eq!(&ledger.desired().rows, &last);
        }
    }
}
