//! The book of a site's purges.
//!
//! A page carries the number of the last purge that it was compared with. It is good as long as no
//! purge with a larger number names its path, a prefix of it or one of its tags. Of purges that say the
//! same only the last is kept, so a page that is purged again and again costs one line.
//!
//! Below the *floor* nothing is kept: a page that was last compared before it is gone. A purge of the
//! whole site is nothing but a floor at its own number, and a book that grows beyond its bound raises
//! its floor over the older half: too much is forgotten then, never too little. A sweep that compares
//! all pages lets the floor rise without any loss.

use std::collections::{BTreeMap, HashMap};

use super::{Purge, PurgeSequence};

/// What the lines of one site's book may hold, in bytes. Some ten thousand purges between two sweeps.
const MOST_BYTES: usize = 1 << 20;

/// What a line costs besides its text: its text's place, its number, its share of the table.
const LINE_BYTES: usize = 48;

/// Lines from which on a sweep is worth its walk.
const SWEEP_LINES: usize = 1024;

/// The lines of one kind of purge.
type Lines = HashMap<Box<[u8]>, u64>;

/// What a site was told to forget.
#[derive(Debug, Default)]
pub(crate) struct PurgeLog {
    last: u64,
    floor: u64,
    paths: Lines,
    tags: Lines,
    prefixes: Lines,
    /// How many prefixes there are of each length: a path is looked up once for each length.
    prefix_lengths: BTreeMap<usize, usize>,
    bytes: usize,
}

/// How a page stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Good up to this number.
    Current(u64),
    /// A purge named it.
    Purged,
}

impl PurgeLog {
    /// A book in which everything before `number` counts as purged.
    pub(crate) fn beginning_at(number: u64) -> Self {
        Self {
            last: number,
            floor: number,
            ..Self::default()
        }
    }

    /// Writes a purge down. `number` is larger than any before.
    pub(crate) fn record(&mut self, purge: &Purge, number: u64) {
        self.last = number;
        let (lines, text) = match purge {
            Purge::Path(path) => (&mut self.paths, path),
            Purge::Tag(tag) => (&mut self.tags, tag),
            Purge::Prefix(prefix) => (&mut self.prefixes, prefix),
            Purge::Site => {
                self.raise_floor(number);
                return;
            }
        };
        let known = lines.insert(text.as_bytes().into(), number);
        if known.is_none() {
            self.bytes += text.len() + LINE_BYTES;
            if matches!(purge, Purge::Prefix(_)) {
                *self.prefix_lengths.entry(text.len()).or_default() += 1;
            }
        }
        if self.bytes > MOST_BYTES {
            self.raise_floor(self.middle());
        }
    }

    /// Compares a page that was good up to `verified`.
    pub(crate) fn compare<'a>(
        &self,
        verified: u64,
        path: &[u8],
        tags: impl IntoIterator<Item = &'a [u8]>,
    ) -> Standing {
        let is_newer = |number: Option<&u64>| number.is_some_and(|number| *number > verified);
        if verified < self.floor || is_newer(self.paths.get(path)) {
            return Standing::Purged;
        }
        let lengths = self
            .prefix_lengths
            .keys()
            .take_while(|length| **length <= path.len());
        for length in lengths {
            if is_newer(self.prefixes.get(&path[..*length])) {
                return Standing::Purged;
            }
        }
        if tags.into_iter().any(|tag| is_newer(self.tags.get(tag))) {
            return Standing::Purged;
        }
        Standing::Current(self.last)
    }

    /// The number of the last purge.
    pub(crate) fn last(&self) -> PurgeSequence {
        PurgeSequence::new(self.last)
    }

    /// Whether it has grown so far that comparing all pages is worth it.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.len() >= SWEEP_LINES
    }

    pub(crate) fn len(&self) -> usize {
        self.paths.len() + self.tags.len() + self.prefixes.len()
    }

    /// Forgets all lines up to `number`: pages that weren't compared since are gone.
    pub(crate) fn raise_floor(&mut self, number: u64) {
        if number <= self.floor {
            return;
        }
        self.floor = number;
        for lines in [&mut self.paths, &mut self.tags, &mut self.prefixes] {
            lines.retain(|_, line| *line > number);
            lines.shrink_to(lines.len() * 2);
        }
        self.prefix_lengths.clear();
        for prefix in self.prefixes.keys() {
            *self.prefix_lengths.entry(prefix.len()).or_default() += 1;
        }
        let texts = self
            .paths
            .keys()
            .chain(self.tags.keys())
            .chain(self.prefixes.keys());
        self.bytes = texts.map(|text| text.len() + LINE_BYTES).sum();
    }

    /// The number in the middle of all lines.
    fn middle(&self) -> u64 {
        let lines = self
            .paths
            .values()
            .chain(self.tags.values())
            .chain(self.prefixes.values());
        let mut numbers: Vec<u64> = lines.copied().collect();
        let middle = numbers.len() / 2;
        if numbers.is_empty() {
            return self.last;
        }
        *numbers.select_nth_unstable(middle).1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_good(log: &PurgeLog, verified: u64, path: &str, tags: &[&str]) -> bool {
        let tags = tags.iter().map(|tag| tag.as_bytes());
        log.compare(verified, path.as_bytes(), tags) != Standing::Purged
    }

    #[test]
    fn each_purge_names_what_it_says_and_nothing_else() {
        let mut log = PurgeLog::default();
        log.record(&Purge::path("/a/"), 1);
        log.record(&Purge::prefix("/b"), 2);
        log.record(&Purge::tag("t"), 3);
        assert!(!is_good(&log, 0, "/a/", &[]));
        assert!(is_good(&log, 1, "/a/", &[]), "filled after it");
        assert!(is_good(&log, 0, "/a/b", &[]));
        assert!(!is_good(&log, 1, "/b/c", &[]));
        assert!(!is_good(&log, 1, "/b", &[]));
        assert!(is_good(&log, 1, "/", &[]));
        assert!(!is_good(&log, 2, "/", &["s", "t"]));
        assert!(is_good(&log, 0, "/", &["/a/"]), "a tag is no path");
        log.record(&Purge::Site, 4);
        assert!(!is_good(&log, 3, "/", &[]));
        assert!(is_good(&log, 4, "/", &[]));
        assert_eq!(log.len(), 0);
    }

    #[test]
    fn the_same_purge_again_is_the_same_line() {
        let mut log = PurgeLog::default();
        for number in 1..=1000 {
            log.record(&Purge::path("/"), number);
        }
        assert_eq!(log.len(), 1);
        assert!(!is_good(&log, 999, "/", &[]) && is_good(&log, 1000, "/", &[]));
    }

    #[test]
    fn a_book_that_is_full_forgets_too_much_and_never_too_little() {
        let mut log = PurgeLog::default();
        let path = |number: u64| format!("/{number}");
        for number in 1..=100_000 {
            log.record(&Purge::path(&path(number)), number);
        }
        assert!(log.bytes <= MOST_BYTES && log.len() > 1000);
        for number in (1..=100_000).step_by(97) {
            assert!(!is_good(&log, number - 1, &path(number), &[]), "{number}");
        }
        assert!(!is_good(&log, 0, "/untouched", &[]), "below the floor");
        assert!(is_good(&log, 99_999, "/untouched", &[]));
    }

    fn purge() -> impl Strategy<Value = Purge> {
        let path = "/[ab]{0,2}";
        prop_oneof![
            4 => path.prop_map(|path| Purge::path(&path)),
            2 => path.prop_map(|path| Purge::prefix(&path)),
            2 => "[xy]".prop_map(|tag| Purge::tag(&tag)),
            1 => Just(Purge::Site),
        ]
    }

    fn names(purge: &Purge, path: &str, tag: &str) -> bool {
        match purge {
            Purge::Path(named) => named == path,
            Purge::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Purge::Tag(named) => named == tag,
            Purge::Site => true,
        }
    }

    proptest! {
        #[test]
        fn a_page_is_gone_exactly_when_a_later_purge_names_it(
            purges in prop::collection::vec(purge(), 0..12),
            verified in 0u64..12,
            path in "/[ab]{0,3}",
            tag in "[xy]",
        ) {
            let mut log = PurgeLog::default();
            let mut is_named = false;
            for (purge, number) in purges.iter().zip(1..) {
                log.record(purge, number);
                is_named |= number > verified && names(purge, &path, &tag);
            }
            prop_assert_eq!(is_good(&log, verified, &path, &[&tag]), !is_named);
        }
    }
}
