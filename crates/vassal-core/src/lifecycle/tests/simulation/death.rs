//! The death of the emperor, and the next one that goes on with what it finds.

use site_model::SiteId;

use super::House;
use super::process::State;
use super::world::World;
use crate::lifecycle::{Event, Inheritance, InheritedInstance, Process};
use crate::{ExitReason, Lifecycle};

impl House {
    /// The emperor is killed; some processes end before the next one comes. It knows the rows as
    /// they are, or as the one before had them.
    pub(super) fn die_and_be_followed(&mut self) {
        self.world.tell(|| "the emperor dies".to_owned());
        let lives = std::mem::take(&mut self.lives);
        self.world.forget_everything();
        if self.database {
            self.known = self.rows.clone();
        }
        self.told = self.known.clone();
        let mut left: Vec<_> = lives
            .iter()
            .map(|(id, life)| (*id, self.world.left_of(*id, life)))
            .collect();
        let begun = self.known.keys().filter(|id| !lives.contains_key(id));
        left.extend(begun.map(|id| (*id, Inheritance::default())));
        for (id, inheritance) in left {
            self.disturbed.insert(id, self.world.now);
            self.adopt(id, inheritance);
        }
    }

    fn adopt(&mut self, id: SiteId, inheritance: Inheritance) {
        let want = self.known.get(&id).cloned();
        let seed = self.world.rng.u64(..);
        let (life, effects) = Lifecycle::adopt(id, want, inheritance, seed, self.world.now);
        self.lives.insert(id, life);
        self.perform(id, effects);
        // An event that says nothing lets go of a life that is over already.
        self.hear(id, Event::Tick);
    }
}

impl World {
    /// Whatever was on its way to the emperor, or known to it alone, is lost.
    fn forget_everything(&mut self) {
        self.network.clear();
        self.forget_permits();
        self.router.idle_questions.clear();
        self.router.routes.clear();
    }

    /// What the next emperor finds. A process of which nothing was remembered yet is ended by it.
    fn left_of(&mut self, site: SiteId, life: &Lifecycle) -> Inheritance {
        let memory = life.memory();
        let mut instances = Vec::new();
        for (incarnation, process) in &mut self.processes {
            if process.site != site || process.state == State::Removed {
                continue;
            }
            let Some(remembered) = memory.instances.get(incarnation) else {
                process.state = State::Removed;
                continue;
            };
            if self.rng.u32(0..5) == 0 {
                process.state = State::Dead;
            }
            instances.push(InheritedInstance {
                memory: *remembered,
                process: Process {
                    incarnation: *incarnation,
                    ..super::process::a_process()
                },
                spec: process.spec.clone(),
                ended: (process.state == State::Dead).then_some(ExitReason::Unknown),
            });
        }
        Inheritance {
            instances,
            setback: memory.setback,
            restarts: memory.restarts,
        }
    }
}
