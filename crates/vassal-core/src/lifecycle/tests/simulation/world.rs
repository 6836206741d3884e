//! The world of a simulation: processes, start permits, the router, and a network of events in
//! which some are lost, doubled or late. It performs effects as the daemon would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use site_model::{Generation, Incarnation, Service, SiteId, SiteRoute};

use super::permits::Queue;
use super::process::{Motion, Simulated, State, a_process, is_never_ready, is_unspawnable};
use super::visitors::Visitors;
use crate::lifecycle::tests::fixture::GRACE;
use crate::lifecycle::{Effect, Event, Process, Prospect, Sight, StopReason, Ticket, Turn};
use crate::{ExitReason, VassalSpec, Want};

/// How many instances may be on their way at once.
const STARTS: usize = 3;
/// How many instances may take the place of another at once.
const REPLACEMENTS: usize = 2;

pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) now: Instant,
    began: Instant,
    /// Whether anything goes wrong.
    pub(super) faults: bool,
    pub(super) processes: BTreeMap<Incarnation, Simulated>,
    pub(super) router: Router,
    pub(super) visitors: Visitors,
    /// Events on their way, by the moment they arrive.
    pub(super) network: BTreeMap<(Instant, u64), (SiteId, Event)>,
    starts: Queue,
    replacements: Queue,
    /// Those whose permit was one for a replacement.
    replacements_made: BTreeSet<Incarnation>,
    /// The most processes of each site when one of these was made.
    pub(super) most_replacing: BTreeMap<SiteId, usize>,
    incarnation: Incarnation,
    sequence: u64,
    /// When each site's processes were spawned.
    pub(super) spawns: BTreeMap<SiteId, Vec<Instant>>,
    trace: Trace,
}

/// Whether what happens is written down: most of the time of a run would go into that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trace {
    Off,
    Shown,
}

/// The router, which is away now and then.
#[derive(Default)]
pub(super) struct Router {
    pub(super) connected: bool,
    pub(super) generation: Generation,
    pub(super) in_force: Generation,
    pub(super) routes: BTreeMap<SiteId, Arc<SiteRoute>>,
    pub(super) idle_questions: BTreeSet<(SiteId, Incarnation)>,
}

impl Router {
    pub(super) fn has_idle_questions(&self) -> bool {
        !self.idle_questions.is_empty()
    }
}

impl World {
    pub(super) fn new(seed: u64, trace: Trace) -> Self {
        let began = Instant::now();
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now: began,
            began,
            faults: true,
            processes: BTreeMap::new(),
            router: Router {
                connected: true,
                ..Router::default()
            },
            visitors: Visitors::default(),
            network: BTreeMap::new(),
            starts: Queue::with_permits(STARTS),
            replacements: Queue::with_permits(REPLACEMENTS),
            replacements_made: BTreeSet::new(),
            most_replacing: BTreeMap::new(),
            incarnation: Incarnation::new(0),
            sequence: 0,
            spawns: BTreeMap::new(),
            trace,
        }
    }

    fn queue(&mut self, turn: Turn) -> &mut Queue {
        match turn {
            Turn::Awaited | Turn::Start => &mut self.starts,
            Turn::Replacement => &mut self.replacements,
        }
    }

    /// Whoever asked for a permit or had one is gone.
    pub(super) fn forget_permits(&mut self) {
        self.starts = Queue::with_permits(STARTS);
        self.replacements = Queue::with_permits(REPLACEMENTS);
    }

    /// True once in `of` times, while things go wrong.
    pub(super) fn mishap(&mut self, of: u32) -> bool {
        self.faults && self.rng.u32(0..of) == 0
    }

    /// Tells what happens, for whoever reads why a run failed.
    pub(super) fn tell(&self, what: impl FnOnce() -> String) {
        match self.trace {
            Trace::Off => {}
            Trace::Shown => eprintln!("{}", what()),
        }
    }

    /// Tells what a lifecycle hears.
    pub(super) fn note(&self, site: SiteId, event: &Event) {
        self.tell(|| {
            let what = match event {
                Event::Wanted(Want::Run(spec)) => format!("wanted {}", spec.revision.short()),
                other => format!("{other:?}"),
            };
            format!("{:?} {site}: {what}", self.now - self.began)
        });
    }

    /// Performs an effect; some are answered at once.
    pub(super) fn perform(&mut self, site: SiteId, effect: Effect) -> Option<Event> {
        match effect {
            Effect::AskPermit { ticket, turn } => {
                self.queue(turn).asking.push_back((site, ticket));
            }
            Effect::ReturnPermit(ticket) => {
                for queue in [&mut self.starts, &mut self.replacements] {
                    queue.asking.retain(|asked| *asked != (site, ticket));
                    queue.holding.remove(&(site, ticket));
                }
            }
            Effect::Spawn {
                incarnation, spec, ..
            } => self.spawn(site, incarnation, &spec),
            Effect::Probe { incarnation, spec } => self.probe(site, incarnation, &spec),
            Effect::Publish(route) => return Some(self.publish(site, Some(route))),
            Effect::Withdraw => return Some(self.publish(site, None)),
            Effect::AwaitIdle(incarnation) => {
                self.router.idle_questions.insert((site, incarnation));
            }
            Effect::Check { incarnation, .. } => {
                let found = if self.mishap(3) {
                    Err("it has not answered".into())
                } else {
                    Ok(())
                };
                self.send(site, &Event::Checked { incarnation, found }, 10_000);
            }
            Effect::Look(incarnation) => {
                return Some(self.seen(incarnation));
            }
            Effect::LetGoOn(incarnation) => self.halt(incarnation, false),
            Effect::Measure(incarnation) => self.measure(site, incarnation),
            Effect::Signal {
                incarnation,
                reason,
                ..
            } => {
                if reason == StopReason::Idle {
                    self.check_idle(site, incarnation);
                }
                self.signal(incarnation);
            }
            Effect::Kill(incarnation) => self.kill(incarnation),
            Effect::Remove(incarnation) => {
                let process = self.processes.get_mut(&incarnation).unwrap();
                assert_eq!(process.state, State::Dead, "{incarnation} was removed");
                process.state = State::Removed;
            }
        }
        None
    }

    /// A life is over: what was still on its way to it has nobody to arrive at.
    pub(super) fn forget(&mut self, site: SiteId) {
        for queue in [&self.starts, &self.replacements] {
            let mut tickets = queue.asking.iter().chain(&queue.holding);
            let kept = tickets.find(|(holder, _)| *holder == site);
            assert_eq!(kept, None, "a permit was kept");
        }
        self.network.retain(|_, (to, _)| *to != site);
    }

    /// Lets the router work and permits be given.
    pub(super) fn turn(&mut self) {
        loop {
            let (start, replacement) = (self.starts.next(), self.replacements.next());
            let permitted: Vec<_> = start.into_iter().chain(replacement).collect();
            if permitted.is_empty() {
                break;
            }
            for asked in permitted {
                self.permit(asked, Some(asked) == replacement);
            }
        }
        if !self.router.connected || self.mishap(2) {
            return;
        }
        self.router.in_force = self.router.generation;
        self.take_table();
        for (site, incarnation) in std::mem::take(&mut self.router.idle_questions) {
            if self.is_in_use(incarnation) {
                self.router.idle_questions.insert((site, incarnation));
            } else {
                self.send(site, &Event::Idle(incarnation), 2_000);
            }
        }
    }

    fn permit(&mut self, (site, ticket): (SiteId, Ticket), to_replace: bool) {
        self.incarnation = self.incarnation.next();
        let incarnation = self.incarnation;
        if to_replace {
            self.replacements_made.insert(incarnation);
        }
        let permitted = Event::Permitted {
            ticket,
            incarnation,
        };
        self.send_surely(site, &permitted, 0);
    }

    /// The next event that has arrived.
    pub(super) fn arrival(&mut self) -> Option<(SiteId, Event)> {
        let first = self.network.first_entry()?;
        (first.key().0 <= self.now).then(|| first.remove())
    }

    pub(super) fn next_arrival(&self) -> Option<Instant> {
        self.network.keys().next().map(|(at, _)| *at)
    }

    /// A process dies by itself.
    pub(super) fn die(&mut self, incarnation: Incarnation, reason: ExitReason) {
        let process = self.processes.get_mut(&incarnation).unwrap();
        if process.state != State::Alive {
            return;
        }
        process.state = State::Dead;
        let exited = Event::Exited {
            incarnation,
            reason,
            stderr: vec![],
        };
        let site = process.site;
        self.send_surely(site, &exited, 1_000);
    }

    /// A signal stops a process, or lets it go on. The kernel tells of both.
    pub(super) fn halt(&mut self, incarnation: Incarnation, stopped: bool) {
        let process = self.processes.get_mut(&incarnation).unwrap();
        process.motion = if stopped {
            Motion::Stopped
        } else {
            Motion::Goes
        };
        let site = process.site;
        let seen = self.seen(incarnation);
        self.send_surely(site, &seen, 300);
    }

    /// What there is to see of a process, which speaks in time unless something goes wrong.
    fn seen(&mut self, incarnation: Incarnation) -> Event {
        let stopped = self.processes[&incarnation].motion == Motion::Stopped;
        let speaks = !stopped && !self.mishap(3);
        let sight = Sight {
            stopped,
            spoke: speaks.then_some(self.now),
            broken: self.mishap(500),
            ..Sight::default()
        };
        Event::Looked { incarnation, sight }
    }

    pub(super) fn living(&self, site: SiteId) -> impl Iterator<Item = Incarnation> {
        let processes = self.processes.iter();
        let living =
            processes.filter(move |(_, process)| process.site == site && process.is_alive());
        living.map(|(incarnation, _)| *incarnation)
    }

    fn spawn(&mut self, site: SiteId, incarnation: Incarnation, spec: &Arc<VassalSpec>) {
        self.spawns.entry(site).or_default().push(self.now);
        if self.faults && (is_unspawnable(spec) || self.mishap(10)) {
            let prospects = [Prospect::Lasting, Prospect::MayPass];
            let prospect = prospects[self.rng.usize(0..2)];
            let failed = Event::SpawnFailed {
                incarnation,
                error: "could not execute the program".into(),
                prospect,
            };
            return self.send_surely(site, &failed, 100);
        }
        let ignores_signals = self.mishap(2);
        let process = Simulated {
            site,
            spec: Arc::clone(spec),
            state: State::Alive,
            found_ready: false,
            told_to_end: None,
            killed: false,
            motion: Motion::Goes,
            ignores_signals,
        };
        self.processes.insert(incarnation, process);
        if self.replacements_made.contains(&incarnation) {
            let living = self.living(site).count();
            let most = self.most_replacing.entry(site).or_default();
            *most = living.max(*most);
        }
        let process = Process {
            incarnation,
            ..a_process()
        };
        self.send_surely(site, &Event::Spawned(process), 100);
    }

    fn probe(&mut self, site: SiteId, incarnation: Incarnation, spec: &VassalSpec) {
        if self.faults && is_never_ready(spec) {
            if self.rng.bool() {
                let failed = Event::ProbeFailed {
                    incarnation,
                    found: "it answered with status 500".into(),
                    stderr: vec![],
                };
                self.send(site, &failed, 60_000);
            } else {
                self.die(incarnation, ExitReason::Exited { status: 1 });
            }
        } else {
            self.send(site, &Event::FoundReady(incarnation), 5_000);
        }
    }

    fn publish(&mut self, site: SiteId, route: Option<Arc<SiteRoute>>) -> Event {
        self.router.generation = self.router.generation.next();
        match route {
            Some(route) => self.router.routes.insert(site, route),
            None => self.router.routes.remove(&site),
        };
        Event::Published(self.router.generation)
    }

    /// Now and then it has too much. The bound is 100 MiB.
    fn measure(&mut self, site: SiteId, incarnation: Incarnation) {
        let memory_bytes = if self.mishap(4) { 200 << 20 } else { 50 << 20 };
        let measured = Event::Measured {
            incarnation,
            memory_bytes,
        };
        self.send(site, &measured, 1_000);
    }

    fn signal(&mut self, incarnation: Incarnation) {
        let now = self.now;
        let process = self.processes.get_mut(&incarnation).unwrap();
        process.told_to_end.get_or_insert(now);
        process.motion = Motion::Goes;
        if !process.ignores_signals {
            self.die(incarnation, ExitReason::Exited { status: 0 });
        }
    }

    fn kill(&mut self, incarnation: Incarnation) {
        let now = self.now;
        let process = self.processes.get_mut(&incarnation).unwrap();
        process.told_to_end.get_or_insert(now);
        process.killed = true;
        let killed = ExitReason::Killed {
            signal: 9,
            core_dumped: false,
        };
        self.die(incarnation, killed);
    }

    /// Sends what may get lost: whoever waits for it has a deadline.
    fn send(&mut self, site: SiteId, event: &Event, within_ms: u64) {
        if !self.mishap(10) {
            self.send_surely(site, event, within_ms);
        }
    }

    /// Sends what is awaited until it comes. It may still come late, and twice.
    pub(super) fn send_surely(&mut self, site: SiteId, event: &Event, within_ms: u64) {
        let copies = if self.mishap(10) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = Duration::from_millis(self.rng.u64(0..=within_ms));
            self.sequence += 1;
            let key = (self.now + delay, self.sequence);
            self.network.insert(key, (site, event.clone()));
        }
    }

    /// What holds whatever happens.
    pub(super) fn check(&self) {
        for (site, _) in &self.replacements.asking {
            let route = self.router.routes.get(site).map(|route| &route.service);
            let serves = matches!(route, Some(Service::Ready(_)));
            assert!(serves, "site {site} waits behind replacements");
        }
        for (incarnation, process) in &self.processes {
            let overdue = process.told_to_end.is_some_and(|at| at + GRACE <= self.now);
            assert!(
                !overdue || process.killed || !process.is_alive(),
                "{incarnation} ignores its signal and was not killed"
            );
        }
        for route in self.router.routes.values() {
            self.check_route(route);
        }
    }

    fn check_route(&self, route: &SiteRoute) {
        let Service::Ready(backends) = &route.service else {
            return;
        };
        assert!(!backends.is_empty() && backends.len() <= 6, "{backends:?}");
        for backend in backends {
            let process = &self.processes[&backend.incarnation];
            assert!(process.found_ready, "a route to {backend:?}, not ready");
            assert!(
                process.told_to_end.is_none(),
                "a route to {backend:?}, which was told to end"
            );
        }
    }
}
