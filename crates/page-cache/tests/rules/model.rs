//! Random interleavings of commits, fills, purges, sweeps and lost connections, beside a model that
//! remembers everything: no client gets a page that is older than the last purge that was delivered.

use std::collections::{BTreeMap, VecDeque};

use page_cache::{Begin, FillPermit, Lookup, Mode, PageCache, Purge, Settings};
use proptest::prelude::*;

use crate::house::{Client, House, get, says, site_id};

const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/b"];

/// What can happen.
#[derive(Debug, Clone)]
enum Step {
    /// A client asks: it is served, or its fill begins.
    Ask {
        path: usize,
        query: bool,
        language: usize,
    },
    /// A fill that is under way ends.
    Finish(usize),
    /// A fill that is under way is given up.
    GiveUp(usize),
    /// The database changes what a purge names, and the purge is sent.
    Commit(Named),
    /// The oldest purge that was sent arrives.
    Deliver,
    /// Purges that were sent are lost, and nobody can hear more.
    Lose,
    /// Purges are heard again, after everything was dropped.
    Reconnect,
    /// The book of purges grows long and is swept.
    Sweep,
    /// The site is removed and comes back.
    Replace,
}

#[derive(Debug, Clone)]
enum Named {
    Path(usize),
    Prefix(usize),
    Tag(usize),
    Site,
}

impl Named {
    fn purge(&self) -> Purge {
        match self {
            Self::Path(path) => Purge::path(PATHS[*path]),
            Self::Prefix(path) => Purge::prefix(PATHS[*path]),
            Self::Tag(tag) => Purge::tag(&format!("tag{tag}")),
            Self::Site => Purge::Site,
        }
    }

    fn names(&self, path: usize) -> bool {
        match self {
            Self::Path(named) => *named == path,
            Self::Prefix(named) => PATHS[path].starts_with(PATHS[*named]),
            Self::Tag(tag) => *tag == path % 2,
            Self::Site => true,
        }
    }
}

/// A fill with what the worker read from the database when it began.
struct Filling {
    permit: FillPermit,
    client: Client,
    path: usize,
    place: (usize, bool, usize),
    version: u64,
    /// How many purges were delivered before it began.
    began: usize,
}

/// Everything that happened.
struct Model {
    house: House,
    version: u64,
    /// The version of each path in the database.
    truth: [u64; PATHS.len()],
    /// The version of each path when a purge that names it was last delivered.
    least: [u64; PATHS.len()],
    sent: VecDeque<Named>,
    delivered: Vec<Named>,
    filling: Vec<Filling>,
    /// What should be stored: the version, and how many purges were delivered before its fill began.
    stored: BTreeMap<(usize, bool, usize), (u64, usize)>,
    is_away: bool,
    /// Whether everything that should be served is, or memory and sweeps may have dropped some.
    is_exact: bool,
}

impl Model {
    fn new(memory_bytes: u64, is_exact: bool) -> Self {
        let house = House::with(Settings {
            mode: Mode::UntilPurged,
            ..Settings::default()
        });
        let cache = PageCache::new(memory_bytes);
        let site = cache.site(site_id());
        Self {
            house: House {
                cache,
                site,
                ..house
            },
            version: 0,
            truth: [0; PATHS.len()],
            least: [0; PATHS.len()],
            sent: VecDeque::new(),
            delivered: Vec::new(),
            filling: Vec::new(),
            stored: BTreeMap::new(),
            is_away: false,
            is_exact,
        }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Ask {
                path,
                query,
                language,
            } => self.ask(*path, *query, *language),
            Step::Finish(which) => self.finish(*which),
            Step::GiveUp(which) => {
                if !self.filling.is_empty() {
                    let which = which % self.filling.len();
                    self.filling.remove(which);
                }
            }
            Step::Commit(named) => self.commit(named),
            Step::Deliver => self.deliver(),
            Step::Lose => {
                self.house.cache.suspend();
                self.sent.clear();
                self.is_away = true;
            }
            Step::Reconnect => self.reconnect(),
            Step::Sweep => self.sweep(),
            Step::Replace => {
                self.house.cache.remove_site(site_id());
                self.house.site = self.house.cache.site(site_id());
                self.note(Named::Site);
            }
        }
    }

    fn ask(&mut self, path: usize, query: bool, language: usize) {
        let target = format!("{}{}", PATHS[path], if query { "?q=1" } else { "" });
        let client = get(&target, &[("accept-language", ["de", "en"][language])]);
        let place = (path, query, language);
        let lookup = self.house.look_up(&client);
        if self.is_away {
            assert!(matches!(lookup, Lookup::Bypass(_)), "{lookup:?}");
            return;
        }
        match lookup {
            Lookup::Fresh(hit) => {
                let body = hit.page().body();
                let version: u64 = std::str::from_utf8(&body).unwrap().parse().unwrap();
                self.check_served(place, version);
            }
            Lookup::Miss(ask) => {
                assert!(
                    !self.is_exact || !self.is_expected(place),
                    "{place:?} was lost"
                );
                if let Begin::Fill(permit) = self.house.begin(ask) {
                    self.filling.push(Filling {
                        permit,
                        client,
                        path,
                        place,
                        version: self.truth[path],
                        began: self.delivered.len(),
                    });
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// The one rule: nothing older than the last purge that was delivered and names it.
    fn check_served(&self, place: (usize, bool, usize), version: u64) {
        let least = self.least[place.0];
        assert!(
            version >= least,
            "{place:?} is served as of {version}, and that was purged at {least}"
        );
        if self.is_exact {
            assert!(self.is_expected(place), "{place:?} was not stored");
            assert_eq!(self.stored[&place].0, version);
        }
    }

    fn is_expected(&self, place: (usize, bool, usize)) -> bool {
        self.stored
            .get(&place)
            .is_some_and(|(_, began)| self.is_unnamed_since(place.0, *began))
    }

    fn is_unnamed_since(&self, path: usize, began: usize) -> bool {
        !self.delivered[began..]
            .iter()
            .any(|named| named.names(path))
    }

    fn finish(&mut self, which: usize) {
        if self.filling.is_empty() {
            return;
        }
        let filling = self.filling.remove(which % self.filling.len());
        let tag = format!("tag{}", filling.path % 2);
        let lines = [("surrogate-key", tag.as_str()), ("vary", "accept-language")];
        let said = says(200, &lines, &filling.version.to_string());
        let stored = self
            .house
            .finish(filling.permit, &filling.client, &said)
            .is_ok();
        let expected = !self.is_away && self.is_unnamed_since(filling.path, filling.began);
        assert!(
            expected || !stored,
            "{:?} was stored after a purge",
            filling.place
        );
        if self.is_exact {
            assert_eq!(stored, expected, "{:?}", filling.place);
        }
        if stored {
            self.stored
                .insert(filling.place, (filling.version, filling.began));
        }
    }

    fn commit(&mut self, named: &Named) {
        self.version += 1;
        for path in 0..PATHS.len() {
            if named.names(path) {
                self.truth[path] = self.version;
            }
        }
        if !self.is_away {
            self.sent.push_back(named.clone());
        }
    }

    fn deliver(&mut self) {
        if let Some(named) = self.sent.pop_front() {
            self.house.cache.purge(site_id(), &[named.purge()]);
            self.note(named);
        }
    }

    fn note(&mut self, named: Named) {
        for path in 0..PATHS.len() {
            if named.names(path) {
                self.least[path] = self.truth[path];
            }
        }
        self.delivered.push(named);
    }

    fn reconnect(&mut self) {
        if self.is_away {
            self.house.cache.purge_all();
            self.house.cache.resume();
            self.note(Named::Site);
            self.is_away = false;
        }
    }

    fn sweep(&mut self) {
        self.is_exact = false;
        for number in 0..1100 {
            let purge = Purge::path(&format!("/elsewhere/{number}"));
            self.house.cache.purge(site_id(), &[purge]);
        }
        let mut sweep = self.house.cache.sweep().expect("the book is long");
        while sweep.step(3) {}
    }
}

fn step() -> impl Strategy<Value = Step> {
    let named = prop_oneof![
        4 => (0..PATHS.len()).prop_map(Named::Path),
        2 => (0..PATHS.len()).prop_map(Named::Prefix),
        2 => (0..2_usize).prop_map(Named::Tag),
        1 => Just(Named::Site),
    ];
    let ask = (0..PATHS.len(), any::<bool>(), 0..2_usize);
    prop_oneof![
        40 => ask.prop_map(|(path, query, language)| Step::Ask { path, query, language }),
        30 => any::<usize>().prop_map(Step::Finish),
        3 => any::<usize>().prop_map(Step::GiveUp),
        10 => named.prop_map(Step::Commit),
        10 => Just(Step::Deliver),
        1 => Just(Step::Lose),
        2 => Just(Step::Reconnect),
        1 => Just(Step::Replace),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_client_gets_a_page_older_than_its_last_delivered_purge(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new(64 << 20, true);
        for step in &steps {
            model.run(step);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nor_where_memory_is_short_and_books_are_swept(
        steps in prop::collection::vec(prop_oneof![30 => step(), 1 => Just(Step::Sweep)], 1..200),
    ) {
        let mut model = Model::new(4 << 10, false);
        for step in &steps {
            model.run(step);
        }
    }
}
