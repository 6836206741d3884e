//! The task of one vassal.

use std::collections::VecDeque;
use std::sync::Arc;

use site_model::{Generation, SiteId};
use tokio::sync::watch;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;
use vassal_core::Lifecycle;
use vassal_core::lifecycle::{
    Effect, Event, Inheritance, InheritedInstance, Memory, Process, Ticket,
};

use super::House;
use super::children::Children;
use super::clock::{now, reached};
use super::estate::{Estate, Heir};
use super::order::{Order, Wish};
use super::witness::{ADOPTED, BEGUN, Witness};
use super::worker::Spawner;
use crate::daemon::process::{Outcome, SiteMemory, TakenOver};
use crate::daemon::router::demand::Listener;
use crate::daemon::routes::Routes;

/// How a task ended.
#[derive(Debug)]
pub(in crate::daemon) enum End {
    /// The site is gone, its last process and folder included.
    Gone,
    /// Nothing of it runs, and nothing is due: it needs no task. It knew of this order.
    AtRest {
        /// What it was told last.
        known: Order,
        /// How often an instance ended without having been told to.
        restarts: u64,
    },
}

/// What every task begins with.
#[derive(Debug)]
pub(in crate::daemon) struct Beginning {
    /// Its site.
    pub(in crate::daemon) id: SiteId,
    /// The order that its life knows of.
    pub(in crate::daemon) known: Order,
    /// Where others arrive.
    pub(in crate::daemon) orders: watch::Receiver<Order>,
    /// What the router tells.
    pub(in crate::daemon) listener: Listener,
    /// Let go of once its route is published.
    pub(in crate::daemon) token: TaskTrackerToken,
}

/// Runs a vassal until it is gone or at rest. What its life wants done first are the effects.
pub(in crate::daemon) async fn run<S: Spawner>(
    beginning: Beginning,
    (life, effects): (Lifecycle, Vec<Effect>),
    house: Arc<House<S>>,
) -> End {
    let (mut actor, token) = Actor::new(beginning, BEGUN, house);
    let mut events = VecDeque::new();
    actor.perform(effects, &mut events);
    drop(token);
    actor.act(life, events).await
}

/// As [`run`], from what an earlier emperor left on. The seed is as of [`Lifecycle::adopt`].
pub(in crate::daemon) async fn run_left<S: Spawner>(
    beginning: Beginning,
    (estate, seed): (Estate, u64),
    house: Arc<House<S>>,
) -> End {
    let (id, wish) = (beginning.id, &beginning.known.wish);
    let (want, last_word) = match wish {
        Wish::Want(want) => (Some(want.clone()), None),
        Wish::Removed => (None, None),
        Wish::Shutdown(haste) => (None, Some(Event::Shutdown(*haste))),
    };
    let (mut actor, token) = Actor::new(beginning, ADOPTED, house);
    let inheritance = actor.take_over(estate).await;
    let (life, effects) = Lifecycle::adopt(id, want, inheritance, seed, now());
    let mut events = VecDeque::new();
    actor.perform(effects, &mut events);
    events.extend(last_word);
    drop(token);
    actor.act(life, events).await
}

struct Actor<S: Spawner> {
    id: SiteId,
    house: Arc<House<S>>,
    children: Children<S>,
    orders: watch::Receiver<Order>,
    listener: Listener,
    /// The order whose news the lifecycle has heard.
    known: Order,
    /// Permits that are to be given back.
    returning: Vec<Ticket>,
    /// What is told of it.
    witness: Witness,
    /// What was written down last, for an emperor that comes after a death.
    remembered: Memory,
}

impl<S: Spawner> Actor<S> {
    /// One that has done nothing yet, and what to let go of once it has.
    fn new(
        beginning: Beginning,
        reason: &'static str,
        house: Arc<House<S>>,
    ) -> (Self, TaskTrackerToken) {
        let Beginning {
            id,
            known,
            orders,
            listener,
            token,
        } = beginning;
        let actor = Self {
            id,
            children: Children::new(),
            witness: Witness::new(known.slug(), reason),
            known,
            orders,
            listener,
            returning: Vec::new(),
            remembered: Memory::default(),
            house,
        };
        (actor, token)
    }

    /// Does what the life says until it is over, or nothing is left to do.
    async fn act(mut self, mut life: Lifecycle, mut events: VecDeque<Event>) -> End {
        let mut effects;
        loop {
            while let Some(event) = events.pop_front() {
                self.witness.hear(&event);
                (life, effects) = life.on(event, now());
                self.perform(effects, &mut events);
            }
            for incarnation in self.witness.report(&life, &self.house.statuses) {
                self.children.end_start(incarnation, Outcome::Done);
            }
            // Whoever gets them starts what is told after what has made room for it.
            for ticket in self.returning.drain(..) {
                self.children.return_permit(ticket);
            }
            self.remember(life.memory());
            if life.is_over() && self.children.are_gone() {
                self.leave();
                return End::Gone;
            }
            if life.is_at_rest() && self.children.are_gone() {
                return End::AtRest {
                    known: self.known,
                    restarts: life.restarts(),
                };
            }
            events.extend(self.next(&life).await);
        }
    }

    async fn take_over(&mut self, estate: Estate) -> Inheritance {
        let Estate { heirs, memory } = estate;
        let mut instances = Vec::new();
        for Heir { left, spec } in heirs {
            let process = Process {
                incarnation: left.incarnation,
                // What has ended has no number any more.
                pid: 0,
                socket: left.socket(),
                started_at: left.started_at(),
                missing: Vec::new(),
            };
            let memory = left.memory;
            let (process, ended) = match self.house.spawner.take_over(left).await {
                TakenOver::Running(worker) => {
                    (self.children.hold(process.incarnation, *worker), None)
                }
                TakenOver::Ended(reason) => (process, Some(reason)),
            };
            instances.push(InheritedInstance {
                memory,
                process,
                spec,
                ended,
            });
        }
        Inheritance {
            instances,
            setback: memory.setback,
            restarts: memory.restarts,
        }
    }

    /// Waits until there is something for the lifecycle to hear.
    async fn next(&mut self, life: &Lifecycle) -> Vec<Event> {
        let routes = &self.house.routes;
        tokio::select! {
            Ok(()) = self.orders.changed() => {
                let order = self.orders.borrow_and_update().clone();
                let news = order.news_since(&self.known);
                self.children.expect_success();
                self.witness.rename(order.slug());
                self.known = order;
                news
            }
            news = self.listener.news() => news,
            event = self.children.next(&self.house.spawner) => vec![event],
            generation = acknowledged(routes, life.awaited_generation()) => {
                vec![Event::Acknowledged(generation)]
            }
            () = reached(life.deadline()) => vec![Event::Tick],
        }
    }

    /// Performs effects in their order, and adds what is known at once to what is to be heard: in which
    /// generation a route is comes first, before anything else can change that route once more.
    fn perform(&mut self, effects: Vec<Effect>, events: &mut VecDeque<Event>) {
        for effect in effects {
            match self.perform_one(effect) {
                Some(published @ Event::Published(_)) => events.push_front(published),
                other => events.extend(other),
            }
        }
    }

    fn perform_one(&mut self, effect: Effect) -> Option<Event> {
        let (id, house, children) = (self.id, &self.house, &mut self.children);
        debug!(site = %id, ?effect, "effect");
        match effect {
            Effect::AskPermit { ticket, turn } => {
                children.ask_permit(ticket, turn, id, &house.turns);
            }
            Effect::ReturnPermit(ticket) => self.returning.push(ticket),
            Effect::Spawn {
                number,
                incarnation,
                spec,
            } => {
                let start = children.spawn(&house.spawner, spec, number, incarnation);
                house.statuses.started(id, start);
            }
            Effect::Probe { incarnation, spec } => children.probe(incarnation, &spec),
            Effect::Publish(route) => {
                let generation = house.routes.publish(route);
                children.published();
                return Some(Event::Published(generation));
            }
            Effect::Withdraw => return Some(Event::Published(house.routes.withdraw(id))),
            Effect::AwaitIdle(incarnation) => {
                children.await_idle(Arc::clone(&house.routes), id, incarnation);
            }
            Effect::Check { incarnation, spec } => children.check(incarnation, &spec),
            Effect::Measure(incarnation) => children.measure(incarnation),
            Effect::Look(incarnation) => return children.look(incarnation),
            Effect::LetGoOn(incarnation) => {
                self.witness.lets_go_on(id, incarnation);
                children.let_go_on(incarnation);
            }
            Effect::Signal {
                incarnation,
                signal,
                reason,
            } => {
                self.witness.stops(incarnation, reason);
                children.end_start(incarnation, Outcome::BrokenOff(reason.to_string()));
                children.signal(incarnation, signal);
            }
            Effect::Kill(incarnation) => {
                self.witness.kills(id, incarnation);
                children.kill(incarnation);
            }
            Effect::Remove(incarnation) => {
                self.listener.forget(incarnation);
                children.remove(incarnation);
            }
        }
        None
    }

    /// The site is gone, and so is what is told about it. Where only the emperor ends, its last
    /// status stays in the database.
    fn leave(&self) {
        self.house.spawner.remember(self.id, &SiteMemory::default());
        match self.known.wish {
            Wish::Removed => self.house.statuses.forget(self.id),
            Wish::Want(_) | Wish::Shutdown(_) => {}
        }
    }

    /// Has what changed written down, for an emperor that comes after a death.
    fn remember(&mut self, memory: Memory) {
        let before = &self.remembered;
        if memory == *before {
            return;
        }
        for (incarnation, instance) in &memory.instances {
            if before.instances.get(incarnation) != Some(instance) {
                self.children.remember(*incarnation, instance);
            }
        }
        if (&memory.setback, memory.restarts) != (&before.setback, before.restarts) {
            let site = SiteMemory {
                setback: memory.setback.clone(),
                restarts: memory.restarts,
            };
            self.house.spawner.remember(self.id, &site);
        }
        self.remembered = memory;
    }
}

async fn acknowledged(routes: &Routes, awaited: Option<Generation>) -> Generation {
    match awaited {
        Some(generation) => routes.acknowledged(generation).await,
        None => std::future::pending().await,
    }
}
