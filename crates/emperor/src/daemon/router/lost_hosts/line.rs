//! The lines of the journal of hosts, and what all of them come to. No I/O.
//!
//! A line is a sign and what it is about. `way` is how a host leads to a site: the site's id, the host, and
//! for a redirect where it leads on.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use site_model::{HostPattern, HostRole, SiteId, SiteRoute};

/// `@ID`: what follows was written since this start of the machine.
const STARTED: char = '@';
/// `?`: nobody knows what the targets hold; `!`: that is recorded elsewhere from here on.
const UNKNOWN: &str = "?";
const KNOWN: &str = "!";
/// `.`: everything before is on the disk, and nothing was published after.
const CLOSED: &str = ".";
/// `+way`: a route leads this way from here on.
const LEADS: char = '+';
/// `-way`: it doesn't any more, and what is held of it is still to be purged.
const LOST: char = '-';
/// `~way`: what is held under its host is to be purged, wherever it leads.
const OWED: char = '~';
/// `=way`: what is held of this site under this host has been recorded as a purge.
const PURGED: char = '=';

/// What a journal comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// The ways that led somewhere.
    pub(super) led: HashSet<Box<str>>,
    /// What is still to be purged.
    pub(super) lost: BTreeMap<SiteId, BTreeSet<HostPattern>>,
    /// Targets may hold what no line names.
    pub(super) unknown: bool,
    /// How many lines the journal has.
    pub(super) lines: usize,
    /// Its last line was never finished.
    pub(super) torn: bool,
    started: Box<str>,
    closed: bool,
}

impl Replayed {
    /// Reads a journal during this start of the machine. What was written before an earlier one may be gone in
    /// part, unless it was closed; a line that nobody wrote says nothing of the others.
    pub(super) fn of(journal: &str, started: &str) -> Self {
        let mut replayed = Self {
            unknown: !journal.starts_with(STARTED),
            ..Self::default()
        };
        for line in journal.split_inclusive('\n') {
            match line.strip_suffix('\n') {
                Some(line) => replayed.take(line),
                // What it would say was never done.
                None => replayed.torn = true,
            }
            replayed.lines += 1;
        }
        replayed.unknown |= *replayed.started != *started && !replayed.closed;
        replayed
    }

    /// Whether the journal is about this start of the machine.
    pub(super) fn is_of(&self, started: &str) -> bool {
        *self.started == *started
    }

    /// How many lines would say the same.
    pub(super) fn least_lines(&self) -> usize {
        self.led.len() + self.lost.values().map(BTreeSet::len).sum::<usize>()
    }

    fn take(&mut self, line: &str) {
        let was_closed = std::mem::replace(&mut self.closed, line == CLOSED);
        let mut text = line.chars();
        match (line, text.next(), text.as_str()) {
            (CLOSED, ..) => {}
            (UNKNOWN, ..) => self.unknown = true,
            (KNOWN, ..) => self.unknown = false,
            (_, Some(STARTED), id) => {
                self.unknown |= !self.started.is_empty() && *self.started != *id && !was_closed;
                self.started = id.into();
            }
            (_, Some(LEADS), way) => {
                self.led.insert(way.into());
            }
            (_, Some(sign @ (LOST | OWED)), way) => {
                if sign == LOST {
                    self.led.remove(way);
                }
                match parse(way) {
                    Some((site, host)) => {
                        self.lost.entry(site).or_default().insert(host);
                    }
                    None => self.unknown = true,
                }
            }
            (_, Some(PURGED), way) => match parse(way) {
                Some((site, host)) => self.forget(site, &host),
                None => self.unknown = true,
            },
            (..) => self.unknown = true,
        }
    }

    fn forget(&mut self, site: SiteId, host: &HostPattern) {
        if let Some(hosts) = self.lost.get_mut(&site) {
            hosts.remove(host);
            if hosts.is_empty() {
                self.lost.remove(&site);
            }
        }
    }
}

/// Whose way it is, and by which host.
pub(super) fn parse(way: &str) -> Option<(SiteId, HostPattern)> {
    let mut words = way.split(' ');
    let site = SiteId::new(words.next()?.parse().ok()?).ok()?;
    let host = words.next()?.parse().ok()?;
    Some((site, host))
}

/// The ways of a route.
pub(super) fn ways(route: &SiteRoute) -> impl Iterator<Item = (&HostPattern, String)> {
    route.hosts.iter().map(|(host, role)| {
        let way = match role {
            HostRole::Serve => format!("{} {host}", route.id),
            HostRole::Redirect => format!("{} {host} {}", route.id, route.canonical),
        };
        (host, way)
    })
}

/// Lines to be written.
#[derive(Debug, Default)]
pub(super) struct Lines(pub(super) String);

impl Lines {
    /// A new journal's first lines.
    pub(super) fn first(started: &str, unknown: bool) -> Self {
        let mut lines = Self::default();
        lines.started(started);
        if unknown {
            lines.push(None, UNKNOWN);
        }
        lines
    }

    pub(super) fn started(&mut self, id: &str) {
        self.push(Some(STARTED), id);
    }

    pub(super) fn known(&mut self) {
        self.push(None, KNOWN);
    }

    pub(super) fn closed(&mut self) {
        self.push(None, CLOSED);
    }

    pub(super) fn leads(&mut self, way: &str) {
        self.push(Some(LEADS), way);
    }

    pub(super) fn lost(&mut self, way: &str) {
        self.push(Some(LOST), way);
    }

    pub(super) fn owed(&mut self, site: SiteId, host: &HostPattern) {
        self.push(Some(OWED), &format!("{site} {host}"));
    }

    pub(super) fn purged(&mut self, site: SiteId, host: &HostPattern) {
        self.push(Some(PURGED), &format!("{site} {host}"));
    }

    fn push(&mut self, sign: Option<char>, text: &str) {
        self.0.extend(sign);
        self.0.push_str(text);
        self.0.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a journal comes to: `site host` of what is lost, the ways that led, and `?`.
    fn check(journal: &str, expected: &str) {
        let replayed = Replayed::of(journal, "now");
        let lost = replayed.lost.iter();
        let lost = lost.flat_map(|(site, hosts)| hosts.iter().map(move |host| (site, host)));
        let mut told: Vec<_> = lost.map(|(site, host)| format!("-{site} {host}")).collect();
        let mut led: Vec<_> = replayed.led.iter().map(|way| format!("+{way}")).collect();
        led.sort();
        told.extend(led);
        told.extend(replayed.unknown.then(|| "?".to_owned()));
        assert_eq!(told.join(", "), expected, "{journal:?}");
    }

    #[test]
    fn later_lines_take_back_what_earlier_ones_say() {
        check("@now\n", "");
        check("@now\n+1 a\n+2 b\n-1 a\n", "-1 a, +2 b");
        check("@now\n+1 a\n-1 a\n+2 a\n=1 a\n", "+2 a");
        check("@now\n+1 a b\n+1 b\n-1 a b\n", "-1 a, +1 b");
        // Lost and regained: what was purged by path meanwhile wasn't purged under this host.
        check("@now\n+1 a\n-1 a\n+1 a\n", "-1 a, +1 a");
        check("@now\n+1 a\n-1 a\n-1 a\n=1 a\n=1 a\n", "");
        check("@now\n+1 a\n~1 a\n", "-1 a, +1 a");
    }

    #[test]
    fn a_line_that_was_not_finished_was_not_meant_yet() {
        check("@now\n+1 a\n+1 b", "+1 a");
        assert!(Replayed::of("@now\n+1 a\n+1 b", "now").torn);
        assert!(!Replayed::of("@now\n+1 a\n", "now").torn);
    }

    #[test]
    fn what_may_be_incomplete_is_known_to_be() {
        check("", "?");
        check("+1 a\n", "+1 a, ?");
        check("@now\n?\n+1 a\n", "+1 a, ?");
        check("@now\n?\n+1 a\n!\n", "+1 a");
        check("@now\nnonsense\n", "?");
        check("@now\n-x y\n", "?");
    }

    #[test]
    fn after_a_start_of_the_machine_only_a_closed_journal_is_whole() {
        check("@before\n+1 a\n", "+1 a, ?");
        check("@before\n+1 a\n.\n", "+1 a");
        check("@before\n+1 a\n.\n@now\n+2 b\n", "+1 a, +2 b");
        check("@before\n+1 a\n@now\n", "+1 a, ?");
        check("@before\n.\n+1 a\n@now\n", "+1 a, ?");
        check("@now\n.\n+1 a\n", "+1 a");
        assert!(Replayed::of("@before\n.\n@now\n", "now").is_of("now"));
    }
}
