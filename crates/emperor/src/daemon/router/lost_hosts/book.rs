//! By which hosts sites were reached and are no more, and what of that is still to be purged. No I/O: what
//! the next emperor has to know is given back as lines for the journal.
//!
//! A way is written down before a route leads it, so whatever a target can hold stands in the journal; it is
//! taken out only when its purge is recorded. Who comes after a crash, or after changes that no emperor saw,
//! finds what is lost by comparing: what the journal has, and no route leads.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use site_model::{Generation, HostPattern, SiteId, SiteRoute};

use super::line::{Lines, Replayed, parse, ways};

/// What sites have lost.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Ways that led somewhere under an earlier emperor and that no route has led under this one. Empty, once
    /// every route is there.
    unseen: HashSet<Box<str>>,
    losses: BTreeMap<SiteId, Loss>,
    settled: bool,
}

/// What one site has lost.
#[derive(Debug, Default)]
struct Loss {
    hosts: BTreeSet<HostPattern>,
    /// The last generation that took one from it: a page that is asked for before may still be the site's.
    generation: Generation,
}

/// Hosts that sites have lost, site by site.
pub(in crate::daemon) type Lost = Vec<(SiteId, Vec<HostPattern>)>;

impl Book {
    /// Goes on where a journal ends. Until [`settle`](Self::settle), a route that is missing isn't lost.
    pub(super) fn after(replayed: Replayed) -> Self {
        let loss = |(site, hosts)| {
            let generation = Generation::default();
            (site, Loss { hosts, generation })
        };
        Self {
            unseen: replayed.led,
            losses: replayed.lost.into_iter().map(loss).collect(),
            settled: false,
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
        let had: HashSet<_> = before
            .into_iter()
            .flat_map(ways)
            .map(|(_, way)| way)
            .collect();
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
        let has: HashSet<_> = after
            .into_iter()
            .flat_map(ways)
            .map(|(_, way)| way)
            .collect();
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
        for loss in self.losses.values_mut() {
            loss.generation = generation;
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

    /// The last generation that took something that is still to be purged.
    pub(super) fn newest(&self) -> Option<Generation> {
        let losses = self.losses.values().filter(|_| self.settled);
        losses.map(|loss| loss.generation).max()
    }

    /// What was lost in this generation or before.
    pub(super) fn lost(&self, generation: Generation) -> Lost {
        let lost = self.losses.iter();
        let lost = lost.filter(|(_, loss)| self.settled && loss.generation <= generation);
        lost.map(|(site, loss)| (*site, loss.hosts.iter().cloned().collect()))
            .collect()
    }

    /// Purges of what was lost in this generation or before are recorded. What a site lost since is to be
    /// purged once more, and the rest of it with that.
    pub(super) fn purged(&mut self, lost: &Lost, generation: Generation) -> Lines {
        let mut lines = Lines::default();
        for (site, hosts) in lost {
            let done = self.losses.get_mut(site);
            let Some(done) = done.filter(|loss| loss.generation <= generation) else {
                continue;
            };
            for host in hosts {
                if done.hosts.remove(host) {
                    lines.purged(*site, host);
                }
            }
            if done.hosts.is_empty() {
                self.losses.remove(site);
            }
        }
        lines
    }

    fn lose(&mut self, site: SiteId, host: HostPattern, generation: Generation) {
        let loss = self.losses.entry(site).or_default();
        loss.hosts.insert(host);
        loss.generation = loss.generation.max(generation);
    }
}

/// Whether two routes of a site differ in nothing that is asked here.
fn leads_alike(one: &SiteRoute, other: &SiteRoute) -> bool {
    one.hosts == other.hosts && one.canonical == other.canonical
}
