//! By which hosts sites were reached and are no more, and what of that is still to be purged. No I/O: what
//! the next emperor has to know is given back as lines for the journal.
//!
//! A way is written down before a route leads it, so whatever a target can hold stands in the journal; it is
//! taken out only when its purge is recorded. Who comes after a crash, or after changes that no emperor saw,
//! finds what is lost by comparing: what the journal has, and no route leads.

use std::collections::{BTreeMap, HashSet};

use site_model::{Generation, HostPattern, SiteId, SiteRoute};

use super::line::{Lines, Replayed, parse, ways};

/// What sites have lost.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Ways that led somewhere under an earlier emperor and that no route has led under this one. Empty, once
    /// every route is there.
    unseen: HashSet<Box<str>>,
    /// What nobody has recorded yet.
    fresh: Debts,
    /// What has been recorded once, and is to be once more.
    recorded: Debts,
    /// The last generation that took one of the fresh.
    newest: Option<Generation>,
    settled: bool,
}

/// Hosts by the site that has lost them, with the generation that took them from it: a page that is asked for
/// before may still be the site's.
type Debts = BTreeMap<(SiteId, HostPattern), Generation>;

/// Hosts, each with the site that has lost it.
pub(in crate::daemon) type Lost = Vec<(SiteId, HostPattern)>;

impl Book {
    /// Goes on where a journal ends. Until [`settle`](Self::settle), a route that is missing isn't lost.
    pub(super) fn after(replayed: Replayed) -> Self {
        let lost = replayed.lost.into_iter();
        let lost = lost.flat_map(|(site, hosts)| hosts.into_iter().map(move |host| (site, host)));
        Self {
            unseen: replayed.led,
            fresh: lost.map(|key| (key, Generation::default())).collect(),
            ..Self::default()
        }
    }

    /// A site's route is about to become another: its new ways are to be written down before. Another site may
    /// have answered for some of the hosts without their being its own: what is held of these is
    /// [`owed`](Self::owe) once the route is another.
    pub(super) fn leads(
        &mut self,
        before: Option<&SiteRoute>,
        after: &SiteRoute,
        answered: impl Fn(&HostPattern) -> bool,
    ) -> (Lines, Vec<HostPattern>) {
        let (mut lines, mut owed) = (Lines::default(), Vec::new());
        if before.is_some_and(|before| leads_alike(before, after)) {
            return (lines, owed);
        }
        let had = ways_of(before);
        for (host, way) in ways(after).filter(|(_, way)| !had.contains(way)) {
            if self.unseen.remove(way.as_str()) {
                continue;
            }
            if answered(host) {
                lines.owed(after.id, host);
                owed.push(host.clone());
            }
            lines.leads(&way);
        }
        (lines, owed)
    }

    /// What is held under these hosts is another's, now that a site has them in this generation.
    pub(super) fn owe(&mut self, site: SiteId, hosts: Vec<HostPattern>, generation: Generation) {
        for host in hosts {
            self.lose(site, host, generation);
        }
    }

    /// A site's route became another in this generation; `None`: it has none any more.
    pub(super) fn left(
        &mut self,
        before: &SiteRoute,
        after: Option<&SiteRoute>,
        generation: Generation,
    ) -> Lines {
        let mut lines = Lines::default();
        if after.is_some_and(|after| leads_alike(before, after)) {
            return lines;
        }
        let has = ways_of(after);
        for (host, way) in ways(before).filter(|(_, way)| !has.contains(way)) {
            lines.lost(&way);
            self.lose(before.id, host.clone(), generation);
        }
        lines
    }

    /// Every route is there that the rows want now, in this generation or before: what isn't is lost.
    pub(super) fn settle(&mut self, generation: Generation) -> Lines {
        let mut lines = Lines::default();
        self.settled = true;
        for (site, host) in std::mem::take(&mut self.fresh).into_keys() {
            self.lose(site, host, generation);
        }
        for way in std::mem::take(&mut self.unseen) {
            if let Some((site, host)) = parse(&way) {
                lines.lost(&way);
                self.lose(site, host, generation);
            } else {
                tracing::error!(
                    way,
                    "a line of the journal of hosts names none; nothing is purged for it"
                );
            }
        }
        lines
    }

    /// The last generation that took something that nobody has recorded yet.
    pub(super) fn newest(&self) -> Option<Generation> {
        self.newest.filter(|_| self.settled)
    }

    /// What was lost in this generation or before, and nobody has recorded yet.
    pub(super) fn lost(&self, generation: Generation) -> Lost {
        let lost = self.fresh.iter().filter(|_| self.settled);
        let lost = lost.filter(|(_, taken)| **taken <= generation);
        lost.map(|(key, _)| key.clone()).collect()
    }

    /// Purges of what was lost in this generation or before are recorded, for the first time.
    pub(super) fn recorded(&mut self, lost: &Lost, generation: Generation) {
        for key in lost {
            if let Some(taken) = self.fresh.remove(key) {
                if taken <= generation {
                    self.recorded.insert(key.clone(), taken);
                } else {
                    self.fresh.insert(key.clone(), taken);
                }
            }
        }
        if self.fresh.is_empty() {
            self.newest = None;
        }
    }

    /// Whoever was to record it once more is gone: all of it is fresh again.
    pub(super) fn begin_anew(&mut self) {
        for ((site, host), taken) in std::mem::take(&mut self.recorded) {
            self.lose(site, host, taken);
        }
    }

    /// Purges of what was lost in this generation or before are recorded for the last time. What was lost
    /// again since is not among them.
    pub(super) fn purged(&mut self, lost: &Lost, generation: Generation) -> Lines {
        let mut lines = Lines::default();
        for key in lost {
            if self
                .recorded
                .get(key)
                .is_some_and(|taken| *taken <= generation)
            {
                self.recorded.remove(key);
                lines.purged(key.0, &key.1);
            }
        }
        lines
    }

    fn lose(&mut self, site: SiteId, host: HostPattern, generation: Generation) {
        let key = (site, host);
        self.recorded.remove(&key);
        let taken = self.fresh.entry(key).or_default();
        *taken = (*taken).max(generation);
        self.newest = self.newest.max(Some(generation));
    }
}

/// The ways of a route, where there is one.
fn ways_of(route: Option<&SiteRoute>) -> HashSet<String> {
    let ways = route.into_iter().flat_map(ways);
    ways.map(|(_, way)| way).collect()
}

/// Whether two routes of a site differ in nothing that is asked here.
fn leads_alike(one: &SiteRoute, other: &SiteRoute) -> bool {
    one.hosts == other.hosts && one.canonical == other.canonical
}
