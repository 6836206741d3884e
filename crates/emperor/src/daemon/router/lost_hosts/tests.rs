//! A house played over seeds: rows that change whether or not an emperor runs, visitors who fill a target
//! through the router's last table, and emperors that die between any two steps. In the end no target holds a
//! page under a host that is another site's, or that was purged since.

use std::sync::Arc;

use site_model::{HostRole, QueueBounds, RouteSettings, Service};

use super::line::Replayed;
use super::*;

/// A route by hosts; `host>` is a redirect. The first is canonical.
fn route(id: i64, hosts: &[&str]) -> SiteRoute {
    let role = |host: &&str| match host.strip_suffix('>') {
        Some(host) => (host.parse().unwrap(), HostRole::Redirect),
        None => (host.parse().unwrap(), HostRole::Serve),
    };
    SiteRoute {
        id: SiteId::new(id).unwrap(),
        slug: format!("site-{id}").parse().unwrap(),
        canonical: hosts[0].trim_start_matches("*.").parse().unwrap(),
        hosts: hosts.iter().map(role).collect(),
        service: Service::Waiting,
        settings: Arc::new(RouteSettings {
            queue: QueueBounds {
                depth: 1,
                timeout: std::time::Duration::ZERO,
            },
            check_paths: Arc::default(),
            cache: None,
        }),
    }
}

mod changes {
    use super::*;

    fn check(after: Option<&SiteRoute>, expected: &[&str]) {
        let before = route(1, &["a.example", "b.example", "c.example>"]);
        let mut book = Book::after(Replayed::default());
        book.settle(Generation::default());
        if let Some(after) = after {
            book.leads(Some(&before), after, |_| false);
        }
        let three = Generation::new(3);
        book.left(&before, after, three);
        assert!(book.lost(Generation::new(2)).is_empty(), "a router may lag");
        let lost = book.lost(three);
        let hosts: Vec<_> = lost.iter().map(|(_, host)| host.to_string()).collect();
        assert_eq!(hosts, expected);
        book.recorded(&lost, three);
        assert_eq!(book.newest(), None);
    }

    #[test]
    fn what_no_longer_leads_to_the_same_pages_is_lost() {
        let all = ["a.example", "b.example", "c.example>"];
        check(Some(&route(1, &all)), &[]);
        check(None, &["a.example", "b.example", "c.example"]);
        check(Some(&route(1, &all[..2])), &["c.example"]);
        let renamed = route(1, &["new.example", "b.example", "c.example>"]);
        check(Some(&renamed), &["a.example", "c.example"]);
        let redirected = route(1, &["a.example", "b.example>", "c.example>"]);
        check(Some(&redirected), &["b.example"]);
    }

    #[test]
    fn what_is_lost_again_meanwhile_is_purged_once_more() {
        let mut book = Book::after(Replayed::default());
        book.settle(Generation::default());
        let whole = route(1, &["a.example", "b.example"]);
        let (one, two) = (Generation::new(1), Generation::new(2));
        book.left(&whole, None, one);
        let both = book.lost(one);
        book.recorded(&both, one);
        assert_eq!(book.newest(), None);
        book.left(&route(1, &["a.example"]), None, two);
        assert_eq!(book.newest(), Some(two));
        assert_eq!(book.purged(&both, one).0, "=1 b.example\n");
        assert_eq!(book.lost(two), [(whole.id, "a.example".parse().unwrap())]);
        // While one purge is recorded, the next reason comes.
        let again = book.lost(two);
        book.left(&route(1, &["a.example"]), None, Generation::new(3));
        book.recorded(&again, two);
        assert_eq!(book.newest(), Some(Generation::new(3)));
        assert_eq!(book.purged(&again, two).0, "");
    }

    #[test]
    fn whoever_records_next_begins_anew() {
        let mut book = Book::after(Replayed::default());
        book.settle(Generation::default());
        let one = Generation::new(1);
        book.left(&route(1, &["a.example"]), None, one);
        let lost = book.lost(one);
        book.recorded(&lost, one);
        assert_eq!(book.lost(one), []);
        book.begin_anew();
        assert_eq!((book.newest(), book.lost(one)), (Some(one), lost));
    }

    #[test]
    fn what_was_lost_and_regained_is_purged_after_a_death_as_well() {
        let mut book = Book::after(Replayed::default());
        let whole = route(1, &["a.example", "b.example"]);
        let smaller = route(1, &["b.example"]);
        let mut journal = Lines::first("now", false).0;
        journal += &book.leads(None, &whole, |_| false).0.0;
        journal += &book.settle(Generation::new(1)).0;
        journal += &book.left(&whole, Some(&smaller), Generation::new(2)).0;
        journal += &book.leads(Some(&smaller), &whole, |_| false).0.0;
        let mut next = Book::after(Replayed::of(&journal, "now"));
        next.leads(None, &whole, |_| false);
        next.settle(Generation::new(1));
        let lost = next.lost(Generation::new(1));
        assert_eq!(lost, [(whole.id, "a.example".parse().unwrap())]);
    }

    #[test]
    fn before_every_route_is_there_none_is_missing() {
        let journal = "@now\n+1 a.example\n+2 b.example\n";
        let mut book = Book::after(Replayed::of(journal, "now"));
        assert_eq!(book.newest(), None);
        let (lines, owed) = book.leads(None, &route(1, &["a.example"]), |_| true);
        assert_eq!(lines.0, "", "it stands there already");
        assert_eq!(owed, []);
        let lines = book.settle(Generation::new(1));
        assert_eq!(lines.0, "-2 b.example\n");
        assert_eq!(book.lost(Generation::new(1)).len(), 1);
    }
}

mod simulation {
    use std::collections::BTreeMap;

    use site_model::HostPattern;

    use super::*;

    const HOSTS: [&str; 4] = ["a.x", "b.x", "*.x", "y"];
    /// What visitors ask for.
    const NAMES: [&str; 3] = ["a.x", "b.x", "y"];
    const SITES: i64 = 3;
    const NOW: &str = "now";

    /// A page: whose, and how often the site had changed when it was made.
    type Page = (SiteId, u64);

    /// What outlives an emperor.
    #[derive(Default)]
    struct World {
        /// Whose each host is.
        rows: BTreeMap<&'static str, SiteId>,
        /// How often each site's pages changed.
        changes: BTreeMap<SiteId, u64>,
        /// Changes whose purge no emperor has read yet.
        unread: Vec<SiteId>,
        /// The router's last table.
        table: BTreeMap<SiteId, Arc<SiteRoute>>,
        target: BTreeMap<&'static str, Page>,
        /// What visitors wait for: an answer that the target will take for new, by its number.
        asked: BTreeMap<u64, (&'static str, SiteId)>,
        next: u64,
        journal: String,
        purges: usize,
    }

    struct Emperor {
        book: Book,
        routes: BTreeMap<SiteId, Arc<SiteRoute>>,
        /// What is to be purged once more, and from which number on nobody has asked before.
        rounds: Vec<(u64, Lost, Generation)>,
        generation: Generation,
    }

    /// Where an emperor may die.
    struct Death(Option<u32>);

    impl Death {
        fn at_a_step(random: &mut fastrand::Rng) -> Self {
            Self(random.bool().then(|| random.u32(..12)))
        }

        /// `None`: it is dead from here on.
        fn step(&mut self) -> Option<()> {
            match &mut self.0 {
                Some(0) => None,
                Some(left) => {
                    *left -= 1;
                    Some(())
                }
                None => Some(()),
            }
        }
    }

    impl World {
        fn wanted(&self, site: SiteId) -> Option<Arc<SiteRoute>> {
            let hosts = self.rows.iter().filter(|(_, owner)| **owner == site);
            let hosts: Vec<_> = hosts.map(|(host, _)| *host).collect();
            (!hosts.is_empty()).then(|| Arc::new(route(site.get(), &hosts)))
        }

        fn sites() -> impl Iterator<Item = SiteId> {
            (1..=SITES).map(|id| SiteId::new(id).unwrap())
        }

        fn visit(&mut self, name: &'static str) {
            let led = |pattern: &str, route: &Arc<SiteRoute>| {
                let mut hosts = route.hosts.iter();
                hosts.any(|(host, _)| host.to_string() == pattern)
            };
            let leads_to = |pattern| self.table.values().find(|route| led(pattern, route));
            let wild = || leads_to("*.x").filter(|_| is_below("*.x", name));
            let route = leads_to(name).or_else(wild);
            if let Some(id) = route
                .map(|route| route.id)
                .filter(|_| !self.target.contains_key(name))
            {
                self.asked.insert(self.next, (name, id));
                self.next += 1;
            }
        }

        fn answer(&mut self, number: u64) {
            if let Some((name, site)) = self.asked.remove(&number) {
                let version = self.changes.get(&site).copied().unwrap_or_default();
                self.target.entry(name).or_insert((site, version));
            }
        }

        fn purge(&mut self, host: &HostPattern) {
            let host = host.to_string();
            let keeps = |name: &str| name != host && !is_below(&host, name);
            self.target.retain(|name, _| keeps(name));
        }

        fn write(&mut self, lines: &Lines) {
            self.journal.push_str(&lines.0);
        }
    }

    fn is_below(pattern: &str, name: &str) -> bool {
        let parent = pattern.strip_prefix('*');
        parent.is_some_and(|parent| name.ends_with(parent))
    }

    impl Emperor {
        fn start(world: &mut World, death: &mut Death) -> Option<Self> {
            if world.journal.is_empty() {
                world.write(&Lines::first(NOW, false));
            }
            let mut emperor = Self {
                book: Book::after(Replayed::of(&world.journal, NOW)),
                routes: BTreeMap::new(),
                rounds: Vec::new(),
                generation: Generation::default(),
            };
            for site in World::sites() {
                emperor.publish(site, world, death, false)?;
            }
            let lines = emperor.book.settle(emperor.generation);
            world.write(&lines);
            death.step()?;
            world.table = emperor.routes.clone();
            death.step()?;
            Some(emperor)
        }

        /// As the routes do it: note, publish, note; each step may be the last one.
        fn publish(
            &mut self,
            site: SiteId,
            world: &mut World,
            death: &mut Death,
            told: bool,
        ) -> Option<()> {
            let (before, after) = (self.routes.get(&site).cloned(), world.wanted(site));
            let mut owed = Vec::new();
            if let Some(after) = &after {
                let others = world.rows.get("*.x").is_some_and(|owner| *owner != site);
                let answered = |host: &HostPattern| others && is_below("*.x", &host.to_string());
                let lines;
                (lines, owed) = self.book.leads(before.as_deref(), after, answered);
                world.write(&lines);
                death.step()?;
            }
            match &after {
                Some(after) => self.routes.insert(site, Arc::clone(after)),
                None => self.routes.remove(&site),
            };
            if told {
                world.table = self.routes.clone();
            }
            death.step()?;
            self.generation = self.generation.next();
            self.book.owe(site, owed, self.generation);
            if let Some(before) = before {
                let after = after.as_deref();
                let lines = self.book.left(&before, after, self.generation);
                world.write(&lines);
                death.step()?;
            }
            Some(())
        }

        /// Who loses a host does so before another has it.
        fn follow(&mut self, world: &mut World, death: &mut Death) -> Option<()> {
            let (losing, others): (Vec<_>, Vec<_>) = World::sites().partition(|site| {
                let has = self
                    .routes
                    .get(site)
                    .into_iter()
                    .flat_map(|route| &route.hosts);
                let wanted = world.wanted(*site);
                let keeps = |host| {
                    wanted
                        .as_ref()
                        .is_some_and(|wanted| wanted.hosts.contains(host))
                };
                !has.into_iter().all(keeps)
            });
            for site in losing.into_iter().chain(others) {
                self.publish(site, world, death, true)?;
            }
            Some(())
        }

        fn purge_lost(&mut self, world: &mut World, death: &mut Death) -> Option<()> {
            let lost = self.book.lost(self.generation);
            for (_, host) in &lost {
                world.purge(host);
                world.purges += 1;
            }
            death.step()?;
            self.book.recorded(&lost, self.generation);
            self.rounds.push((world.next, lost, self.generation));
            Some(())
        }

        fn purge_again(&mut self, world: &mut World, death: &mut Death) -> Option<()> {
            let first = world.asked.keys().next().copied().unwrap_or(world.next);
            let rounds = std::mem::take(&mut self.rounds);
            let (due, later) = rounds
                .into_iter()
                .partition(|(number, ..)| *number <= first);
            self.rounds = later;
            let due: Vec<(u64, Lost, Generation)> = due;
            for (_, lost, generation) in due {
                for (_, host) in &lost {
                    world.purge(host);
                }
                death.step()?;
                let lines = self.book.purged(&lost, generation);
                world.write(&lines);
                death.step()?;
            }
            Some(())
        }

        /// Pages that changed are purged under the hosts that their site has.
        fn purge_changed(&self, world: &mut World) {
            for site in std::mem::take(&mut world.unread) {
                let route = self.routes.get(&site);
                for (host, _) in route.into_iter().flat_map(|route| &route.hosts) {
                    world.purge(host);
                }
            }
        }

        fn live(&mut self, world: &mut World, random: &mut fastrand::Rng) -> Option<()> {
            let mut death = Death::at_a_step(random);
            match random.u8(..4) {
                0 => self.follow(world, &mut death),
                1 => self.purge_lost(world, &mut death),
                2 => self.purge_again(world, &mut death),
                _ => {
                    self.purge_changed(world);
                    death.step()
                }
            }
        }
    }

    fn happen(world: &mut World, random: &mut fastrand::Rng) {
        let host = HOSTS[random.usize(..HOSTS.len())];
        let site = SiteId::new(random.i64(1..=SITES)).unwrap();
        match random.u8(..7) {
            0 => {
                world.rows.remove(host);
            }
            1 => {
                world.rows.insert(host, site);
            }
            2 => {
                *world.changes.entry(site).or_default() += 1;
                world.unread.push(site);
            }
            3 => {
                let asked: Vec<_> = world.asked.keys().copied().collect();
                if let Some(number) = random.choice(asked) {
                    world.answer(number);
                }
            }
            _ => world.visit(NAMES[random.usize(..NAMES.len())]),
        }
    }

    fn play(seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::default();
        let mut emperor: Option<Emperor> = None;
        for _ in 0..random.u32(5..80) {
            happen(&mut world, &mut random);
            emperor = match emperor {
                Some(mut emperor) => emperor.live(&mut world, &mut random).map(|()| emperor),
                None if random.u8(..3) == 0 => {
                    Emperor::start(&mut world, &mut Death::at_a_step(&mut random))
                }
                None => None,
            };
        }
        let mut last = Emperor::start(&mut world, &mut Death(None)).unwrap();
        last.purge_lost(&mut world, &mut Death(None)).unwrap();
        last.purge_changed(&mut world);
        while let Some(number) = world.asked.keys().next().copied() {
            world.answer(number);
        }
        last.purge_again(&mut world, &mut Death(None)).unwrap();
        for (name, (site, version)) in &world.target {
            let wild = || world.rows.get("*.x").filter(|_| is_below("*.x", name));
            let owner = world.rows.get(name).or_else(wild);
            assert_eq!(owner, Some(site), "seed {seed}: under {name}, from {site}");
            let now = world.changes.get(site).copied().unwrap_or_default();
            assert_eq!(*version, now, "seed {seed}: the page under {name} is old");
        }
        // Whoever starts where nothing has changed purges nothing.
        let before = (world.purges, world.journal.clone());
        let mut idle = Emperor::start(&mut world, &mut Death(None)).unwrap();
        idle.purge_lost(&mut world, &mut Death(None)).unwrap();
        assert_eq!((world.purges, world.journal), before, "seed {seed}");
    }

    #[test]
    fn no_death_leaves_a_page_under_a_host_that_is_another_s() {
        for seed in 0..10_000 {
            play(seed);
        }
    }
}
