//! A notation in which a life is told: what is heard, what is to be done, and the state after it.
//!
//! | heard | |
//! |---|---|
//! | `want R`, `want R xN`, `disable`, `pool`, `reject`, `remove`, `reload` | revision `R`, with `N` instances |
//! | `want R xN surge M` | revision `R`, with `N` instances, `M` more while they are replaced |
//! | `want R at H`, `want R at H probed` | revision `R`, whose workers aren't told that its host is `H` |
//! | `want R sleepy` | revision `R`, that sleeps after a minute without a request |
//! | `want R scaled` | revision `R`, with one instance to three for two requests each |
//! | `want R recycled xN`, `memory I M` | revision `R`, worn out by 100 requests, 100 MiB, or in an hour |
//! | `want R probed xN`, `well I`, `unwell I` | revision `R`, probed every 10 s; what a probe finds |
//! | `want R watched xN`, `speaks I`, `trigger I`, `asks I S` | as `probed`, with a watchdog of 30 s; what `I` says |
//! | `stopped I`, `goes on I`, `unseen stop I` | the kernel tells of `I`'s process; it stops, and nobody tells |
//! | `shutdown`, `shutdown now` | the emperor ends |
//! | `permit T I`, `spawned I`, `unspawned I`, `impossible I` | ticket `T`, incarnation `I` |
//! | `ready I`, `unready I`, `exit I`, `idle I`, `acked G` | generation `G` |
//! | `wake`, `load N W F`, `unseen` | `N` requests came, `W` wait, `F` are in flight at incarnation 1; no router |
//! | `after S` | so many seconds later, a tick |
//!
//! A published route is answered with the next generation, as the publisher does, and whoever looks
//! sees what there is to see.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use site_model::{Generation, Incarnation, Service, Unavailable};

use super::fixture::{
    disabled, pooled, probed, reached_at, recycled, rejected, scaled, site_id, sleepy, spec,
    surging, watched,
};
use crate::lifecycle::{
    Effect, Event, Haste, Inheritance, InheritedInstance, InstanceLoad, Lifecycle, Load, Process,
    Prospect, Sight, Ticket, Turn,
};
use crate::{ExitReason, VassalSpec, Want};

/// Tells a life and compares each step with what is expected: heard, effects, state.
#[track_caller]
pub(super) fn check(steps: &[(&str, &str, &str)]) {
    let mut story = Story::default();
    for (heard, effects, state) in steps {
        let done = story.hear(heard);
        assert_eq!(done, *effects, "effects of {heard:?}");
        assert_eq!(story.state(), *state, "state after {heard:?}");
    }
}

/// A life that is told step by step.
pub(super) struct Story {
    pub(super) life: Option<Lifecycle>,
    /// What each incarnation was spawned with.
    specs: BTreeMap<Incarnation, Arc<VassalSpec>>,
    /// What there is to see of each incarnation.
    sights: BTreeMap<Incarnation, Sight>,
    now: Instant,
    generation: Generation,
}

impl Default for Story {
    fn default() -> Self {
        Self {
            life: None,
            specs: BTreeMap::new(),
            sights: BTreeMap::new(),
            now: Instant::now(),
            generation: Generation::new(0),
        }
    }
}

impl Story {
    /// Hears one thing and says what is to be done.
    pub(super) fn hear(&mut self, heard: &str) -> String {
        let words: Vec<_> = heard.split_whitespace().collect();
        if let ["after", seconds] = words[..] {
            self.now += Duration::from_secs_f64(seconds.parse().unwrap());
        }
        let event = self.appears(&words).unwrap_or_else(|| event(&words));
        let (life, effects) = match (self.life.take(), event) {
            (Some(life), event) => life.on(event, self.now),
            (None, Event::Wanted(want)) => Lifecycle::begin(site_id(1), want, 0, 7, self.now),
            (None, event) => panic!("{event:?} before a life began"),
        };
        self.life = Some(life);
        self.all_done(&effects)
    }

    /// What an instance shows, and who is told of it.
    fn appears(&mut self, words: &[&str]) -> Option<Event> {
        let number = words.iter().find_map(|word| word.parse().ok());
        let incarnation = Incarnation::new(number?);
        let sight = self.sights.entry(incarnation).or_default();
        match *words {
            ["stopped" | "unseen", ..] => sight.stopped = true,
            ["goes", "on", _] => sight.stopped = false,
            ["speaks", _] => sight.spoke = Some(self.now),
            ["trigger", _] => sight.broken = true,
            ["asks", _, seconds] => {
                let seconds = seconds.parse().unwrap();
                sight.watchdog = Some(Duration::from_secs(seconds));
            }
            _ => return None,
        }
        let sight = *sight;
        Some(match words[0] {
            "unseen" | "speaks" => Event::Tick,
            _ => Event::Looked { incarnation, sight },
        })
    }

    /// The emperor dies, and so do some processes; the next one wants this. Says what is to be
    /// done.
    pub(super) fn adopt(&mut self, wanted: &str, dead: &[u64]) -> String {
        let memory = self.life.take().unwrap().memory();
        let instances = memory.instances.into_iter();
        let inheritance = Inheritance {
            instances: instances
                .map(|(incarnation, memory)| InheritedInstance {
                    memory,
                    process: process(incarnation),
                    spec: Arc::clone(&self.specs[&incarnation]),
                    ended: dead
                        .contains(&incarnation.get())
                        .then_some(ExitReason::Unknown),
                })
                .collect(),
            setback: memory.setback,
            restarts: memory.restarts,
        };
        let words: Vec<_> = wanted.split_whitespace().collect();
        let want = match event(&words) {
            Event::Wanted(want) => Some(want),
            Event::Removed => None,
            other => panic!("{other:?} is no wish"),
        };
        let (life, effects) = Lifecycle::adopt(site_id(1), want, inheritance, 7, self.now);
        self.life = Some(life);
        self.generation = Generation::new(0);
        self.all_done(&effects)
    }

    /// Hears several things.
    pub(super) fn hear_all(&mut self, heard: &[&str]) {
        for heard in heard {
            self.hear(heard);
        }
    }

    /// The state, with its detail where it has one.
    pub(super) fn state(&self) -> String {
        let status = self.life.as_ref().unwrap().status();
        match status.detail.as_str() {
            "" => status.state.to_string(),
            detail => format!("{}: {detail}", status.state),
        }
    }

    /// As the daemon does it: what is answered at once is heard once all of it is done.
    fn all_done(&mut self, effects: &[Effect]) -> String {
        let mut done: Vec<_> = effects.iter().map(|effect| self.done(effect)).collect();
        for effect in effects {
            if let Effect::Look(incarnation) = effect {
                let then = self.looked(*incarnation);
                done.extend((!then.is_empty()).then_some(then));
            }
        }
        done.join(", ")
    }

    fn done(&mut self, effect: &Effect) -> String {
        match effect {
            Effect::AskPermit {
                ticket: Ticket(ticket),
                turn,
            } => match turn {
                Turn::Awaited => format!("ask {ticket} for visitors"),
                Turn::Start => format!("ask {ticket}"),
                Turn::Replacement => format!("ask {ticket} to replace"),
            },
            Effect::ReturnPermit(Ticket(ticket)) => format!("return {ticket}"),
            Effect::Spawn {
                number,
                incarnation,
                spec,
            } => {
                self.specs.insert(*incarnation, Arc::clone(spec));
                let revision = &spec.revision.to_string()[..2];
                format!("spawn {incarnation} as #{number} of {revision}")
            }
            Effect::Probe { incarnation, spec } => format!("probe {incarnation}{}", at(spec)),
            Effect::Publish(route) => {
                self.published();
                format!("publish {}", service(&route.service))
            }
            Effect::Withdraw => {
                self.published();
                "withdraw".to_owned()
            }
            Effect::AwaitIdle(incarnation) => format!("await idle {incarnation}"),
            Effect::Check { incarnation, spec } => format!("check {incarnation}{}", at(spec)),
            Effect::Look(incarnation) => format!("look {incarnation}"),
            Effect::LetGoOn(incarnation) => format!("let {incarnation} go on"),
            Effect::Measure(incarnation) => format!("measure {incarnation}"),
            Effect::Signal { incarnation, .. } => format!("signal {incarnation}"),
            Effect::Kill(incarnation) => format!("kill {incarnation}"),
            Effect::Remove(incarnation) => format!("clean {incarnation}"),
        }
    }

    /// Where the router is told that it is reached.
    pub(super) fn host(&self) -> String {
        let route = self.life.as_ref().unwrap().route().unwrap();
        assert_eq!(route.canonical.to_string(), route.hosts[0].0.to_string());
        route.canonical.to_string()
    }

    fn looked(&mut self, incarnation: Incarnation) -> String {
        let sight = self.sights.get(&incarnation).copied();
        let sight = sight.unwrap_or_default();
        let life = self.life.take().unwrap();
        let (life, effects) = life.on(Event::Looked { incarnation, sight }, self.now);
        self.life = Some(life);
        self.all_done(&effects)
    }

    fn published(&mut self) {
        self.generation = self.generation.next();
        let life = self.life.take().unwrap();
        let (life, effects) = life.on(Event::Published(self.generation), self.now);
        assert!(effects.is_empty(), "{effects:?}");
        self.life = Some(life);
    }
}

/// The host that a worker is asked for, where it isn't told of it.
fn at(spec: &VassalSpec) -> String {
    if spec.told.hosts {
        String::new()
    } else {
        format!(" at {}", spec.hosts.canonical)
    }
}

fn service(service: &Service) -> String {
    match service {
        Service::Ready(backends) => {
            let backends = backends
                .iter()
                .map(|backend| backend.incarnation.to_string());
            backends.collect::<Vec<_>>().join("+")
        }
        Service::Waiting => "waiting".to_owned(),
        Service::Asleep => "asleep".to_owned(),
        Service::Pooled(pool) => format!("in {pool}"),
        Service::Unavailable(Unavailable::Failed) => "failed".to_owned(),
        Service::Unavailable(Unavailable::Rejected) => "rejected".to_owned(),
        Service::Unavailable(Unavailable::Disabled) => "disabled".to_owned(),
    }
}

fn event(words: &[&str]) -> Event {
    match *words {
        ["want", revision, ref more @ ..] => want(revision.parse().unwrap(), more),
        ["disable"] => Event::Wanted(disabled(1)),
        ["pool"] => Event::Wanted(pooled(1)),
        ["reject"] => Event::Wanted(rejected(1)),
        ["remove"] => Event::Removed,
        ["reload"] => Event::Reload,
        ["shutdown"] => Event::Shutdown(Haste::Orderly),
        ["shutdown", "now"] => Event::Shutdown(Haste::AtOnce),
        ["permit", ticket, number] => Event::Permitted {
            ticket: Ticket(ticket.parse().unwrap()),
            incarnation: incarnation(number),
        },
        ["spawned", number] => Event::Spawned(process(incarnation(number))),
        ["spawned", number, "unbounded"] => Event::Spawned(Process {
            missing: vec!["limits.memory_max: there are no cgroups here".into()],
            ..process(incarnation(number))
        }),
        ["unspawned", number] => unspawned(number, Prospect::MayPass),
        ["impossible", number] => unspawned(number, Prospect::Lasting),
        ["ready", number] => Event::FoundReady(incarnation(number)),
        ["unready", number] => Event::ProbeFailed {
            incarnation: incarnation(number),
            found: "it answered with status 500".into(),
            stderr: vec![],
        },
        ["exit", number] => Event::Exited {
            incarnation: incarnation(number),
            reason: ExitReason::Exited { status: 1 },
            stderr: vec!["no module".into()],
        },
        ["idle", number] => Event::Idle(incarnation(number)),
        ["acked", generation] => Event::Acknowledged(Generation::new(generation.parse().unwrap())),
        ["after", _] => Event::Tick,
        _ => observed(words),
    }
}

/// What router, probes and measurements tell.
fn observed(words: &[&str]) -> Event {
    match *words {
        ["wake"] => Event::Wake,
        ["load", requests, waiting, in_flight] => load(requests, waiting, in_flight),
        ["unseen"] => Event::Load(None),
        ["well", number] => Event::Checked {
            incarnation: incarnation(number),
            found: Ok(()),
        },
        ["unwell", number] => Event::Checked {
            incarnation: incarnation(number),
            found: Err("it has not answered".into()),
        },
        ["memory", number, mib] => Event::Measured {
            incarnation: incarnation(number),
            memory_bytes: mib.parse::<u64>().unwrap() << 20,
        },
        _ => panic!("nothing is heard as {words:?}"),
    }
}

fn process(incarnation: Incarnation) -> Process {
    Process {
        incarnation,
        pid: 1,
        socket: "/run/s".into(),
        missing: Vec::new(),
        started_at: SystemTime::UNIX_EPOCH,
    }
}

fn want(revision: u8, more: &[&str]) -> Event {
    let count = |text: &str| text[1..].parse().unwrap();
    let an_hour = Duration::from_hours(1);
    Event::Wanted(Want::Run(match *more {
        [] => spec(1, revision, 1),
        ["at", host] => reached_at(&spec(1, revision, 1), host),
        ["at", host, "probed"] => reached_at(&probed(1, revision, 1), host),
        ["sleepy"] => sleepy(1, revision, 1),
        ["scaled"] => scaled(1, revision, 1),
        ["recycled", number] => recycled(1, revision, count(number), an_hour),
        ["probed", number] => probed(1, revision, count(number)),
        ["watched", number] => watched(1, revision, count(number)),
        [number] => spec(1, revision, count(number)),
        [number, "surge", most] => {
            surging(&spec(1, revision, count(number)), most.parse().unwrap())
        }
        _ => panic!("nothing is wanted as {more:?}"),
    }))
}

fn load(requests: &str, waiting: &str, in_flight: &str) -> Event {
    let instance = InstanceLoad {
        in_flight: in_flight.parse().unwrap(),
        requests: requests.parse().unwrap(),
        ..InstanceLoad::default()
    };
    Event::Load(Some(Load {
        requests: requests.parse().unwrap(),
        waiting: waiting.parse().unwrap(),
        oldest: Duration::from_secs(1),
        instances: [(Incarnation::new(1), instance)].into(),
    }))
}

fn unspawned(number: &str, prospect: Prospect) -> Event {
    Event::SpawnFailed {
        incarnation: incarnation(number),
        error: "could not execute the program".into(),
        prospect,
    }
}

fn incarnation(number: &str) -> Incarnation {
    Incarnation::new(number.parse().unwrap())
}
