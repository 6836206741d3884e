//! Reloads that come in bursts: a site is replaced once its count of reloads has been still for a
//! while. No I/O; `now` is an argument.
//!
//! Only the count is held back. Whatever else changes in a row is followed at once, and takes the
//! count along. Sites of a pool are replaced together, and so are still together.

use std::collections::BTreeMap;
use std::time::Duration;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use site_model::{Site, SiteId};
use site_registry::Row;
use tokio::time::Instant;

/// A burst without an end is cut off after so many times the stillness that was waited for.
const LONGEST: u32 = 10;

/// The reloads that wait.
#[derive(Debug)]
pub(super) struct Settling {
    settle: Duration,
    held: BTreeMap<SiteId, Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    reloads: u64,
    since: Instant,
    due: Instant,
}

impl Settling {
    /// Counts have to be still for so long.
    pub(super) fn new(settle: Duration) -> Self {
        Self {
            settle,
            held: BTreeMap::new(),
        }
    }

    /// The rows to follow now, where `before` is followed and `rows` is what the database says.
    pub(super) fn hold(
        &mut self,
        before: &OrdMap<SiteId, Row>,
        rows: &OrdMap<SiteId, Row>,
        now: Instant,
    ) -> OrdMap<SiteId, Row> {
        let mut moved = BTreeMap::new();
        for change in before.diff(rows) {
            let DiffItem::Update { old, new } = change else {
                continue;
            };
            if let Some(reloads) = moved_count(old.1, new.1) {
                let waits = self.wait(*new.0, reloads, now);
                moved.insert(*new.0, (pool(new.1), waits));
            }
        }
        self.wait_together(&mut moved);
        let mut follow = rows.clone();
        self.held.clear();
        for (id, (_, waits)) in moved {
            if waits.due > now
                && let Some(old) = before.get(&id)
            {
                self.held.insert(id, waits);
                follow.insert(id, old.clone());
            }
        }
        follow
    }

    /// Another stillness is waited for from now on; what waits already goes on as it began.
    pub(super) fn change(&mut self, settle: Duration) {
        self.settle = settle;
    }

    /// When to look again; `None`: nothing waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.held.values().map(|held| held.due).min()
    }

    /// Sites of a pool wait from the first one's beginning to the last one's end.
    fn wait_together<'a>(&self, moved: &mut BTreeMap<SiteId, (Option<&'a str>, Held)>) {
        let mut pools = BTreeMap::<&'a str, Held>::new();
        for (pool, waits) in moved.values() {
            if let Some(pool) = pool {
                let all = pools.entry(pool).or_insert(*waits);
                all.since = all.since.min(waits.since);
                all.due = all.due.max(waits.due);
            }
        }
        for (pool, waits) in moved.values_mut() {
            if let Some(all) = pool.and_then(|pool| pools.get(pool)) {
                waits.since = all.since;
                waits.due = all.due.min(all.since + self.settle * LONGEST);
            }
        }
    }

    fn wait(&self, id: SiteId, reloads: u64, now: Instant) -> Held {
        let known = self.held.get(&id).copied();
        if let Some(known) = known.filter(|known| known.reloads == reloads) {
            return known;
        }
        let since = known.map_or(now, |known| known.since);
        let longest = since + self.settle * LONGEST;
        Held {
            reloads,
            since,
            due: longest.min(now + self.settle),
        }
    }
}

fn pool(row: &Row) -> Option<&str> {
    match row {
        Row::Site(site) => site.pool.as_deref(),
        Row::Rejected(_) => None,
    }
}

/// The new count of reloads, where nothing else differs.
fn moved_count(old: &Row, new: &Row) -> Option<u64> {
    let (Row::Site(old), Row::Site(new)) = (old, new) else {
        return None;
    };
    let as_before = Site {
        reloads: old.reloads,
        ..Site::clone(new)
    };
    (as_before == **old).then_some(new.reloads)
}

/// Waits until a moment; for ever, where there is none.
pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const SETTLE: Duration = Duration::from_millis(500);

    fn rows(reloads: u64, slug: &str) -> OrdMap<SiteId, Row> {
        let site = site(1, reloads, slug);
        OrdMap::unit(site.id, Row::Site(Arc::new(site)))
    }

    /// Two sites of a pool, and what each counts.
    fn pooled(reloads: [u64; 2]) -> OrdMap<SiteId, Row> {
        let sites = (1..).zip(reloads).map(|(id, reloads)| {
            let pool = Some("small".into());
            let site = site(id, reloads, "a");
            (site.id, Row::Site(Arc::new(Site { pool, ..site })))
        });
        sites.collect()
    }

    fn site(id: i64, reloads: u64, slug: &str) -> Site {
        Site {
            id: SiteId::new(id).unwrap(),
            slug: slug.parse().unwrap(),
            domain: None,
            aliases: Box::default(),
            enabled: true,
            template: None,
            extra_config: Box::default(),
            extra_uwsgi_ini: Box::default(),
            run_as: None,
            pool: None,
            reloads,
        }
    }

    #[test]
    fn a_burst_of_reloads_is_one() {
        let (start, before) = (Instant::now(), rows(0, "a"));
        let mut settling = Settling::new(SETTLE);
        for (after_ms, reloads, due_ms) in [(0, 1, 500), (400, 2, 900), (450, 2, 900)] {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(settling.hold(&before, &rows(reloads, "a"), now), before);
            assert_eq!(settling.due(), Some(start + Duration::from_millis(due_ms)));
        }
        let now = start + Duration::from_millis(900);
        assert_eq!(settling.hold(&before, &rows(2, "a"), now), rows(2, "a"));
        assert_eq!(settling.due(), None);
    }

    #[test]
    fn a_burst_over_the_sites_of_a_pool_is_one() {
        let (start, before) = (Instant::now(), pooled([0, 0]));
        let mut settling = Settling::new(SETTLE);
        for (after_ms, reloads, due_ms) in
            [(0, [1, 0], 500), (400, [1, 1], 900), (800, [2, 1], 1300)]
        {
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(settling.hold(&before, &pooled(reloads), now), before);
            assert_eq!(settling.due(), Some(start + Duration::from_millis(due_ms)));
        }
        let now = start + Duration::from_millis(1300);
        assert_eq!(settling.hold(&before, &pooled([2, 1]), now), pooled([2, 1]));
        assert_eq!(settling.due(), None);
        // Taking turns, they are cut off as one would be.
        let held = (1..).take_while(|count| {
            let now = start + Duration::from_millis(100) * u32::try_from(*count).unwrap();
            let reloads = [count / 2, count - count / 2];
            settling.hold(&before, &pooled(reloads), now) == before
        });
        assert_eq!(held.count(), 50);
    }

    #[test]
    fn a_burst_that_never_ends_is_cut_off() {
        let (start, before) = (Instant::now(), rows(0, "a"));
        let mut settling = Settling::new(SETTLE);
        let held = (1..).take_while(|count| {
            let now = start + Duration::from_millis(100) * u32::try_from(*count).unwrap();
            settling.hold(&before, &rows(*count, "a"), now) == before
        });
        assert_eq!(held.count(), 50);
    }

    #[test]
    fn what_else_changes_is_followed_at_once_and_takes_the_reload_along() {
        let (start, before) = (Instant::now(), rows(0, "a"));
        let mut settling = Settling::new(SETTLE);
        settling.hold(&before, &rows(1, "a"), start);
        let renamed = rows(1, "b");
        assert_eq!(settling.hold(&before, &renamed, start), renamed);
        assert_eq!(settling.due(), None);
        assert_eq!(settling.hold(&before, &OrdMap::new(), start), OrdMap::new());
    }

    #[test]
    fn without_stillness_to_wait_for_nothing_is_held() {
        let mut settling = Settling::new(Duration::ZERO);
        let new = rows(1, "a");
        assert_eq!(settling.hold(&rows(0, "a"), &new, Instant::now()), new);
    }
}
